"""The values that ``samples`` returns, and the seeds of samples.

Frozen and plain, as those of ``results``.
"""

from __future__ import annotations

from dataclasses import dataclass

from .results import CharacterLogprob, Finished, Started

_SPREAD = 0x9E3779B97F4A7C15  # of the protocol: 2**64 divided by the golden ratio


def sample_seed(seed: int, index: int) -> int:
    """Returns the seed of sample ``index`` of a request with ``seed``: (seed + index * 0x9E3779B97F4A7C15) mod 2**64.

    A request for one text with this seed returns the same text; sample 0 has the request's own seed.
    """
    return (seed + index * _SPREAD) % 2**64


@dataclass(frozen=True)
class Sample:
    """One of several texts of a request."""

    index: int
    """Its number."""
    seed: int
    """Its seed, with which ``generate`` returns the same text."""
    text: str
    """The text, without the prompt unless ``echo`` was set."""
    logprobs: tuple[CharacterLogprob, ...]
    """One entry per character; empty unless ``top_logprobs`` was set."""
    finished: Finished
    """Why the text ended. It has no resume token."""
    total_logprob: float | None
    """Sum of the log-probabilities of the generated characters of ``text`` and of the document's end; None unless
    ``best_of`` was set."""


@dataclass(frozen=True)
class Samples:
    """The texts of a request for several."""

    started: Started
    """The model, and the seed of the request."""
    texts: tuple[Sample, ...]
    """The texts, by their number; with ``best_of``, the best one first."""
