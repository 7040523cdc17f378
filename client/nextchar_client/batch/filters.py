"""The filters: which texts a job keeps, and why it rejects the others.

Between the source and the output. Invariant: whether a text is kept depends on it and those before it alone, so the
same job keeps the same texts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unicodedata import normalize

from ..errors import InvalidArgumentError
from .expression import Expression
from .job import Job
from .record import Record
from .seen import Seen
from .source import Made


class Filters:
    """The filters of ``job``; files that they need for a while have the name ``beside`` with another ending.

    Raises ``InvalidArgumentError`` if an expression is malformed or a file can't be read.
    """

    def __init__(self, job: Job, beside: Path | None = None) -> None:
        self._columns, self._delimiter = job.columns, job.delimiter
        self._regex = None if job.validate_regex is None else re.compile(job.validate_regex)
        self._expression = None if job.validate is None else Expression(job.validate, job.columns)
        self._beside = beside
        self._known = self._made = None
        if job.not_in is not None:
            self._known = self._seen("known")
            try:
                self._known.add_all(_lines(job.not_in))
            except OSError as error:
                raise InvalidArgumentError(f"not_in: cannot read {job.not_in}: {error.strerror}") from None
            except UnicodeDecodeError:
                raise InvalidArgumentError(f"not_in: {job.not_in} is not UTF-8") from None
        if job.unique:
            self._made = self._seen("made")

    def remember(self, texts: Iterable[str]) -> None:
        """Takes ``texts`` for ones that were kept before."""
        if self._made is not None:
            self._made.add_all(texts)

    def judge(self, made: Made) -> Record | str:
        """The record of ``made``, or the reason why it is rejected."""
        text = made.text
        fields: tuple[str, ...] = ()
        if self._columns:
            fields = tuple(text.split(self._delimiter))
            if len(fields) != len(self._columns):
                return "fields"
        record = Record(made.number, text, fields, made.finish_reason)
        if self._regex is not None and self._regex.fullmatch(text) is None:
            return "validate-regex"
        if self._expression is not None and (complaint := self._expression.complaint(record)) is not None:
            return f"validate ({complaint})" if complaint else "validate"
        if self._known is not None and text in self._known:
            return "not-in"
        if self._made is not None and not self._made.add(text):
            return "unique"
        return record

    def close(self) -> None:
        """Removes the files."""
        for seen in (self._known, self._made):
            if seen is not None:
                seen.close()

    def _seen(self, ending: str) -> Seen:
        return Seen(None if self._beside is None else self._beside.with_name(f"{self._beside.name}.{ending}"))


def identity(job: Job) -> dict[str, Any]:
    """Everything on which the choice of texts depends, as JSON values."""
    return {
        "columns": list(job.columns),
        "delimiter": job.delimiter if job.columns else None,
        "unique": job.unique,
        "not_in": None if job.not_in is None else _digest(job.not_in),
        "validate": job.validate,
        "validate_regex": job.validate_regex,
    }


def _digest(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidArgumentError(f"not_in: cannot read {path}: {error.strerror}") from None


def _lines(path: str) -> Iterator[str]:
    with Path(path).open(encoding="utf-8-sig") as file:
        for line in file:
            yield normalize("NFC", line.rstrip("\n"))
