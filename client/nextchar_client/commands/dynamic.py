"""Dynamic evaluation in the client: the scores of a server, mixed with those of a model that learns on the way.

The only part of the client that imports one of ``nextchar_model``'s modules, one of the standard library alone, and
only when it is used.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ..results import CharacterLogprob, Model
from ..scores import ScoredPart, ScoredText, ScoreEvent
from .reading import parts_of

if TYPE_CHECKING:
    from nextchar_model.adaptation import Adaptive as Adaptive

LABEL = "dynamic evaluation"


def adaptive(model: Model, text: str | None, *, verbatim: bool) -> Adaptive:
    """A mixture that has learnt the file ``text``, if there is one. Raises ``UsageError`` if it can't be read."""
    from nextchar_model.adaptation import Adaptive

    # A character of jamo or bytes is composed of several symbols: any code point can come.
    is_spelled = model.alphabet_kind == "characters"
    mixture = Adaptive(len(model.alphabet) + 1 if is_spelled else sys.maxunicode + 1)
    if text is not None:
        mixture.learn(parts_of(text, name="--adaptive-text", verbatim=verbatim))
    return mixture


def adapted(characters: Iterable[CharacterLogprob], mixture: Adaptive) -> tuple[CharacterLogprob, ...]:
    """The same characters, with their log-probabilities under ``mixture``, which reads them."""
    return tuple(replace(place, logprob=mixture.logprob(place.character, place.logprob)) for place in characters)


def adapted_events(events: Iterable[ScoreEvent], mixture: Adaptive) -> Iterator[ScoreEvent]:
    """The same events, with the log-probabilities and totals under ``mixture``."""
    found: list[float] = []
    for event in events:
        match event:
            case ScoredPart():
                event = replace(event, characters=adapted(event.characters, mixture))
                found.append(math.fsum(place.logprob for place in event.characters))
            case ScoredText():
                total = math.fsum(found)
                event = replace(event, total_logprob=total, bits_per_character=bits(total, event.characters))
                found.clear()
                mixture.begin()
        yield event


def bits(total: float, characters: int) -> float:
    """The bits per character of ``characters`` with a ``total`` log-probability in nats."""
    return -total / math.log(2) / characters if characters else 0.0
