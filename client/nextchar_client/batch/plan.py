"""A plan: the texts of a job by their numbers, cut into pieces that one call can make.

Between the job and the source. Text n depends on n alone: of one prompt, it is sample n of the seed; of several
prefixes, text n has prefix n mod P, and is its sample ``prefix * 2**40 + n // P``; of a file of requests, it is that
of line n, and unless the line has a seed, sample n. Invariant: so the cut changes no text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from nextchar.v1 import generation_pb2 as pb

from .. import conversion
from ..errors import InvalidArgumentError
from ..options import GenerationOptions
from .job import Job

SAMPLES_OF_A_PREFIX = 2**40
"""Sample numbers that each prefix has for itself."""

_MOST_SAMPLES = 64  # of a call
_MOST_CHARACTERS = 100_000  # of a call: samples times max_characters
_DEFAULT_CHARACTERS = 256
_MOST_IN_A_BLOCK = 65_536  # texts that are in memory at once because their prefixes take turns
_OF_THE_COMMAND = (  # not of one line
    "model",
    "timeout",
    "top_logprobs",
    "include_activations",
    "resume_interval",
    "resume_token",
)


class Piece(NamedTuple):
    """Samples of one prompt."""

    prompt: str
    options: GenerationOptions
    seed: int
    first_sample: int
    """Number of the first sample; the others follow."""
    numbers: range
    """Numbers of the texts in the batch, one for each sample."""
    line: int | None = None
    """Line of the file of requests that asks for it."""


Block = list[Piece]
"""Pieces whose texts, sorted by their numbers, follow one another without a gap."""


class Plan(Protocol):
    """The texts of a job."""

    def blocks(self, start: int, stop: int | None) -> Iterator[Block]:
        """Yields the texts ``start`` to ``stop - 1``; None is no end."""

    def identity(self) -> dict[str, Any]:
        """Everything on which the texts depend, except the model, as JSON values."""


class Samples:
    """``Plan`` of endless samples of one prompt, or of several that take turns."""

    def __init__(self, prompts: Sequence[str], options: GenerationOptions, seed: int) -> None:
        conversion.generation_request(pb.GenerateRequest, prompts[0], options)  # complains of values that can't be sent
        self._prompts, self._options, self._seed = prompts, options, seed
        characters = options.get("max_characters") or _DEFAULT_CHARACTERS
        self._samples = max(1, min(_MOST_SAMPLES, _MOST_CHARACTERS // characters))

    def blocks(self, start: int, stop: int | None) -> Iterator[Block]:
        """As ``Plan`` says."""
        prompts = len(self._prompts)
        turns = max(1, min(self._samples, _MOST_IN_A_BLOCK // prompts))
        while stop is None or start < stop:
            end = (start // prompts + turns) * prompts
            end = end if stop is None else min(end, stop)
            yield [piece for place in range(prompts) if (piece := self._piece(place, start, end)).numbers]
            start = end

    def identity(self) -> dict[str, Any]:
        """As ``Plan`` says."""
        return {"prompts": list(self._prompts), "options": _plain(self._options), "seed": self._seed}

    def _piece(self, place: int, start: int, end: int) -> Piece:
        prompts = len(self._prompts)
        numbers = range(start + (place - start) % prompts, end, prompts)
        first = place * SAMPLES_OF_A_PREFIX + numbers.start // prompts
        return Piece(self._prompts[place], self._options, self._seed, first, numbers)


class Requests:
    """``Plan`` of the lines of a file, all of which are checked at once.

    Raises ``InvalidArgumentError``, which names the line and the field.
    """

    def __init__(self, path: str, options: GenerationOptions, seed: int) -> None:
        self._path, self._options, self._seed = path, options, seed
        try:
            self._digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            self.length = sum(1 for _ in self._lines())
        except OSError as error:
            raise InvalidArgumentError(f"requests: cannot read {path}: {error.strerror}") from None

    def blocks(self, start: int, stop: int | None) -> Iterator[Block]:
        """As ``Plan`` says."""
        for number, (line, prompt, options) in enumerate(islice(self._lines(), start, stop), start):
            seed = options.pop("seed", None)
            own = (self._seed, number) if seed is None else (seed, 0)
            yield [Piece(prompt, options, *own, range(number, number + 1), line)]

    def identity(self) -> dict[str, Any]:
        """As ``Plan`` says."""
        return {"requests": self._digest, "options": _plain(self._options), "seed": self._seed}

    def _lines(self) -> Iterator[tuple[int, str, GenerationOptions]]:
        with Path(self._path).open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, *self._read(line, number)

    def _read(self, line: bytes, number: int) -> tuple[str, GenerationOptions]:
        place = f"requests: {self._path}, line {number}"
        try:
            own = json.loads(line)
        except ValueError as error:
            raise InvalidArgumentError(f"{place}: it is not JSON: {error}") from None
        if not isinstance(own, dict):
            raise InvalidArgumentError(f'{place}: it is no JSON object, such as {{"prompt": "Once"}}')
        for field in _OF_THE_COMMAND:
            if field in own:
                raise InvalidArgumentError(f"{place}: {field}: it can't be of one line; leave it out")
        prompt = own.pop("prompt", "")
        options = cast("GenerationOptions", {**self._options, **own})
        try:
            if not isinstance(prompt, str):
                raise TypeError(f"prompt: {prompt!r} is not a text")
            conversion.generation_request(pb.GenerateRequest, prompt, options)
        except (TypeError, InvalidArgumentError) as error:
            raise InvalidArgumentError(f"{place}: {error}") from None
        return prompt, options


def plan_of(job: Job, options: GenerationOptions, seed: int) -> Samples | Requests:
    """The plan of ``job``. ``options`` are without ``seed``, ``model`` and ``timeout``.

    Raises ``InvalidArgumentError`` if an option can't be sent, of the command or of a line.
    """
    if job.requests is not None:
        return Requests(job.requests, options, seed)
    if job.count is None:
        raise InvalidArgumentError("count: it is missing; say how many lines to make, or name a file of requests")
    if job.prefix and options.get("echo") is None:
        options = {**options, "echo": True}
    return Samples(job.prefix or (job.prompt or "",), options, seed)


def bounds(job: Job, plan: Samples | Requests) -> tuple[int, int | None, int | None]:
    """The first text of ``job``, the one after its last or None, and the lines to make or None if the texts say it."""
    whole = job.count if isinstance(plan, Samples) else plan.length
    assert whole is not None
    if job.shard is not None:
        part, parts = job.shard
        return whole * part // parts, whole * (part + 1) // parts, None
    if isinstance(plan, Samples) and job.rejects:
        return 0, None, whole
    return 0, whole, None


def _plain(options: GenerationOptions) -> dict[str, Any]:
    return {name: value for name, value in sorted(options.items()) if value not in (None, (), [])}
