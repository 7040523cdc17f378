"""A place in a text: how far the text was sent, in the ids that a model continues from.

Stands between ``text``, which sends characters, and the resume tokens, which hold ids. If every symbol of the alphabet
is a character, both are the same number. Otherwise a text can be cut at places from which no decoder can begin:
between characters that were composed together.

Invariant: a decoder that begins at ``ids`` and leaves out the first ``skip`` characters continues the text that was
sent.
"""

from __future__ import annotations

from nextchar_model.composition import joins
from nextchar_model.decoder import JOINER


class Place:
    """The end of the text that was sent."""

    __slots__ = ("_end", "ids", "skip")

    def __init__(self) -> None:
        self.ids = 0
        """Number of sampled ids before the place from which a decoder can begin."""
        self.skip = 0
        """Number of characters from there that were sent already."""
        self._end = 0  # ids of all characters that were sent

    def move(self, text: str, lengths: list[int] | None, count: int, *, is_split: bool) -> None:
        """Moves on by ``count`` characters of ``text``, which follows the place.

        Each character was made by as many ids as ``lengths`` [characters] says, or by one. ``is_split`` is whether the
        text to come continues a run of marks that the decoder split.
        """
        if lengths is None:
            self.ids += count
            return
        if count == 0:
            return
        self._end += sum(lengths[:count])
        if _begins(text[count]) if count < len(text) else not is_split:
            self.ids, self.skip = self._end, 0
            return
        for back in range(1, count + 1):  # to the last character with which a decoder can begin
            if _begins(text[count - back]):
                self.ids, self.skip = self._end - sum(lengths[count - back : count]), back
                return
        self.skip += count


def _begins(character: str) -> bool:
    """Whether a decoder can begin with ``character``. It may have inserted a ``JOINER`` itself, to split marks."""
    return character != JOINER and not joins(character)
