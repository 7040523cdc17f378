"""The decoder: turns ids into text as they arrive.

If every symbol of the alphabet is a character by itself, this is a look-up. Otherwise a character is finished only when
nothing that follows can change it: all its bytes must have arrived, and the next code point may still compose with it
(UAX #15). A Hangul consonant and vowel wait for a final consonant, and no longer.

The text never depends on how the ids were chunked. Every piece is in NFC, and so are the pieces put together. No
piece holds a broken character: invalid UTF-8 becomes U+FFFD, one for each maximal subpart (The Unicode Standard,
section 3.9). Endless combining marks are split by U+034F into runs of 30 (UAX #15, Stream-Safe Text Format), so a
character is held back for a bounded time only.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .alphabet import BOUNDARY, Alphabet
from .composition import VOWEL_JAMO, joins, second_halves

MAX_SEGMENT = 31
"""Most code points that are held back together: a base and 30 marks."""

JOINER = "\u034f"
"""Splits a run of combining marks that is too long. No code point is joined or sorted across it."""

_REPLACEMENT = "\ufffd"
_FIRST_SYLLABLE, _FINALS = 0xAC00, 28
_INITIALS = range(0x1100, 0x1113)

Finished = tuple[str, list[int]]
"""Finished text in NFC, and the number of ids that made each of its characters."""


class Decoder:
    """Puts the text of one stream together from its ids."""

    __slots__ = (
        "_alphabet",
        "_bytes",
        "_finals",
        "_looks_up",
        "_marked",
        "_segment",
        "_segment_ids",
        "_vowels",
        "_waiting",
        "is_split",
    )

    def __init__(self, alphabet: Alphabet, pending: Sequence[int] = ()) -> None:
        """Continues another decoder if its ``pending`` ids are given."""
        self._alphabet = alphabet
        self._marked, self._vowels, self._finals = alphabet.composing
        self._looks_up = is_one_to_one(alphabet)
        self._waiting: list[int] = []  # ids of unfinished characters
        self._segment = ""  # code points that the first of them made
        self.is_split = False
        """Whether the unfinished character continues a run of marks that was split; ``pending`` doesn't tell."""
        self._segment_ids = 0  # how many made these
        self._bytes = b""  # made by the others: the beginning of a code point in UTF-8
        self.feed(pending)

    @property
    def pending(self) -> tuple[int, ...]:
        """The ids whose characters are unfinished: the decoder's whole memory."""
        return tuple(self._waiting)

    def feed(self, ids: Sequence[int]) -> Finished:
        """Takes ``ids``, none of them a boundary, and returns the text that they finish."""
        symbols = self._alphabet.symbols
        if self._looks_up:
            return "".join([symbols[id_ - 1] for id_ in ids]), [1] * len(ids)
        text, lengths = [], []
        for id_ in ids:
            self._waiting.append(id_)
            for code_point, count in self._read(id_):
                for piece, made_by in self._compose(code_point, count):
                    text.append(piece)
                    lengths += made_by
        return "".join(text), lengths

    def flush(self, *, broken_off: bool = False) -> Finished:
        """Ends the text and returns the rest of it.

        The bytes of half a character become U+FFFD, or nothing if the text is ``broken_off``.
        """
        text, lengths = [], []
        if self._bytes and not broken_off:
            for piece, made_by in self._compose(_REPLACEMENT, len(self._bytes)):
                text.append(piece)
                lengths += made_by
        piece, made_by = self._finish()
        self._waiting, self._bytes = [], b""
        return "".join([*text, piece]), [*lengths, *made_by]

    def _read(self, id_: int) -> list[tuple[str, int]]:
        """Returns the code points that ``id_`` completes, and how many ids made each."""
        if self._alphabet.kind != "bytes":
            return [(self._alphabet.symbols[id_ - 1], 1)]
        byte = bytes([id_ - 1])
        broken: list[tuple[str, int]] = []
        if self._bytes and not _begins(self._bytes + byte):
            broken, self._bytes = [(_REPLACEMENT, len(self._bytes))], b""
        if not _begins(self._bytes + byte):
            return [*broken, (_REPLACEMENT, 1)]
        self._bytes += byte
        if len(self._bytes) < _length(self._bytes[0]):
            return broken
        whole, self._bytes = self._bytes, b""
        return [*broken, (whole.decode(), len(whole))]

    def _compose(self, code_point: str, count: int) -> list[Finished]:
        """Adds ``code_point``, made by ``count`` ids, to the segment and returns the text that this finishes."""
        finished = []
        if self._segment and not joins(code_point):
            finished.append(self._finish())
        elif len(self._segment) >= MAX_SEGMENT:
            finished.append(self._finish())
            self._segment, self.is_split = JOINER, True
        self._segment += code_point
        self._segment_ids += count
        if not self._may_grow():
            finished.append(self._finish())
        return finished

    def _may_grow(self) -> bool:
        """Whether a symbol of the alphabet could still change the segment's NFC form."""
        if self._marked:
            return True
        last = ord(unicodedata.normalize("NFC", self._segment)[-1])
        if last in _INITIALS:
            return self._vowels
        place = last - _FIRST_SYLLABLE
        return self._finals and 0 <= place < len(_INITIALS) * len(VOWEL_JAMO) * _FINALS and place % _FINALS == 0

    def _finish(self) -> Finished:
        """Empties the segment and returns its text."""
        text, count = unicodedata.normalize("NFC", self._segment), self._segment_ids
        self._segment, self._segment_ids, self.is_split = "", 0, False
        del self._waiting[:count]
        # A base takes the marks that composed with it; the other marks are characters of their own.
        return text, [count - len(text) + 1, *[1] * (len(text) - 1)] if text else []


def decode(alphabet: Alphabet, ids: Iterable[int]) -> str:
    """Returns the text of ``ids``, in NFC. A boundary adds no text."""
    decoder = Decoder(alphabet)
    return decoder.feed([id_ for id_ in ids if id_ != BOUNDARY])[0] + decoder.flush()[0]


def continuing(alphabet: Alphabet) -> NDArray[np.bool_]:
    """Which ids belong to the character before them, [V]. After a whole character, only the others can follow."""
    if alphabet.kind == "bytes":
        return np.array([False, *(0x80 <= byte < 0xC0 for byte in range(256))])
    return np.array([False, *(symbol in second_halves() for symbol in alphabet.symbols)])


def is_one_to_one(alphabet: Alphabet) -> bool:
    """Whether every symbol is a character, whatever its neighbours are."""
    return not any(alphabet.composing)


def max_ids(alphabet: Alphabet, characters: int) -> int:
    """Upper bound on the ids needed for ``characters`` characters, plus the one that shows the last is complete."""
    marked, *hangul = alphabet.composing
    if marked:
        return characters * MAX_SEGMENT * (4 if alphabet.kind == "bytes" else 1) + 1
    return characters * 3 + 1 if any(hangul) else characters


def _length(lead: int) -> int:
    """Returns how many bytes a code point has in UTF-8 if ``lead`` is its first."""
    return 1 + (lead >= 0xC2) + (lead >= 0xE0) + (lead >= 0xF0)


def _begins(content: bytes) -> bool:
    """Whether a code point in UTF-8 begins with ``content`` (The Unicode Standard, table 3-7)."""
    lead, *rest = content
    if not rest:
        return lead < 0x80 or 0xC2 <= lead <= 0xF4
    bounds = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}
    least, most = bounds.get(lead, (0x80, 0xBF))
    return least <= rest[0] <= most and all(0x80 <= byte <= 0xBF for byte in rest[1:])
