"""The seal: a model file's digest over itself, so that a damaged file is known before anything in it is believed.

The exporter seals each file and ``file`` checks it first of all. The last field of a sealed file is an entry of its
metadata, whose value is the SHA-256 of every byte before that value, in hexadecimal. So each byte of the file is either
digested or part of the digest.
"""

from __future__ import annotations

import hashlib

SEAL_KEY = "sha256"
"""Key of the metadata entry that holds the digest."""

_DIGITS = 64
_BEGINNING = b"\x72\x4a\x0a\x06sha256\x12\x40"  # of the entry, in the protocol buffers' encoding, up to the digits


class BrokenSealError(ValueError):
    """A sealed file isn't the one that was sealed."""


def sealed(content: bytes) -> bytes:
    """Returns ``content``, a model file, with a seal at its end."""
    content += _BEGINNING
    return content + hashlib.sha256(content).hexdigest().encode()


def digests(content: bytes) -> tuple[str, bool]:
    """Returns the SHA-256 of the whole file, in hexadecimal, and whether the file is sealed.

    Raises ``BrokenSealError`` if it has a seal that doesn't match its content.
    """
    end = len(content) - _DIGITS
    is_sealed = content[max(end, 0) - len(_BEGINNING) : max(end, 0)] == _BEGINNING
    digest = hashlib.sha256(memoryview(content)[: max(end, 0)])
    if is_sealed and content[end:] != digest.hexdigest().encode():
        raise BrokenSealError
    digest.update(memoryview(content)[max(end, 0) :])
    return digest.hexdigest(), is_sealed
