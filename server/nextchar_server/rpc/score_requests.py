"""Requests to score many texts: from the protocol's messages to the inputs of the engine, or a clear error.

Stands beside ``requests``, which reads the request to score one.

Invariant: as there, an invalid request is refused before it is queued, with the name of the field.
"""

from __future__ import annotations

from dataclasses import dataclass

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet, Spelling, Unknown

from ..catalog import Limits
from ..pacing import Steps
from .errors import InvalidArgumentError
from .requests import check_answer, read_details, read_text, read_top_logprobs, read_unknown
from .texts import CODE_POINTS

MAX_CANDIDATES = 1000
"""Most texts of a request."""

_LIGHT = 4096  # code points that are read in a step: 1 ms for short texts, which cost the most
_SHORT = 128  # code points, as which a shorter text counts


@dataclass(frozen=True)
class Rescoring:
    """Texts to score that follow one prefix."""

    prefix: Spelling
    candidates: tuple[Spelling, ...]
    top_logprobs: int | None
    """None for the sums alone."""

    @property
    def characters(self) -> int:
        """Number of characters of all candidates."""
        return sum(len(candidate.text) for candidate in self.candidates)


@dataclass(frozen=True)
class Settings:
    """How the texts of a stream are scored."""

    top_logprobs: int
    details: bool
    unknown: Unknown
    replacement: str
    totals_only: bool


def settings(message: pb.ScoreSettings, alphabet: Alphabet) -> Steps[Settings]:
    """Reads the settings of a stream that a model of ``alphabet`` scores. Raises ``RequestError``."""
    top_logprobs = read_top_logprobs(message, "settings.", alphabet)
    details = read_details(message, "settings.", alphabet)
    if message.totals_only and (top_logprobs or details):
        raise InvalidArgumentError("settings.totals_only", "doesn't go with top_logprobs and details")
    unknown, replacement = yield from read_unknown(alphabet, message, "settings.")
    return Settings(top_logprobs, details, unknown, replacement, message.totals_only)


def rescoring(request: pb.RescoreRequest, alphabet: Alphabet, limits: Limits) -> Steps[Rescoring]:
    """Reads a request to score with a model of ``alphabet``. Raises ``RequestError``."""
    most = limits.max_prompt_characters
    top_logprobs = read_top_logprobs(request, "", alphabet) if request.HasField("top_logprobs") else None
    if not 1 <= (count := len(request.candidates)) <= MAX_CANDIDATES:
        raise InvalidArgumentError("candidates", f"{count} texts; there must be 1 to {MAX_CANDIDATES}")
    if (length := sum(map(len, request.candidates))) > CODE_POINTS * most:
        raise InvalidArgumentError("candidates", f"{length} code points; this server accepts at most {most} characters")
    prefix = yield from read_text(request.prefix, "prefix", alphabet, limits, request, "")
    candidates: list[Spelling] = []
    characters = since = 0
    for place, text in enumerate(request.candidates):
        if since >= _LIGHT:
            yield
            since = 0
        since += max(_SHORT, len(text))
        candidate = yield from read_text(text, f"candidates[{place}]", alphabet, limits, request, "")
        if not candidate.text:
            raise InvalidArgumentError(f"candidates[{place}]", "there is no character to score")
        candidates.append(candidate)
        characters += len(candidate.text)
        if characters > most:
            raise InvalidArgumentError("candidates", f"this server accepts at most {most} characters of all together")
    if top_logprobs is not None:
        check_answer(characters, top_logprobs, "top_logprobs")
    return Rescoring(prefix, tuple(candidates), top_logprobs)
