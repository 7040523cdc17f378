"""Text from ids: the last step before a stream's messages.

Turns the id chunks of a stream into text chunks, with a log-probability for each character if they are wanted. Finds
stop sequences, even if they span chunks.

Invariant: the concatenated text is the same however the ids were chunked; a character that may belong to a
stop sequence is held back until that is decided. All counts are of characters, whatever ids spell them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from nextchar_model.alphabet import Alphabet
from nextchar_model.decoder import Decoder, Finished

from .engine.stream import IdChunk

_Known = tuple[int, float, list[tuple[int, float]]]  # id, log-probability, alternatives


@dataclass(frozen=True)
class CharacterLogprob:
    """A character with its log-probability in nats, and the likeliest characters in its place with theirs."""

    character: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class TextChunk:
    """Consecutive characters of a stream."""

    text: str = ""
    logprobs: Sequence[CharacterLogprob] = ()
    """One entry per character, or empty if the stream has no log-probabilities."""

    def __getitem__(self, part: slice) -> TextChunk:
        return TextChunk(self.text[part], self.logprobs[part])

    def joined(self, other: TextChunk) -> TextChunk:
        """Returns this chunk followed by ``other``."""
        if not (self.text and other.text):
            return self if self.text else other
        return TextChunk(self.text + other.text, [*self.logprobs, *other.logprobs])


_NOTHING = TextChunk()


class Characters:
    """Turns the ids of one stream into characters, and the log-probabilities of ids into those of characters."""

    def __init__(self, alphabet: Alphabet) -> None:
        self._alphabet = alphabet
        self._decoder = Decoder(alphabet)
        self._known: list[_Known] = []  # of ids whose character isn't finished

    def feed(self, chunk: IdChunk) -> TextChunk:
        """Returns the characters that ``chunk`` finishes."""
        if chunk.logprobs:
            self._known += zip(chunk.ids, chunk.logprobs, chunk.alternatives, strict=True)
        return self._chunk(self._decoder.feed(chunk.ids))

    def flush(self, *, broken_off: bool = False) -> TextChunk:
        """Returns the unfinished characters, since nothing follows.

        If the text was ``broken_off``, an incomplete UTF-8 sequence is dropped.
        """
        return self._chunk(self._decoder.flush(broken_off=broken_off))

    def _chunk(self, finished: Finished) -> TextChunk:
        text, lengths = finished
        if not self._known:
            return TextChunk(text)
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
        return TextChunk(text, logprobs)


class TextBuilder:
    """Builds the text of one stream, up to a stop sequence or ``max_characters``."""

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
        """The stop sequence that was found; empty until one is."""
        self.generated = 0
        """Number of finished characters so far, up to the end of the stop sequence if one was found."""

    @property
    def is_complete(self) -> bool:
        """Whether the text is finished, so that later ids are ignored."""
        return bool(self.stopped_by) or self.generated >= self._max_characters

    def feed(self, chunk: IdChunk) -> TextChunk:
        """Returns the new text that can't be part of a stop sequence; empty once the text is complete."""
        return _NOTHING if self.is_complete else self._add(self._characters.feed(chunk))

    def end(self, *, broken_off: bool = False) -> TextChunk:
        """Returns the text that was held back, since the stream ended or was ``broken_off``."""
        text = _NOTHING if self.is_complete else self._add(self._characters.flush(broken_off=broken_off))
        held, self._held = self._held, _NOTHING
        return text.joined(held)

    def _add(self, new: TextChunk) -> TextChunk:
        left = self._max_characters - self.generated
        if len(new.text) > left:
            new = new[:left]
        chunk, self._held = self._held.joined(new), _NOTHING
        self.generated += len(new.text)
        length = len(chunk.text)
        found = _first_stop(chunk.text, self._stop_sequences)
        if found is not None:
            end, self.stopped_by = found
            self.generated -= length - end
            return chunk[: end if self._include_stop_sequence else end - len(self.stopped_by)]
        if not self.is_complete and (held := _possible_prefix(chunk.text, self._stop_sequences)):
            chunk, self._held = chunk[: length - held], chunk[length - held :]
        return chunk


def _first_stop(text: str, stop_sequences: Sequence[str]) -> tuple[int, str] | None:
    """Returns (end, stop sequence) of the one that ends first; the longest if several end at the same place."""
    found = [(start + len(stop), stop) for stop in stop_sequences if (start := text.find(stop)) >= 0]
    return min(found, key=lambda match: (match[0], -len(match[1])), default=None)


def _possible_prefix(text: str, stop_sequences: Sequence[str]) -> int:
    """Returns the length of the longest suffix of ``text`` that is a prefix of a stop sequence."""
    longest = 0
    for stop in stop_sequences:
        for length in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:length]):
                longest = length
                break
    return longest
