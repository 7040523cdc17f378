"""A load: which requests ``nextchar bench`` sends to a server, and when.

Stands before ``load_generator.py``, which sends it. What always holds: a ``Load`` that exists can be sent, and the same
seed gives the same requests in the same order, and the same arrivals.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nextchar.v1 import generation_pb2 as pb

from ..errors import InvalidArgumentError

_SPARE_CHARACTERS = 10_000  # of the random text that prompts are cut from, so that they differ


@dataclass(frozen=True)
class Load:
    """What is sent. Raises ``InvalidArgumentError``, which names the field.

    Exactly one of ``streams`` and ``rate`` is given, and one of ``requests`` and ``seconds``.
    """

    streams: int | None = None
    """Callers of a closed loop: each sends its next request when its last one has ended."""
    rate: float | None = None
    """Requests a second of an open loop: sent at random times that do not depend on the answers."""
    requests: int | None = None
    """Requests to send after the warm-up."""
    seconds: float | None = None
    """Seconds for which requests count after the warm-up."""
    warm_up: int = 0
    """Requests to send first, which do not count."""
    ramp: float = 0.0
    """Seconds over which the callers of a closed loop start, evenly; at 0 they begin in step."""
    prompt_characters: tuple[int, int] = (16, 16)
    """Least and most characters of a prompt; uniform between them."""
    max_characters: tuple[int, int] = (256, 256)
    """Least and most characters to ask for; uniform between them."""
    seed: int = 0
    model: str = ""
    """Name of the model; empty for the server's default."""
    timeout: float | None = None
    """Seconds that a request may take; None is any time."""

    def __post_init__(self) -> None:
        def check(holds: bool, complaint: str) -> None:
            if not holds:
                raise InvalidArgumentError(complaint)

        check((self.streams is None) != (self.rate is None), "streams, rate: exactly one says who sends requests")
        check((self.requests is None) != (self.seconds is None), "requests, seconds: exactly one says when to end")
        for name in ("streams", "rate", "requests", "seconds", "timeout"):
            value = getattr(self, name)
            check(value is None or 0 < value < math.inf, f"{name}: {value!r} is not a number above 0")
        for name in ("warm_up", "ramp"):
            value = getattr(self, name)
            check(0 <= value < math.inf, f"{name}: {value!r} is not a number from 0 on")
        check(self.ramp == 0 or self.rate is None, "ramp: an open loop has no callers to start")
        for name, smallest in (("prompt_characters", 0), ("max_characters", 1)):
            least, most = getattr(self, name)
            check(
                smallest <= least <= most < 2**32,
                f"{name}: {least} to {most} is no range of numbers from {smallest} to 2**32 - 1",
            )

    @property
    def all_requests(self) -> int | None:
        """Requests to send, the warm-up included; None for a load of so many seconds."""
        return None if self.requests is None else self.warm_up + self.requests


def arrivals(load: Load) -> Iterator[float]:
    """When the requests of an open loop come, in seconds from its start, for ever.

    A Poisson process: the gaps are independent and exponential, with mean 1 / ``rate``.
    """
    assert load.rate is not None
    draw = random.Random(f"arrivals {load.seed}")  # noqa: S311 - a load is no secret
    now = 0.0
    while True:
        now += draw.expovariate(load.rate)
        yield now


def requests(load: Load, alphabet: Sequence[str], text: str | None = None) -> Iterator[pb.GenerateStreamRequest]:
    """The requests in the order in which they are sent, for ever.

    Prompts are cut from ``text``, which has to be in NFC and as long as the longest of them; where it is None, from
    random characters of ``alphabet``.
    """
    draw = random.Random(f"requests {load.seed}")  # noqa: S311 - a load is no secret
    # Two characters of an alphabet, side by side, may compose to one that it lacks.
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
