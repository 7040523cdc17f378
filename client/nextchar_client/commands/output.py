"""The output of the commands: results on standard output, complaints on standard error.

On a pipe, output is plain UTF-8, whatever the locale, and a line of a table is neither wrapped nor cut. Invariant: no
character of a server steers the terminal; a generated text on a pipe is exactly as it came.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import sys
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from nextchar_cli.printable import one_line, printable

_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories of Unicode that can steer a terminal: controls, formats (also of the reading order), line ends."""
_DETAILS = {"rank", "entropy", "activations"}
_WIDTH = 100_000  # columns of a table: wider than any, so that rich neither wraps nor cuts


def write(text: str) -> None:
    """Writes ``text`` to standard output at once, in UTF-8 even if the terminal has another encoding."""
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def write_text(text: str) -> None:
    """Writes generated ``text``: exactly as it is, but on a terminal with escapes of the characters that steer it."""
    if sys.stdout.isatty() and not text.isprintable():
        text = "".join(printable(character) if _steers(character) else character for character in text)
    write(text)


def write_json(value: dict[str, Any]) -> None:
    """Writes ``value`` as a line of JSON."""
    write(json_line(value) + "\n")


def json_line(value: dict[str, Any]) -> str:
    """Returns ``value`` as JSON on one line.

    Bytes become Base64, times ISO 8601, and a number that JSON lacks, such as NaN, null.
    """
    line = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)
    if not line.isprintable():
        line = "".join(json.dumps(character)[1:-1] if _steers(character) else character for character in line)
    return line


def fields_of(result: Any) -> dict[str, Any]:
    """Returns the fields of a result by name, without the details of characters that weren't asked for."""
    return asdict(result, dict_factory=_told)


def _told(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in fields if value is not None or name not in _DETAILS}


def write_csv(rows: Iterable[Iterable[Any]]) -> None:
    """Writes ``rows`` as CSV (RFC 4180, with LF), on a terminal with escapes of the characters that steer it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(text.getvalue())


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case bytes():
            return b64encode(value).decode()
        case datetime():
            return value.isoformat()
        case float() if not math.isfinite(value):
            return None
    return value


def _steers(character: str) -> bool:
    return (
        character not in "\n\t" and unicodedata.category(character) in _STEERING and printable(character) != character
    )


def write_table(rows: Sequence[Sequence[str]], *, headings: Sequence[str] = ()) -> None:
    """Writes ``rows`` in aligned columns, under ``headings`` that are bold on a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(headings), header_style="bold")
    for heading in headings or rows[0]:
        table.add_column(heading if headings else "", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    text = io.StringIO()
    console = Console(file=text, width=_WIDTH, force_terminal=sys.stdout.isatty(), markup=False, highlight=False)
    console.print(table)
    write("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))


def write_records(rows: Sequence[Sequence[str]], *, headings: Sequence[str]) -> None:
    """Writes ``rows`` as a table or, on a terminal that is too narrow for it, one below the other, a cell per line."""
    from rich.cells import cell_len

    widths = [max(cell_len(printable(cell)) for cell in column) for column in zip(headings, *rows, strict=True)]
    if not sys.stdout.isatty() or sum(widths) + 2 * (len(widths) - 1) <= shutil.get_terminal_size().columns:
        write_table(rows, headings=headings)
        return
    for place, row in enumerate(rows):
        write("\n" if place else "")
        write_table(list(zip(headings, row, strict=True)))


def say(message: str) -> None:
    """Writes a line to standard error."""
    print(f"nextchar: {one_line(message)}", file=sys.stderr, flush=True)


def complain(message: str) -> None:
    """Writes the one line of an error to standard error."""
    say(f"error: {message}")
