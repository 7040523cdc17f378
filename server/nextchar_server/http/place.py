"""Places in a text: the ids of the events of a stream.

    GENERATED.OFFSET.TOKEN         continues after GENERATED characters, OFFSET with the echoed prompt
    GENERATED.OFFSET.TOKEN.end     of the last event

Invariant: with the request of the stream and such an id, any replica that has the model and the key of the token sends
the rest of the text: max_tokens then is what is left of it.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

_FORM = re.compile(r"(?:([0-9]{1,10})\.([0-9]{1,10})\.)?([A-Za-z0-9_-]*=*)(\.end)?", re.ASCII)


@dataclass(frozen=True)
class Place:
    """A place in a text."""

    generated: int
    """Characters of the text that were generated before it."""
    offset: int
    """Characters of the text before it, an echoed prompt included."""
    token: bytes
    """The resume token; may be empty at the end."""
    is_end: bool = False
    """Whether the text ended here."""

    def __str__(self) -> str:
        token = urlsafe_b64encode(self.token).decode().rstrip("=")
        return f"{self.generated}.{self.offset}.{token}{'.end' * self.is_end}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """Returns the place that ``text`` names, an id or a token alone; None if it names none."""
        if (found := _FORM.fullmatch(text)) is None:
            return None
        generated, offset, token, end = found.groups()
        try:
            decoded = urlsafe_b64decode(token.rstrip("=") + "=" * (-len(token.rstrip("=")) % 4))
        except binascii.Error:
            return None
        if not decoded and not end:
            return None
        return cls(int(generated or 0), int(offset or 0), decoded, end is not None)
