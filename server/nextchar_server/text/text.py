"""Text from ids: the last step before a stream's messages.

Turns the id chunks of a stream into text chunks, with a log-probability for each character if they are wanted. Finds
stop sequences, even if they span chunks.

Invariant: the concatenated text is the same however the ids were chunked; a character that may belong to a
stop sequence is held back until that is decided. All counts are of characters, whatever ids spell them. No Python
object is made per id or alternative: log-probabilities stay in columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import Alphabet, Spelling
from nextchar_model.composition import text_of
from nextchar_model.decoder import Decoder, Finished, is_one_to_one
from nextchar_model.stop_sequences import first_stop, possible_prefix

from ..engine.stream import IdChunk
from .activations import Activations, WaitingActivations
from .logprobs import Logprobs
from .place import Place

NO_ALTERNATIVE, END_OF_DOCUMENT = "\ufffe", "\uffff"
"""These stand among alternatives for none at all, and for the end of the document. Neither is a character."""

STAND_INS = frozenset({NO_ALTERNATIVE, END_OF_DOCUMENT})
"""Code points that an alphabet can't have if alternatives are to be told from them."""


@dataclass(slots=True, eq=False)
class TextChunk:
    """Consecutive characters of a stream."""

    text: str = ""
    logprobs: Logprobs | None = None
    """Of the characters; None if the text is empty or the stream has no log-probabilities."""
    lengths: list[int] | None = None
    """Number of ids of each character; None if each has one."""
    activations: Activations | None = None
    """Of the characters; None if the stream has none."""

    def __getitem__(self, part: slice) -> TextChunk:
        text = self.text[part]
        logprobs = None if self.logprobs is None or not text else self.logprobs[part]
        activations = None if self.activations is None else self.activations[part]
        return TextChunk(text, logprobs, None if self.lengths is None else self.lengths[part], activations)

    @staticmethod
    def join(parts: Sequence[TextChunk]) -> TextChunk:
        """Returns ``parts`` as one chunk."""
        parts = [part for part in parts if part.text]
        if len(parts) == 1:
            return parts[0]
        logprobs = [part.logprobs for part in parts if part.logprobs is not None]
        lengths = [part.lengths for part in parts if part.lengths is not None]
        return TextChunk(
            "".join([part.text for part in parts]),
            Logprobs.join(logprobs) if logprobs else None,
            list(chain.from_iterable(lengths)) if lengths else None,
            Activations.join([part.activations for part in parts if part.activations is not None]),
        )


_NOTHING = TextChunk()


class _Beside:
    """The log-probabilities of a stream's ids, on the way to those of its characters."""

    __slots__ = ("_code_points", "_waiting")

    def __init__(self, alphabet: Alphabet) -> None:
        self._code_points = alphabet.code_points
        self._waiting: IdChunk | None = None  # ids of unfinished characters

    def add(self, chunk: IdChunk) -> None:
        """Adds the ids of ``chunk``, if they have log-probabilities."""
        if chunk.logprobs is not None:
            self._waiting = IdChunk.join([self._waiting, chunk]) if self._waiting else chunk

    def take(self, lengths: list[int] | NDArray[np.int64] | None) -> Logprobs | None:
        """Returns the columns of the next characters, made by ``lengths`` [characters] ids each.

        None means that each waiting id made one.
        """
        ids = self._waiting
        if ids is None:
            return None
        counts = np.ones(len(ids), np.int64) if lengths is None else np.asarray(lengths, np.int64)
        if not len(counts):
            return None
        used = int(counts.sum())
        ids, self._waiting = ids[:used], ids[used:]
        assert ids.logprobs is not None
        assert ids.top_ids is not None
        assert ids.top_logprobs is not None
        alternatives = self._code_points[ids.top_ids]
        one = counts == 1
        if one.all():
            return Logprobs(ids.logprobs, alternatives, ids.top_logprobs, ids.details)
        starts = np.cumsum(counts) - counts
        own = np.zeros(len(counts))
        some = counts > 0  # a character that the decoder inserts has no ids
        own[some] = np.add.reduceat(ids.logprobs, starts[some], dtype=np.float64)
        places = np.full((len(counts), alternatives.shape[1]), ord(NO_ALTERNATIVE), np.uint32)
        values = np.zeros(places.shape, np.float32)
        places[one], values[one] = alternatives[starts[one]], ids.top_logprobs[starts[one]]
        return Logprobs(own.astype(np.float32), places, values)


class Characters:
    """Turns the ids of one stream into characters, and the log-probabilities of ids into those of characters."""

    __slots__ = ("_activations", "_beside", "_decoder", "_looked_up")

    def __init__(self, alphabet: Alphabet, activations: WaitingActivations | None = None) -> None:
        """``activations`` has those of the ids that are to be fed, if they are wanted."""
        self._decoder = Decoder(alphabet)
        self._beside = _Beside(alphabet)
        self._activations = activations
        # The decoder would go through the ids one by one.
        self._looked_up = alphabet.code_points if is_one_to_one(alphabet) else None

    def feed(self, chunk: IdChunk) -> TextChunk:
        """Returns the characters that ``chunk`` finishes."""
        self._beside.add(chunk)
        if self._looked_up is not None:
            text = text_of(self._looked_up.take(chunk.ids))
            activations = None if self._activations is None else self._activations.take([1] * len(text))
            return TextChunk(text, self._beside.take(None), None, activations)
        return self._chunk(self._decoder.feed(chunk.ids.tolist()))

    @property
    def is_split(self) -> bool:
        """Whether the unfinished character continues a run of marks that the decoder split."""
        return self._decoder.is_split

    def flush(self) -> TextChunk:
        """Returns the unfinished characters, since nothing follows."""
        return self._chunk(self._decoder.flush())

    def _chunk(self, finished: Finished) -> TextChunk:
        text, lengths = finished
        activations = None if self._activations is None else self._activations.take(lengths)
        return TextChunk(text, self._beside.take(lengths), lengths, activations)


