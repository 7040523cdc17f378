"""The values that scoring returns beside ``Score``: the events of a stream of scores, and the scores of candidates.

Frozen and plain, as those of ``results``. All offsets and counts are in characters (NFC code points), all
log-probabilities in nats.
"""

from __future__ import annotations

from dataclasses import dataclass

from .results import CharacterLogprob


@dataclass(frozen=True)
class ScoreStarted:
    """The server admitted a stream of texts to score."""

    request_id: str
    """Identifier of the call, also in the server's log."""
    model: str
    """Name of the model that scores."""
    model_digest: str
    """SHA-256 of the model file, in hexadecimal."""


@dataclass(frozen=True)
class ScoredPart:
    """More characters of a text, as the model read them."""

    index: int
    """Number of the text in its stream; the first is 0."""
    offset: int
    """Number of characters of the text before this part."""
    characters: tuple[CharacterLogprob, ...]
    """One entry per character; never empty."""


@dataclass(frozen=True)
class ScoredText:
    """A whole text was scored."""

    index: int
    """Number of the text in its stream; the first is 0."""
    characters: int
    """Number of its characters, without unknown ones that were skipped."""
    total_logprob: float
    """Sum of their log-probabilities."""
    bits_per_character: float
    """-``total_logprob`` / ln 2 / number of characters; 0 for a text without characters."""


ScoreEvent = ScoreStarted | ScoredPart | ScoredText
"""An event of a stream of scores: one ``ScoreStarted``; then per text any number of ``ScoredPart``, one
``ScoredText``."""


@dataclass(frozen=True)
class CandidateScore:
    """How likely one of several texts is, given the prefix that they follow."""

    text: str
    """The text as the model read it: in NFC, with its unknown characters skipped or replaced."""
    characters: tuple[CharacterLogprob, ...]
    """One entry per character of the text; empty unless ``top_logprobs`` was set."""
    total_logprob: float
    """Sum of the log-probabilities."""
    bits_per_character: float
    """-``total_logprob`` / ln 2 / number of characters."""


@dataclass(frozen=True)
class CandidateScores:
    """How likely each of several texts is, given the prefix that they follow."""

    request_id: str
    """Identifier of the call, also in the server's log."""
    model: str
    """Name of the model that scored."""
    model_digest: str
    """SHA-256 of the model file, in hexadecimal."""
    scores: tuple[CandidateScore, ...]
    """One entry per candidate, in their order."""
