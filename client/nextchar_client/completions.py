"""The values that completing returns: the likeliest continuations of a text.

Frozen and plain, as those of ``results``. All log-probabilities are in nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

CompletionBoundary = Literal["word", "line", "characters"]
"""Where a completion ends: with the word, with the line, or after a number of characters."""


@dataclass(frozen=True)
class Completion:
    """One continuation."""

    text: str
    """The text, without the characters at its boundary."""
    logprob: float
    """Log-probability of the text followed by its boundary; of the text alone with ``regex``."""

    @property
    def probability(self) -> float:
        """Probability of the text followed by its boundary."""
        return math.exp(self.logprob)


@dataclass(frozen=True)
class Completions:
    """The likeliest continuations of a text."""

    request_id: str
    """Identifier of the call, also in the server's log."""
    model: str
    """Name of the model that completed."""
    model_digest: str
    """SHA-256 of the model file, in hexadecimal."""
    completions: tuple[Completion, ...]
    """The likeliest first."""
    is_exact: bool
    """Whether no other completion is likelier. Otherwise the search stopped at its bound."""
