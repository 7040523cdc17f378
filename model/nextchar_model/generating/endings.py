"""Endings: whether the ids of a row are a whole text, and which one.

Stands between the rows of ``generator`` and its texts.

Invariant: the text, its reason and its count are those of a stream that gets the same ids one by one, because nothing
there depends on how they are chunked.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..alphabet import BOUNDARY, Alphabet
from ..composition import MAX_MARKS, joins, longest_marks, normalize, text_of
from ..decoder import Decoder, is_one_to_one
from ..stop_sequences import first_stop
from .plan import Plan


class Ending(NamedTuple):
    """A whole text."""

    text: str
    finish_reason: str
    stop_sequence: str
    generated: int
    """Characters, up to the end of the stop sequence if one ended it."""


class Endings:
    """The endings of one model's texts."""

    def __init__(self, alphabet: Alphabet) -> None:
        self._alphabet = alphabet
        self._looks_up = is_one_to_one(alphabet)

    def plain(self, ids: NDArray[np.int32], read: NDArray[np.int64], until: NDArray[np.int64]) -> list[Ending]:
        """Returns the text of each row of ``ids`` [B, columns], from column ``read`` to ``until`` or to the boundary.

        Each id is a character, and only their number or the boundary ends a text.
        """
        place = np.arange(ids.shape[1])
        is_generated = (place >= read[:, None]) & (place < until[:, None])
        ends = is_generated & (ids == BOUNDARY)
        has_end = ends.any(axis=1)
        until = np.where(has_end, ends.argmax(axis=1), until)
        text = text_of(self._alphabet.code_points.take(ids[is_generated & (place < until[:, None])]))
        lengths = until - read
        stops = np.cumsum(lengths)
        return [
            Ending(text[start:stop], "end_of_document" if is_end else "max_characters", "", stop - start)
            for start, stop, is_end in zip((stops - lengths).tolist(), stops.tolist(), has_end.tolist(), strict=True)
        ]

    def may_have_stopped(self, ids: NDArray[np.integer], plan: Plan) -> bool:
        """Whether ``ids``, the latest ones of a text, look as if a stop sequence has come. It may be none."""
        text = normalize(self._raw(ids, errors="ignore"))
        return any(stop in text for stop in plan.stop_sequences)

    def of(self, ids: NDArray[np.integer], plan: Plan) -> Ending | int:
        """Returns the whole text that ``ids`` [sampled] begin with; if they don't yet, the characters still to come."""
        ends = np.flatnonzero(ids == BOUNDARY)
        count = min(int(ends[0]) if len(ends) else len(ids), plan.most_ids)
        is_boundary = len(ends) > 0 and count < plan.most_ids and count == int(ends[0])
        is_over = is_boundary or count == plan.most_ids
        ids = ids[:count]
        whole, finished = self._decoded(ids, is_over=is_over)
        most = plan.max_characters
        if finished < most <= len(whole) and is_over:  # what is held back decides why it ended
            whole, finished = self._decoded_slowly(ids)
        seen = whole[: most if is_over else min(finished, most)]
        stopped = first_stop(seen, plan.stop_sequences)
        if stopped is not None:
            end, stop = stopped
            text = whole[: end if plan.include_stop_sequence else end - len(stop)]
            return Ending(text, "stop_sequence", stop, end)
        if not is_over and finished < most:
            return most - finished
        reason = "end_of_document" if is_boundary and finished < most else "max_characters"
        automaton = plan.constraint
        if automaton is not None:
            if automaton.is_complete(automaton.after(0, ids.tolist())):
                reason = "regex_complete"
            elif len(whole) >= most:
                reason = "max_characters"
        return Ending(whole[:most], reason, "", min(len(whole), most))

    def _decoded(self, ids: NDArray[np.integer], *, is_over: bool) -> tuple[str, int]:
        """Returns the text of ``ids``, and how many of its characters nothing that follows can change, or fewer.

        Unless the text ``is_over``, it lacks a code point of which not all bytes have come.
        """
        if self._looks_up:
            text = self._raw(ids)
            return text, len(text)
        try:
            raw = self._raw(ids)
        except UnicodeDecodeError as error:
            if is_over or error.reason != "unexpected end of data":
                return self._decoded_slowly(ids)
            raw = self._raw(ids[: error.start])
        if longest_marks(raw) >= MAX_MARKS:
            return self._decoded_slowly(ids)
        last = len(raw) - 1
        while last > 0 and joins(raw[last]):
            last -= 1
        text = normalize(raw)
        return text, max(0, len(text) - len(normalize(raw[last:])))

    def _raw(self, ids: NDArray[np.integer], errors: str = "strict") -> str:
        """Returns the code points that ``ids`` spell. Raises ``UnicodeDecodeError`` if they aren't UTF-8."""
        if self._alphabet.kind == "bytes":
            return (ids - 1).astype(np.uint8).tobytes().decode(errors=errors)
        return text_of(self._alphabet.code_points.take(ids))

    def _decoded_slowly(self, ids: NDArray[np.integer]) -> tuple[str, int]:
        decoder = Decoder(self._alphabet)
        finished, _ = decoder.feed(ids.tolist())
        rest, _ = decoder.flush()
        return finished + rest, len(finished)
