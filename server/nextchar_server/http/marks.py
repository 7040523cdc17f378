"""Marks in a text: the short ids of the events of a stream.

    OFFSET-SEED-MODEL-CLASS-REQUEST        continues after OFFSET characters
    OFFSET-SEED-MODEL-CLASS-REQUEST-end    of the last event

All but the offset are in hexadecimal: the seed, the beginning of the model file's digest, and checksums of the numeric
class and of the request. They are enough to generate the text again, and to send the part behind the mark.

Invariant: with the request of the stream and such an id, any replica that has the model file and its numeric class
sends the rest of the text. A mark isn't signed: whoever changes one asks for another text that any request may have.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from hashlib import sha256

from .schema import CompletionRequest

_FORM = re.compile(r"([0-9]{1,10})-([0-9a-f]{1,16})-([0-9a-f]{16})-([0-9a-f]{8})-([0-9a-f]{8})(-end)?", re.ASCII)
_DIGEST, _CHECKSUM = 16, 8  # hexadecimal digits

_OTHER_FIELDS = {"model", "n", "best_of", "seed", "max_tokens", "stream", "stream_options", "user", "resume_interval"}
"""Fields that don't change the beginning of a text without a constraint, and those that a mark has."""


@dataclass(frozen=True)
class Mark:
    """A place in the text of a request."""

    offset: int
    """Characters of the text before it, an echoed prompt included."""
    seed: int
    digest: str
    """The beginning of that of the model file."""
    numeric_class: str
    """Its checksum."""
    request: str
    """Its checksum."""
    is_end: bool = False
    """Whether the text ended here."""

    def __str__(self) -> str:
        place = f"{self.offset}-{self.seed:x}-{self.digest}-{self.numeric_class}-{self.request}"
        return place + "-end" * self.is_end

    def at(self, offset: int, *, is_end: bool = False) -> Mark:
        """Returns the mark of another place of the text."""
        return replace(self, offset=offset, is_end=is_end)

    @classmethod
    def first(cls, body: CompletionRequest, seed: int, digest: str, numeric_class: str) -> Mark:
        """Returns the mark of the beginning of a text."""
        return cls(0, seed, digest[:_DIGEST], checksum(numeric_class), checksum(_text(body)))

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """Returns the mark that ``text`` names; None if it names none."""
        if (found := _FORM.fullmatch(text)) is None:
            return None
        offset, seed, digest, numeric_class, request, end = found.groups()
        return cls(int(offset), int(seed, 16), digest, numeric_class, request, end is not None)

    def is_of(self, body: CompletionRequest) -> bool:
        """Whether it is a place in the text of ``body``."""
        return self.request == checksum(_text(body)) and body.seed in (None, self.seed)


def checksum(text: str) -> str:
    """Returns the beginning of the SHA-256 of ``text``."""
    return sha256(text.encode()).hexdigest()[:_CHECKSUM]


def _text(body: CompletionRequest) -> str:
    left_out = _OTHER_FIELDS
    if body.regex is not None or body.choices or body.json_schema is not None:
        left_out = left_out - {"max_tokens"}  # a constraint is completed within it, so its text depends on it
    return json.dumps(body.model_dump(exclude=left_out, exclude_none=True))
