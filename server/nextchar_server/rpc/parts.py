"""Parts of a text: composed and spelled as they come, as if the text had come whole.

``score_stream`` makes a ``SpelledParts`` for each text. The end of a part is held back while the next characters may
compose with it.

Invariant: the spellings, put together, are that of the whole text, however it was cut. The part held back is bounded.
"""

from __future__ import annotations

from collections.abc import Callable

from nextchar_model.alphabet import Alphabet, Spelling, Unknown, UnknownCharacterError
from nextchar_model.composition import MAX_MARKS, joins, longest_marks, normalize

from .errors import InvalidArgumentError
from .texts import MAX_JOINED, check_marks, parts

PART = 4096
"""Most code points of a part: 2 ms of work for the slowest."""


class SpelledParts:
    """One text."""

    def __init__(self, alphabet: Alphabet, field: str, unknown: Unknown, replacement: str) -> None:
        """The rest is as in ``texts.spelled``. ``field`` is for messages."""
        self._alphabet = alphabet
        self._field = field
        self._unknown = unknown
        self._filler = normalize(replacement) if unknown == "replace" else ""
        self._given = ""  # held back as it came
        self._filled = ""  # held back without its unknown characters, which were neighbours of others
        self._characters = 0  # before those that are held back

    def add(self, text: str, *, is_end: bool = False) -> Spelling:
        """Returns the characters that ``text``, of ``PART`` code points at most, completes.

        Raises ``InvalidArgumentError``, with the offset in the whole text.
        """
        given = self._given + text
        end = len(given)
        if not is_end:
            end = self._held_from(given, parts)
        given, self._given = given[:end], given[end:]
        check_marks(given, self._field, self._characters)
        composed = normalize(given)
        before = self._characters
        self._characters += len(composed)
        if self._unknown == "error":
            try:
                return self._alphabet.spell(composed)
            except UnknownCharacterError as error:
                raise InvalidArgumentError(
                    self._field, str(UnknownCharacterError(error.character, before + error.offset))
                ) from error
        filled = self._filled + self._alphabet.filled(composed, self._filler)
        end = len(filled) if is_end else self._held_from(filled, lambda left, right: not joins(right))
        filled, self._filled = filled[:end], filled[end:]
        spelling = self._alphabet.spell_rest(normalize(filled), self._filler)
        if longest_marks(spelling.text) > MAX_MARKS:
            raise InvalidArgumentError(
                self._field, f"more than {MAX_MARKS} combining marks in a row once unknown characters are gone"
            )
        return spelling

    def _held_from(self, text: str, parts_: Callable[[str, str], bool]) -> int:
        """Returns from where on ``text`` must wait, because the next characters may change it."""
        for place in range(len(text) - 1, max(0, len(text) - MAX_JOINED - 1), -1):
            if parts_(text[place - 1], text[place]):
                return place
        if len(text) > MAX_JOINED:
            raise InvalidArgumentError(
                self._field, f"more than {MAX_JOINED} joined code points from character {self._characters} on"
            )
        return 0
