"""The texts of a request: composed, checked and spelled, in steps of bounded cost.

Stands between ``requests``, which knows the fields, and the model's alphabet.

Invariant: composing a text in pieces has the same result as composing it whole; counts are checked before anything is
walked; no step takes more than a few ms.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet, Spelling, Unknown, UnknownCharacterError
from nextchar_model.composition import FINAL_JAMO, MAX_MARKS, VOWEL_JAMO, joins, longest_marks, normalize

from ..pacing import Steps
from .errors import InvalidArgumentError, shown

MAX_STOP_SEQUENCES = 16
MAX_STOP_SEQUENCE_CHARACTERS = 256
MAX_BIAS = 100.0
CODE_POINTS = 4
"""Most code points to which a character decomposes."""
BYTES = 9
"""Most bytes of UTF-8 that a character takes in any form: those of U+0CCB or of a Hangul syllable, decomposed."""

_LIGHT = 1024  # code points of a text that is read at once
_PIECE = 4096  # code points that are composed in a step: 2 ms for the slowest
_KEYS = 256  # keys of a bias that are read in a step
MAX_JOINED = 64  # code points in a row that join the one before; texts for people have no run of half that length
_INITIAL_JAMO = range(0x1100, 0x1113)
_SYLLABLES = range(0xAC00, 0xD7A4)


def composed(text: str, field: str, most: int) -> Steps[str | None]:
    """Returns ``text`` in normalization form C, or None if it has more than ``most`` characters.

    Raises ``InvalidArgumentError`` for a run of more than 30 combining marks, which is no text for people (UAX #15,
    Stream-Safe Text Format).
    """
    if len(text) > CODE_POINTS * most:
        return None
    if text.isascii() or len(text) <= MAX_MARKS:  # has no long run of marks
        text = unicodedata.normalize("NFC", text)
        return text if len(text) <= most else None
    pieces: list[str] = []
    characters = 0
    for piece in _pieces(text, field):
        if len(text) > _LIGHT:
            yield
        pieces.append(normalize(piece))
        characters += len(pieces[-1])
        if characters > most:
            return None
    return "".join(pieces)


def spelled(text: str, field: str, alphabet: Alphabet, unknown: Unknown, replacement: str) -> Steps[Spelling]:
    """Returns ``text``, which is composed, with its ids. Raises ``InvalidArgumentError``."""
    if len(text) > _LIGHT:
        yield
    try:
        spelling = alphabet.spell(text, unknown=unknown, replacement=replacement)
    except UnknownCharacterError as error:
        raise InvalidArgumentError(field, str(error)) from error
    if unknown != "error" and longest_marks(spelling.text) > MAX_MARKS:
        raise InvalidArgumentError(
            field, f"more than {MAX_MARKS} combining marks in a row once unknown characters are gone"
        )
    return spelling


def stop_sequences(parameters: pb.GenerationParameters, alphabet: Alphabet) -> Steps[tuple[str, ...]]:
    """Returns the stop sequences, composed. Raises ``InvalidArgumentError``."""
    if (count := len(parameters.stop_sequences)) > MAX_STOP_SEQUENCES:
        raise InvalidArgumentError(
            "parameters.stop_sequences", f"{count} stop sequences; at most {MAX_STOP_SEQUENCES} are allowed"
        )
    stops = []
    for place, given in enumerate(parameters.stop_sequences):
        field = f"parameters.stop_sequences[{place}]"
        stop = yield from composed(given, field, MAX_STOP_SEQUENCE_CHARACTERS)
        if not stop:
            raise InvalidArgumentError(
                field, f"{len(given)} code points; it must have 1 to {MAX_STOP_SEQUENCE_CHARACTERS} characters"
            )
        try:
            alphabet.encode(stop)
        except UnknownCharacterError as error:
            raise InvalidArgumentError(field, f"can never appear: {error}") from error
        stops.append(stop)
    return tuple(stops)


def bias(parameters: pb.GenerationParameters, alphabet: Alphabet) -> Steps[NDArray[np.float32] | None]:
    """Returns the bias of each id [V]; None if the request has none. Raises ``InvalidArgumentError``."""
    given = parameters.character_bias
    if not given:
        return None
    if len(given) > len(alphabet.symbols):
        raise InvalidArgumentError(
            "parameters.character_bias",
            f"{len(given)} characters; the model's alphabet has {len(alphabet.symbols)} symbols",
        )
    values = np.zeros(alphabet.size, np.float32)
    for place, (key, value) in enumerate(given.items()):
        if place and place % _KEYS == 0:
            yield
        field = f"parameters.character_bias[{shown(key)}]"
        symbol = yield from composed(key, field, 1)
        values[_symbol_id(symbol, field, alphabet)] = value
        if not abs(value) <= MAX_BIAS:  # NaN is refused too
            raise InvalidArgumentError(field, f"{value:g} is not between {-MAX_BIAS:g} and {MAX_BIAS:g}")
        if symbol != key and symbol in given:
            raise InvalidArgumentError(field, f"is the same character as {symbol!r}, which also has a bias")
    return values


def _symbol_id(symbol: str | None, field: str, alphabet: Alphabet) -> int:
    ids = alphabet.spelled(symbol) if symbol else None
    if ids is None:
        raise InvalidArgumentError(field, "the key is not one character of the model's alphabet")
    if len(ids) > 1:
        raise InvalidArgumentError(
            field, f"the model's alphabet ({alphabet.kind}) spells it with {len(ids)} symbols; a bias needs one"
        )
    return ids[0]


def _pieces(text: str, field: str) -> Iterator[str]:
    """Yields ``text`` in pieces that compose independently of each other."""
    start = 0
    while start < len(text):
        end = start + _PIECE
        longest = end + MAX_JOINED
        while end < len(text) and not parts(text[end - 1], text[end]):
            end += 1
            if end > longest:
                raise InvalidArgumentError(field, f"more than {MAX_JOINED} joined code points before number {end}")
        piece = text[start:end]
        check_marks(piece, field, start)
        yield piece
        start = end


def check_marks(piece: str, field: str, start: int) -> None:
    """Refuses a run of more than 30 combining marks; ``piece`` begins at code point ``start``."""
    if longest_marks(piece) > MAX_MARKS:
        place = start + _long_run(piece)
        raise InvalidArgumentError(field, f"more than {MAX_MARKS} combining marks in a row, at code point {place}")


def parts(left: str, right: str) -> bool:
    """Whether two neighbours never compose, nor change places, whatever stands beside them."""
    if not joins(right):
        return True
    if ord(right) in VOWEL_JAMO:
        return ord(left) not in _INITIAL_JAMO
    if ord(right) in FINAL_JAMO:
        return ord(left) not in VOWEL_JAMO and ord(left) not in _SYLLABLES
    return False


def _long_run(piece: str) -> int:
    """Returns the place of the first mark that makes a run of more than ``MAX_MARKS``."""
    marks = [unicodedata.combining(character) != 0 for character in piece]
    return next(end for end in range(MAX_MARKS, len(piece)) if all(marks[end - MAX_MARKS : end + 1]))
