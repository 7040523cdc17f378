"""The score of one text on standard output: coloured, in a table, as CSV, or as JSON.

Except in the table of characters, nothing is held: a part is written when it comes. Invariant: a figure of a dynamic
evaluation is called so in every form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from ..results import CharacterLogprob
from ..scores import ScoredPart, ScoredText, ScoreEvent, ScoreStarted
from .dynamic import LABEL
from .output import fields_of, json_line, write, write_csv, write_json, write_table
from .surprise import Painter

Form = Callable[[Iterable[ScoreEvent], bool], None]
"""Writes the events of one text; the flag says that it is a dynamic evaluation."""


def as_table(events: Iterable[ScoreEvent], is_dynamic: bool) -> None:
    """Writes the totals."""
    for event in events:
        if isinstance(event, ScoredText):
            _write_totals(event, is_dynamic)


def as_characters(events: Iterable[ScoreEvent], is_dynamic: bool) -> None:
    """Writes a table of the characters, then the totals."""
    rows: list[tuple[str, ...]] = []
    extras: set[str] = set()
    for event in events:
        match event:
            case ScoredPart():
                for offset, place in enumerate(event.characters, event.offset):
                    likeliest = "  ".join(f"{other.character!r} {other.logprob:.3f}" for other in place.alternatives)
                    extras |= {"LIKELIEST"} if likeliest else set()
                    extras |= {"RANK", "ENTROPY (NATS)"} if place.rank is not None else set()
                    bits = -place.logprob / math.log(2)
                    row = (str(offset), f"{place.logprob:.4f}", f"{bits:.4f}", repr(place.character), likeliest)
                    rows.append((*row, str(place.rank or ""), f"{place.entropy or 0:.4f}"))
            case ScoredText():
                names = ("OFFSET", "LOG-PROBABILITY (NATS)", "BITS", "CHARACTER", "LIKELIEST", "RANK", "ENTROPY (NATS)")
                shown = [n for n, name in enumerate(names) if n < 4 or name in extras]
                write_table([[row[n] for n in shown] for row in rows], headings=[names[n] for n in shown])
                write("\n")
                _write_totals(event, is_dynamic)


def as_colours(painter: Painter) -> Form:
    """Writes the text in the colours of its surprise, the scale, and the totals."""

    def form(events: Iterable[ScoreEvent], is_dynamic: bool) -> None:
        last = ""
        for event in events:
            match event:
                case ScoredPart():
                    write(painter.paint(event.characters))
                    last = event.characters[-1].character
                case ScoredText():
                    write(("" if last == "\n" else "\n") + "\n" + painter.scale(LABEL if is_dynamic else "") + "\n")
                    _write_totals(event, is_dynamic)

    return form


def as_csv(events: Iterable[ScoreEvent], is_dynamic: bool) -> None:
    """Writes a line of CSV for each character."""
    label = "dynamic_" if is_dynamic else ""
    heading: tuple[str, ...] = ("offset", "character", f"{label}logprob", f"{label}bits")
    for event in events:
        if isinstance(event, ScoredPart):
            rows = [_row(offset, place) for offset, place in enumerate(event.characters, event.offset)]
            if heading:
                write_csv([(*heading, "rank", "entropy") if len(rows[0]) > len(heading) else heading])
                heading = ()
            write_csv(rows)


def as_json_lines(events: Iterable[ScoreEvent], is_dynamic: bool) -> None:
    """Writes an object of JSON for each character."""
    label = {"dynamic_evaluation": True} if is_dynamic else {}
    for event in events:
        if isinstance(event, ScoredPart):
            for offset, place in enumerate(event.characters, event.offset):
                fields = fields_of(place)
                others = {"alternatives": fields.pop("alternatives")} if place.alternatives else {}
                fields.pop("alternatives", None)
                logprob = {"logprob": place.logprob, "bits": -place.logprob / math.log(2)}
                write_json({"offset": offset} | fields | logprob | others | label)


def as_json(events: Iterable[ScoreEvent], is_dynamic: bool) -> None:
    """Writes one object of JSON with all characters."""
    separator = ""
    for event in events:
        match event:
            case ScoreStarted():
                write(json_line(fields_of(event)).rstrip("}") + ', "characters": [')
            case ScoredPart():
                places = ", ".join(json_line(fields_of(place)) for place in event.characters)
                write(separator + places)
                separator = ", "
            case ScoredText():
                totals = {"total_logprob": event.total_logprob, "bits_per_character": event.bits_per_character}
                label = {"dynamic_evaluation": True} if is_dynamic else {}
                write("], " + json_line(totals | label).lstrip("{") + "\n")


def _row(offset: int, place: CharacterLogprob) -> tuple[Any, ...]:
    row = (offset, place.character, place.logprob, -place.logprob / math.log(2))
    return row if place.rank is None else (*row, place.rank, place.entropy)


def _write_totals(text: ScoredText, is_dynamic: bool) -> None:
    label = f", {LABEL}" if is_dynamic else ""
    write_table(
        [
            ("characters", str(text.characters)),
            (f"log-probability{label}", f"{text.total_logprob:.4f} nats"),
            (f"bits per character{label}", f"{text.bits_per_character:.4f}"),
        ]
    )
