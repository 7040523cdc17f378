"""Text from ids: the last step before a stream's messages.

Takes the chunks of a stream and gives pieces of text, with a log-probability for each character where they are
wanted. It finds stop sequences, also where they span chunks.

What always holds: the pieces do not depend on how the ids were cut into chunks, put together; a character that
may belong to a stop sequence is held back until it is clear. All counts are of characters, whatever ids spell them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from nextchar_model.alphabet import Alphabet
from nextchar_model.decoder import Decoder, Finished

from .engine.stream import Chunk

_Known = tuple[int, float, list[tuple[int, float]]]  # id, log-probability, alternatives


@dataclass(frozen=True)
class CharacterLogprob:
    """A character's log-probability, in nats, and those of the likeliest in its place."""

    character: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Piece:
    """Some text of a stream."""

    text: str = ""
    logprobs: Sequence[CharacterLogprob] = ()
    """One entry a character, or none at all."""

    def __getitem__(self, part: slice) -> Piece:
        return Piece(self.text[part], self.logprobs[part])

    def joined(self, other: Piece) -> Piece:
        """This piece and the ``other`` after it."""
        if not (self.text and other.text):
            return self if self.text else other
        return Piece(self.text + other.text, [*self.logprobs, *other.logprobs])


_NOTHING = Piece()


class Characters:
    """Makes pieces of the ids of one stream: what is finished of its text, and what is known of each character."""

    def __init__(self, alphabet: Alphabet) -> None:
        self._alphabet = alphabet
        self._decoder = Decoder(alphabet)
        self._known: list[_Known] = []  # of ids whose character is not finished

    def feed(self, chunk: Chunk) -> Piece:
        """The characters that are finished now that ``chunk`` came."""
        if chunk.logprobs:
            self._known += zip(chunk.ids, chunk.logprobs, chunk.alternatives, strict=True)
        return self._piece(self._decoder.feed(chunk.ids))

    def flush(self, *, broken_off: bool = False) -> Piece:
        """The characters that were waiting for what might have belonged to them, now that nothing follows.

        Half a character in bytes is left out where the text was ``broken_off``.
        """
        return self._piece(self._decoder.flush(broken_off=broken_off))

    def _piece(self, finished: Finished) -> Piece:
        text, lengths = finished
        if not self._known:
            return Piece(text)
        logprobs = []
        known = iter(self._known)
        for character, length in zip(text, lengths, strict=True):
            ids = list(islice(known, length))
            alternatives = ids[0][2] if len(ids) == 1 else ()
            logprobs.append(
                CharacterLogprob(
                    character,
                    math.fsum(logprob for _, logprob, _ in ids) if len(ids) != 1 else ids[0][1],
                    tuple((self._alphabet.symbol(other), value) for other, value in alternatives),
                )
            )
        self._known = list(known)
        return Piece(text, logprobs)


class TextBuilder:
    """Puts the text of one stream together, up to a stop sequence or ``max_characters``."""

    def __init__(
        self,
        alphabet: Alphabet,
        max_characters: int,
        stop_sequences: Sequence[str] = (),
        include_stop_sequence: bool = False,
    ) -> None:
        self._characters = Characters(alphabet)
        self._max_characters = max_characters
        self._stop_sequences = stop_sequences
        self._include_stop_sequence = include_stop_sequence
        self._held = _NOTHING  # may begin a stop sequence
        self.stopped_by = ""
        """The stop sequence that was found; empty until then."""
        self.generated = 0
        """Characters that were finished so far, up to the end of the stop sequence that was found."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing comes any more."""
        return bool(self.stopped_by) or self.generated >= self._max_characters

    def feed(self, chunk: Chunk) -> Piece:
        """The text that is clear now that ``chunk`` came. Once the text is complete, nothing comes any more."""
        return _NOTHING if self.is_complete else self._add(self._characters.feed(chunk))

    def end(self, *, broken_off: bool = False) -> Piece:
        """What was held back, where the stream ended, or was ``broken_off``, before the text was complete."""
        piece = _NOTHING if self.is_complete else self._add(self._characters.flush(broken_off=broken_off))
        held, self._held = self._held, _NOTHING
        return piece.joined(held)

    def _add(self, new: Piece) -> Piece:
        left = self._max_characters - self.generated
        if len(new.text) > left:
            new = new[:left]
        piece, self._held = self._held.joined(new), _NOTHING
        self.generated += len(new.text)
        length = len(piece.text)
        found = _first_stop(piece.text, self._stop_sequences)
        if found is not None:
            end, self.stopped_by = found
            self.generated -= length - end
            return piece[: end if self._include_stop_sequence else end - len(self.stopped_by)]
        if not self.is_complete and (held := _possible_prefix(piece.text, self._stop_sequences)):
            piece, self._held = piece[: length - held], piece[length - held :]
        return piece


def _first_stop(text: str, stop_sequences: Sequence[str]) -> tuple[int, str] | None:
    """The end of the stop sequence that is complete first, and it; of two with one end, the longer."""
    found = [(start + len(stop), stop) for stop in stop_sequences if (start := text.find(stop)) >= 0]
    return min(found, key=lambda match: (match[0], -len(match[1])), default=None)


def _possible_prefix(text: str, stop_sequences: Sequence[str]) -> int:
    """Length of the longest end of ``text`` with which a stop sequence begins."""
    longest = 0
    for stop in stop_sequences:
        for length in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:length]):
                longest = length
                break
    return longest
