"""A job: which texts a batch makes, and which of them it keeps.

The fields of ``Job`` and their docstrings are also the options of ``nextchar batch`` and their help. Imports no gRPC,
so that the help needs none. Invariant: options that don't go together are refused before anything is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter, Token, ValidationError

from nextchar_cli.command_line import utf8

from ..errors import InvalidArgumentError

_REJECTS_PER_LINE, _FEWEST_REJECTS = 10, 1000  # of the default of max_rejects


def _list(kind: type, tokens: Sequence[Token]) -> tuple[str, ...]:
    return tuple(part for token in tokens for part in utf8(kind, [token]).split(","))


def _shard(_: type, tokens: Sequence[Token]) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", tokens[0].value)
    if match is None:
        raise ValidationError(exception_message=f"{tokens[0].value!r} is invalid; it must be I/N, such as 0/8")
    return int(match[1]), int(match[2])


def _whole_number(_: type, tokens: Sequence[Token]) -> int:
    value = tokens[0].value.replace("_", "").replace(",", "")
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise ValidationError(exception_message=f"{tokens[0].value!r} is invalid; it must be a whole number")
    return int(value)


_List = Annotated[
    tuple[str, ...], Parameter(converter=_list, n_tokens=-1, allow_leading_hyphen=True, show_default="none")
]
_Number = Parameter(converter=_whole_number, n_tokens=1, metavar="NUMBER")
_Text = Parameter(converter=utf8, allow_leading_hyphen=True)
_File = Parameter(converter=utf8, allow_leading_hyphen=True, metavar="FILE")


@dataclass(frozen=True, kw_only=True)
class Job:
    """Which texts to make, and which of them to keep. Raises ``InvalidArgumentError``, which names the fields.

    Either ``count`` texts of one ``prompt`` or of several (``prefix``), or those of a file of ``requests``.
    """

    requests: Annotated[str | None, Parameter(parse=False)] = None
    """File of requests, one JSON object per line with the keywords of ``GenerationOptions`` and ``prompt``."""
    count: Annotated[int | None, _Number] = None
    """Number of lines to make. With --shard, of texts in all shards, from which rejected ones are left out."""
    prompt: Annotated[str | None, _Text] = None
    """Text that the model reads before each text; empty for the start of a document."""
    prefix: Annotated[_List, Parameter(metavar="TEXT,…")] = ()
    """Begin the texts with these in turn, instead of a prompt; the texts include them."""
    columns: Annotated[_List, Parameter(metavar="NAME,…")] = ()
    """Split each text into fields of these names; a text with another number of fields is rejected."""
    delimiter: Annotated[str, _Text] = ","
    """Text between the fields."""
    unique: Annotated[bool, Parameter(show_default=False)] = False
    """Reject a text that was made before."""
    not_in: Annotated[str | None, _File] = None
    """Reject the texts that are lines of this file."""
    validate: Annotated[str | None, _Text, Parameter(metavar="EXPRESSION")] = None
    """Reject a text for which this Python expression is false or fails; it has text, the columns, fields, number and
    finish_reason, and a few functions, such as len."""
    validate_regex: Annotated[str | None, _Text, Parameter(metavar="REGEX")] = None
    """Reject a text that doesn't match this regular expression of Python as a whole."""
    max_rejects: Annotated[int | None, _Number, Parameter(show_default="10 per line, at least 1,000")] = None
    """Fail when more texts than this were rejected."""
    shard: Annotated[
        tuple[int, int] | None, Parameter(converter=_shard, n_tokens=1, metavar="I/N", show_default="all")
    ] = None
    """Make only part I of N, counted from 0, of the texts; the files of all parts, in order, are the whole."""
    concurrency: Annotated[int, _Number] = 1024
    """Texts that are asked for at once. It changes no text."""
    model_file: Annotated[str | None, _File] = None
    """Make the texts in this process, on all its cores, with this model file instead of a server."""

    def __post_init__(self) -> None:
        def check(holds: bool, complaint: str) -> None:
            if not holds:
                raise InvalidArgumentError(complaint)

        if self.requests is not None:
            given = [name for name in ("count", "prompt", "prefix") if getattr(self, name) not in (None, ())]
            check(not given, f"{', '.join(given)}: the file of requests says it; leave it out")
        check(self.count is None or self.count > 0, "count: 0 is invalid; it must be at least 1")
        check(self.prompt is None or not self.prefix, "prompt, prefix: give one of them, not both")
        check(self.concurrency > 0, "concurrency: 0 is invalid; it must be at least 1")
        check(bool(self.delimiter), "delimiter: it is empty; it must have a character")
        check("" not in self.columns, "columns: a name is empty")
        check(len(set(self.columns)) == len(self.columns), "columns: a name is there twice")
        if self.shard is not None:
            part, parts = self.shard
            check(
                part < parts,
                f"shard: {part}/{parts} is invalid; the parts of {parts} are 0/{parts} to {parts - 1}/{parts}",
            )
            check(
                not self.unique,
                "unique, shard: a shard doesn't know the texts of the others; drop repeated lines of all",
            )
        if self.validate_regex is not None:
            try:
                re.compile(self.validate_regex)
            except re.error as error:
                raise InvalidArgumentError(f"validate_regex: {self.validate_regex!r} is invalid; {error}") from None

    @property
    def rejects(self) -> bool:
        """Whether a text may be rejected."""
        return bool(self.columns or self.unique or self.not_in or self.validate or self.validate_regex)

    def most_rejects(self, lines: int) -> int:
        """How many texts may be rejected of a batch of ``lines`` lines."""
        default = max(_FEWEST_REJECTS, _REJECTS_PER_LINE * lines)
        return default if self.max_rejects is None else self.max_rejects
