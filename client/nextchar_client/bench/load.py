"""A load: which requests ``nextchar bench`` sends to a server, and when.

``generator.py`` sends it; the fields of ``Load`` and their docstrings are also the command's options and their help.
Invariant: a ``Load`` that exists can be sent, and the same seed produces the same requests in the same order,
at the same times.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter, Token, ValidationError

from nextchar.v1 import generation_pb2 as pb
from nextchar_cli.command_line import utf8

from ..deadline import seconds_of
from ..errors import InvalidArgumentError

_SPARE_CHARACTERS = 10_000  # by which the random text exceeds the longest prompt, so that prompts differ


def _range(_: type, tokens: Sequence[Token]) -> tuple[int, int]:
    """Reads N or MIN-MAX."""
    text = tokens[0].value
    least, separator, most = text.partition("-")
    most = most if separator else least
    if not all(number.isascii() and number.isdigit() for number in (least, most)):
        raise ValidationError(exception_message=f"{text!r} is invalid; it must be a whole number or MIN-MAX")
    return int(least), int(most)


def _shown(limits: tuple[int, int]) -> str:
    """The text that ``_range`` reads as ``limits``."""
    return "-".join(map(str, dict.fromkeys(limits)))


Range = Annotated[tuple[int, int], Parameter(converter=_range, n_tokens=1, metavar="N|MIN-MAX", show_default=_shown)]
"""The least and the most of a number that is drawn uniformly between them."""


@dataclass(frozen=True)
class Load:
    """A load to send. Raises ``InvalidArgumentError``, which names the field, if a field is invalid.

    The default is one caller for ten seconds. At most one of ``streams`` and ``rate``, and of ``requests`` and
    ``seconds``, may be set.
    """

    streams: Annotated[int | None, Parameter(show_default="1")] = None
    """Closed loop: number of callers. Each sends its next request when its last one has ended."""
    rate: float | None = None
    """Open loop instead: requests per second at random times (a Poisson process), whatever the answers do."""
    requests: int | None = None
    """Number of requests to send after the warm-up, instead of a time."""
    seconds: Annotated[float | None, Parameter(show_default="10")] = None
    """How long requests count after the warm-up."""
    warm_up: int = 0
    """Number of requests to send first, which don't count. With a ramp, send several per caller."""
    ramp: float = 0.0
    """Seconds over which the callers of a closed loop start, evenly spread, so that they are not in step."""
    prompt_characters: Range = (16, 16)
    """Length of the prompts, uniform from MIN to MAX."""
    max_characters: Range = (256, 256)
    """Most characters to generate, uniform from MIN to MAX."""
    seed: int = 0
    """The same seed produces the same load."""
    model: Annotated[str, Parameter(converter=utf8, metavar="NAME", show_default="the server's default model")] = ""
    """Name of the model."""
    timeout: Annotated[float | None, Parameter(show_default="none")] = None
    """Time limit of a request in seconds."""

    def __post_init__(self) -> None:
        def check(holds: bool, complaint: str) -> None:
            if not holds:
                raise InvalidArgumentError(complaint)

        check(self.streams is None or self.rate is None, "streams, rate: give one of them, not both")
        check(self.requests is None or self.seconds is None, "requests, seconds: give one of them, not both")
        if self.streams is None and self.rate is None:
            object.__setattr__(self, "streams", 1)
        if self.requests is None and self.seconds is None:
            object.__setattr__(self, "seconds", 10.0)
        try:
            seconds_of(self.timeout)
        except ValueError as error:
            raise InvalidArgumentError(str(error)) from None
        for name in ("streams", "rate", "requests", "seconds"):
            value = getattr(self, name)
            check(value is None or 0 < value < math.inf, f"{name}: {value!r} is invalid; it must be above 0")
        for name in ("warm_up", "ramp"):
            value = getattr(self, name)
            check(0 <= value < math.inf, f"{name}: {value!r} is invalid; it must be at least 0")
        check(self.ramp == 0 or self.rate is None, "ramp: an open loop has no callers to start; leave it out")
        for name, smallest in (("prompt_characters", 0), ("max_characters", 1)):
            least, most = getattr(self, name)
            check(
                smallest <= least <= most < 2**32,
                f"{name}: {least} to {most} is invalid; it must be a range within {smallest} to 2**32 - 1",
            )

    @property
    def all_requests(self) -> int | None:
        """Number of requests to send, warm-up included; None if the load ends after ``seconds``."""
        return None if self.requests is None else self.warm_up + self.requests


def arrivals(load: Load) -> Iterator[float]:
    """Yields when the requests of an open loop arrive, in seconds from its start, endlessly.

    A Poisson process: the gaps are independent and exponential, with mean 1 / ``rate``.
    """
    assert load.rate is not None
    draw = random.Random(f"arrivals {load.seed}")  # noqa: S311 - a load is no secret
    now = 0.0
    while True:
        now += draw.expovariate(load.rate)
        yield now


def requests(load: Load, alphabet: Sequence[str], text: str | None = None) -> Iterator[pb.GenerateStreamRequest]:
    """Yields the requests in the order in which they are sent, endlessly.

    Prompts are cut from ``text``, which must be in NFC and at least as long as the longest prompt. If it is None, they
    are cut from random characters of ``alphabet``.
    """
    draw = random.Random(f"requests {load.seed}")  # noqa: S311 - a load is no secret
    # Two neighbouring characters of the alphabet may compose to one that it lacks.
    unknown_characters = pb.UNKNOWN_CHARACTERS_SKIP if text is None else None
    if text is None:
        longest = load.prompt_characters[1]
        text = "".join(draw.choices(alphabet, k=longest + _SPARE_CHARACTERS)) if longest else ""
    while True:
        length = draw.randint(*load.prompt_characters)
        start = draw.randint(0, len(text) - length)
        yield pb.GenerateStreamRequest(
            model=load.model,
            prompt=text[start : start + length],
            parameters=pb.GenerationParameters(
                max_characters=draw.randint(*load.max_characters),
                seed=draw.getrandbits(64),
                unknown_characters=unknown_characters,
            ),
        )
