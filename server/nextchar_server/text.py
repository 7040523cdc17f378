"""Text from ids: the last step before a stream's messages.

Takes the chunks of a stream and gives pieces of text, with a log-probability for each character where they are
wanted. It finds stop sequences, also where they span chunks.

What always holds: the pieces do not depend on how the ids were cut into chunks, put together; a character that
may belong to a stop sequence is held back until it is clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nextchar_server.stream import Chunk
from nextchar_training.alphabet import Alphabet


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


@dataclass
class TextBuilder:
    """Puts the text of one stream together."""

    alphabet: Alphabet
    stop_sequences: Sequence[str] = ()
    include_stop_sequence: bool = False
    stopped_by: str = ""
    """The stop sequence that was found; empty until then."""
    generated: int = 0
    """Characters fed so far, up to the end of the stop sequence that was found."""
    _held: str = ""
    _held_logprobs: list[CharacterLogprob] = field(default_factory=list)

    def feed(self, chunk: Chunk) -> Piece:
        """The text that is clear now that ``chunk`` came. After a stop sequence, nothing comes any more."""
        if self.stopped_by:
            return Piece()
        new = piece_of(self.alphabet, chunk)
        text = self._held + new.text
        logprobs = [*self._held_logprobs, *new.logprobs]
        self.generated += len(new.text)
        clear = len(text)
        found = _first_stop(text, self.stop_sequences)
        if found is not None:
            end, self.stopped_by = found
            self.generated -= len(text) - end
            clear = end if self.include_stop_sequence else end - len(self.stopped_by)
        else:
            clear -= _possible_prefix(text, self.stop_sequences)
        self._held, self._held_logprobs = text[clear:], logprobs[clear:]
        return Piece(text[:clear], logprobs[:clear])

    def flush(self) -> Piece:
        """What was held back, where the stream ended without a stop sequence."""
        if self.stopped_by:
            return Piece()
        piece = Piece(self._held, self._held_logprobs)
        self._held, self._held_logprobs = "", []
        return piece


def piece_of(alphabet: Alphabet, chunk: Chunk) -> Piece:
    """The text of ``chunk``, and what is known of each character."""
    text = alphabet.decode(chunk.ids)
    if not chunk.logprobs:
        return Piece(text)
    known = zip(chunk.ids, chunk.logprobs, chunk.alternatives, strict=True)
    return Piece(
        text,
        [
            CharacterLogprob(
                alphabet.symbol(id_), logprob, tuple((alphabet.symbol(other), value) for other, value in alternatives)
            )
            for id_, logprob, alternatives in known
        ],
    )


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
