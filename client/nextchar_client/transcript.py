"""The transcript of one call: whether its events make a whole text.

Between the messages and the caller, so that a text with a gap, from a server or a proxy that loses messages, is never
taken for a whole one. Invariant: a stream that passes is one ``Started``, any number of ``Delta`` that continue each
other without a gap or a repetition, and one ``Finished``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .errors import IncompleteStreamError
from .results import CharacterLogprob, Delta, Event, Finished, Started


class Transcript:
    """The events of one call so far.

    ``with_logprobs`` if each character needs its log-probability, ``with_activations`` if it needs those.
    """

    def __init__(self, *, with_logprobs: bool = False, with_activations: bool = False) -> None:
        self._with_logprobs = with_logprobs
        self._with_activations = with_activations
        self.characters = 0
        """Number of characters in the deltas so far."""
        self._has_started = False
        self._has_finished = False

    @property
    def is_empty(self) -> bool:
        """Whether no event has come."""
        return not self._has_started

    def add(self, event: Event) -> None:
        """Adds the next event. Raises ``IncompleteStreamError`` if it can't follow those before it."""
        name = type(event).__name__
        if self._has_finished:
            raise IncompleteStreamError(f"{name} came after Finished, which must be the last event")
        if isinstance(event, Started) == self._has_started:
            expected = "Delta or Finished" if self._has_started else "Started, which must be the first event"
            raise IncompleteStreamError(f"{name} came in place of {expected}")
        match event:
            case Started():
                self._has_started = True
            case Delta():
                self._follow(event)
            case Finished():
                self._has_finished = True

    def end(self) -> None:
        """Raises ``IncompleteStreamError`` if the last event is missing."""
        if not self._has_finished:
            raise IncompleteStreamError("the stream ended without its last event: the text may be cut")

    def _follow(self, delta: Delta) -> None:
        if not delta.text:
            raise IncompleteStreamError(f"the delta at character {delta.offset} is empty")
        if delta.offset != self.characters:
            kind = "missing" if delta.offset > self.characters else "repeated"
            raise IncompleteStreamError(
                f"a delta starts at character {delta.offset} in place of {self.characters}: "
                f"{abs(delta.offset - self.characters)} characters are {kind}"
            )
        if self._with_logprobs:
            require_logprobs(delta.text, delta.logprobs)
        if self._with_activations and delta.activations is None:
            raise IncompleteStreamError(f"the delta at character {delta.offset} has no activations")
        self.characters += len(delta.text)


def require_logprobs(text: str, logprobs: Sequence[CharacterLogprob]) -> None:
    """Raises ``IncompleteStreamError`` unless each character of ``text`` has its log-probability."""
    if len(logprobs) != len(text):
        raise IncompleteStreamError(f"{len(logprobs)} log-probabilities came for {len(text)} characters")
    if any(math.isnan(place.logprob) for place in logprobs):
        raise IncompleteStreamError("a log-probability is not a number")
