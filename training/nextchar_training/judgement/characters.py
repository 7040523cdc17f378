"""The characters of a dataset, read from its ids piece by piece.

First stage of a judgement, which compares texts by their characters, whatever the alphabet that spells them. Invariant:
the pieces put together are the text in NFC, with ``END`` at the place of each boundary; memory is bounded by a piece.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Alphabet
from nextchar_model.composition import Codes, code_points, joining, normalize, text_of

from ..data.ids import IdSequence

END = 0xFFFF
"""The code point that parts documents. It is no character (The Unicode Standard, section 23.7)."""

_PIECE = 2**17  # ids: the arrays of a piece stay in a processor's cache


class Characters:
    """The characters of some ids, as often as they are wanted. Iterating yields code points, [n] each."""

    def __init__(self, ids: IdSequence, alphabet: Alphabet) -> None:
        self._ids, self._alphabet = ids, alphabet

    def __iter__(self) -> Iterator[Codes]:
        pieces = (self._ids[start : start + _PIECE] for start in range(0, len(self._ids), _PIECE))
        match self._alphabet.kind:
            case "characters":
                return (self._alphabet.code_points[ids] for ids in pieces)
            case "jamo":
                return _composed(self._alphabet.code_points[ids] for ids in pieces)
            case "bytes":
                return _decoded(pieces)


def joined(texts: Iterable[str]) -> Codes:
    """Returns the code points of ``texts``, with ``END`` after each."""
    return code_points("".join(f"{text}{chr(END)}" for text in texts))


def _composed(pieces: Iterable[Codes]) -> Iterator[Codes]:
    """Composes decomposed text. A piece ends before a character that composes with none before it."""
    rest = np.empty(0, np.uint32)
    for piece in pieces:
        rest = np.concatenate([rest, piece])
        starts = np.flatnonzero(~joining(rest))
        if len(starts):
            yield code_points(normalize(text_of(rest[: starts[-1]])))
            rest = rest[starts[-1] :]
    yield code_points(normalize(text_of(rest)))


def _decoded(pieces: Iterable[NDArray[np.int64]]) -> Iterator[Codes]:
    """Decodes UTF-8. The boundary, as a byte, is 0xFF, which UTF-8 doesn't have."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        content = (piece - 1).astype(np.uint8).tobytes().replace(_BOUNDARY_BYTE, _END_BYTES)
        yield code_points(decoder.decode(content))
    yield code_points(decoder.decode(b"", final=True))


_BOUNDARY_BYTE = bytes([(BOUNDARY - 1) % 256])
_END_BYTES = chr(END).encode()
