"""Unicode composition: the facts of normalization form C (NFC) that the rest of the package relies on.

Imports nothing else of nextchar. A character, in nextchar, is a code point of text in NFC (UAX #15).
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Literal

Kind = Literal["characters", "jamo", "bytes"]
"""The symbols that spell a character: itself, its canonical decomposition, or its UTF-8 bytes."""

VOWEL_JAMO, FINAL_JAMO = range(0x1161, 0x1176), range(0x11A8, 0x11C3)
"""Code points of the Hangul vowels and final consonants that compose."""


def normalize(text: str) -> str:
    """Returns ``text`` in NFC, the form in which nextchar counts characters."""
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def decompose(text: str) -> str:
    """Returns ``text`` in Unicode normalization form D."""
    return unicodedata.normalize("NFD", text)


def joins(code_point: str) -> bool:
    """Whether NFC may join ``code_point`` to the code points before it, or sort it among them."""
    if code_point < "\u0300":
        return False
    first = decompose(code_point)[0]
    return unicodedata.combining(first) != 0 or first in second_halves()


@cache
def second_halves() -> frozenset[str]:
    """The code points that are the second half of a canonical composite, including Hangul's jamo."""
    halves = set(map(chr, (*VOWEL_JAMO, *FINAL_JAMO)))
    for code in range(0xC0, 0x2FA1E):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            halves.add(chr(int(parts[1], 16)))
    return frozenset(halves)