class ReadText:
    """The characters of a text that the model reads, as its ids come out of the stream again."""

    def __init__(self, alphabet: Alphabet, spelling: Spelling, activations: WaitingActivations | None = None) -> None:
        """``spelling`` is the text with its ids, of which ``activations`` has those that are wanted."""
        self._activations = activations
        self._text = spelling.text
        # Of each character, unless each is one id: a long text has many.
        self._lengths = None if len(spelling.ids) == len(spelling.text) else spelling.lengths
        self._ends = None if self._lengths is None else np.cumsum(self._lengths, dtype=np.int32)
        self._beside = _Beside(alphabet)
        self._characters = 0  # returned
        self._ids = 0  # fed

    @property
    def left(self) -> int:
        """Number of ids that are still to come."""
        return (len(self._text) if self._ends is None else int(self._ends[-1])) - self._ids

    def feed(self, chunk: IdChunk) -> TextChunk:
        """Returns the characters that ``chunk`` finishes."""
        self._beside.add(chunk)
        self._ids += len(chunk)
        end = self._ids if self._ends is None else int(np.searchsorted(self._ends, self._ids, side="right"))
        part = slice(self._characters, end)
        self._characters = end
        lengths = None if self._lengths is None else self._lengths[part]
        text = self._text[part]
        activations = None
        if self._activations is not None:
            activations = self._activations.take([1] * len(text) if lengths is None else lengths)
        return TextChunk(text, self._beside.take(lengths), None, activations)


class TextBuilder:
    """Builds the text of one stream, up to a stop sequence or ``max_characters``."""

    __slots__ = (
        "_characters",
        "_held",
        "_include_stop_sequence",
        "_max_characters",
        "_place",
        "_skip",
        "_stop_sequences",
        "generated",
        "stopped_by",
    )

    def __init__(
        self,
        alphabet: Alphabet,
        max_characters: int,
        stop_sequences: Sequence[str] = (),
        include_stop_sequence: bool = False,
        skip: int = 0,
        activations: WaitingActivations | None = None,
    ) -> None:
        """Leaves out the first ``skip`` characters, which an earlier stream has sent."""
        self._characters = Characters(alphabet, activations)
        self._max_characters = max_characters
        self._stop_sequences = stop_sequences
        self._include_stop_sequence = include_stop_sequence
        self._held = _NOTHING  # may begin a stop sequence
        self._place = Place()
        self._skip = skip  # characters that are still to be left out
        self.stopped_by = ""
        """The stop sequence that was found; empty until one is."""
        self.generated = 0
        """Number of finished characters so far, up to the end of the stop sequence if one was found."""

    @property
    def is_complete(self) -> bool:
        """Whether the text is finished, so that later ids are ignored."""
        return bool(self.stopped_by) or self.generated >= self._max_characters

    @property
    def sent(self) -> int:
        """Number of generated characters so far without those that are held back."""
        return self.generated - len(self._held.text)

    @property
    def place(self) -> tuple[int, int]:
        """The place that the text has reached: see ``Place.ids`` and ``Place.skip``."""
        return self._place.ids, self._place.skip + self._skip

    def feed(self, chunk: IdChunk) -> TextChunk:
        """Returns the new text that can't be part of a stop sequence; empty once the text is complete."""
        return _NOTHING if self.is_complete else self._add(self._characters.feed(chunk))

    def end(self) -> TextChunk:
        """Returns the text that was held back, since the stream ended."""
        text = _NOTHING if self.is_complete else self._add(self._characters.flush())
        held, self._held = self._held, _NOTHING
        self._move(held, len(held.text))
        return TextChunk.join([text, held])

    def _add(self, new: TextChunk) -> TextChunk:
        if self._skip and new.text:
            left_out = min(self._skip, len(new.text))
            self._move(new, left_out)
            self._skip -= left_out
            new = new[left_out:]
        count = min(len(new.text), self._max_characters - self.generated)
        self.generated += count
        if not self._stop_sequences:  # then nothing is held back
            self._move(new, count)
            return new if count == len(new.text) else new[:count]
        chunk, self._held = (TextChunk.join([self._held, new]) if self._held.text else new), _NOTHING
        end = len(chunk.text) - (len(new.text) - count)
        found = first_stop(chunk.text[:end], self._stop_sequences)
        if found is not None:
            stop_end, self.stopped_by = found
            self.generated -= end - stop_end
            self._move(chunk, stop_end)
            return chunk[: stop_end if self._include_stop_sequence else stop_end - len(self.stopped_by)]
        held = 0 if self.is_complete else possible_prefix(chunk.text, self._stop_sequences)
        if held:
            end -= held
            self._held = chunk[end:]
        self._move(chunk, end)
        return chunk if end == len(chunk.text) else chunk[:end]

    def _move(self, chunk: TextChunk, count: int) -> None:
        self._place.move(chunk.text, chunk.lengths, count, is_split=self._characters.is_split)
