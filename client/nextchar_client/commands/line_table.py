"""The scores of lines on standard output: in columns, as CSV, or as JSON.

Each line is written when it comes. Invariant: a figure of a dynamic evaluation is called so in every form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nextchar_cli.printable import printable

from .dynamic import LABEL
from .output import write, write_csv, write_json
from .scored_lines import ScoredLine

Form = Callable[[ScoredLine, bool | None], None]
"""Writes a line, and whether it is above the threshold; None without a threshold."""

_FLAG = "UNUSUAL"


def columns(*, is_dynamic: bool, has_threshold: bool) -> Form:
    """Writes columns under a heading."""
    label = f" ({LABEL})" if is_dynamic else ""
    flag = f"{_FLAG}  " if has_threshold else ""
    write(f"{'LINE':>8}  {'CHARACTERS':>10}  {'BITS':>8}  {'TOTAL (NATS)':>13}  {flag}TEXT{label}\n")

    def form(line: ScoredLine, is_above: bool | None) -> None:
        flag = "" if is_above is None else f"{_FLAG if is_above else '':{len(_FLAG)}}  "
        write(
            f"{line.number:8}  {line.characters:10}  {line.bits_per_character:8.4f}  {line.total_logprob:13.4f}  "
            f"{flag}{printable(line.text)}\n"
        )

    return form


def as_csv(*, is_dynamic: bool, has_threshold: bool) -> Form:
    """Writes CSV."""
    label = "dynamic_" if is_dynamic else ""
    flag = ["above_threshold"] if has_threshold else []
    write_csv([["line", "characters", f"{label}bits_per_character", f"{label}total_logprob", *flag, "text"]])

    def form(line: ScoredLine, is_above: bool | None) -> None:
        flag = [] if is_above is None else [int(is_above)]
        write_csv([[line.number, line.characters, line.bits_per_character, line.total_logprob, *flag, line.text]])

    return form


def as_json(*, is_dynamic: bool, has_threshold: bool) -> Form:
    """Writes an object of JSON per line."""
    label: dict[str, Any] = {"dynamic_evaluation": True} if is_dynamic else {}

    def form(line: ScoredLine, is_above: bool | None) -> None:
        flag = {"above_threshold": is_above} if has_threshold else {}
        figures = {
            "line": line.number,
            "characters": line.characters,
            "bits_per_character": line.bits_per_character,
            "total_logprob": line.total_logprob,
        }
        write_json(figures | flag | {"text": line.text} | label)

    return form
