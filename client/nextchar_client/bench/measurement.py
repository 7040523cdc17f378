"""A measurement: the counts and times of a running load, and the report of them.

``generator.py`` fills it, ``nextchar bench`` shows it. There is one *window*: it opens when the first request after the
warm-up is sent, and closes when the load's seconds have passed or its last request has ended. Invariants:

- characters, messages, throughput, inter-character latency and CPU cover the window, whichever request they belong to;
- counts, errors, times to first character and durations cover the requests sent in the window, whenever they end;
- a failed request is counted under its status, and its duration is in no figure.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from ..results import Model
from .histogram import Histogram, Percentiles
from .load import Load


@dataclass(frozen=True)
class Report:
    """The result of a load. Times are in seconds; a figure without any measured time is None."""

    model: str
    model_digest: str
    load: Load
    window_seconds: float
    requests: int
    """Requests sent in the window: ``completed``, ``failed``, and ``unfinished``, which only an interrupt leaves."""
    completed: int
    failed: int
    unfinished: int
    errors: dict[str, int]
    """Failed requests by gRPC status. INCOMPLETE is a stream that lacks its last event or a part of its text; DRAINING
    is one that the server cut because it is shutting down."""
    characters: int
    messages: int
    """Number of messages that carried the characters."""
    characters_per_second: float
    requests_per_second: float
    """Requests that completed in the window, divided by its length."""
    first_character_seconds: Percentiles | None
    """From sending a request to the first message with text. In an open loop it starts when the request should have
    been sent, so a late server or load generator shows."""
    inter_character_seconds: Percentiles | None
    """A reader's wait per character: the gap between two messages of a stream divided by the characters of the later
    one, counted once for each of them. The characters of a stream's first message aren't counted."""
    fastest_seconds: float | None
    """Shortest duration of a completed request, from the same start as the time to first character."""
    slowest_seconds: float | None
    """Longest duration of a completed request."""
    cpu: float
    """Cores that the load generator itself used: CPU time, user and system, divided by the length of the window."""


class Measurement:
    """The counts and times of ``load`` so far. The load generator calls ``open``, ``close`` and the methods below."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.model: Model | None = None
        """The model under load; None until the server has described it."""
        self.sent = 0
        """Number of requests sent, whether or not they count."""
        self.running = 0
        """Number of requests that have not ended."""
        self.complaints: dict[str, str] = {}
        """Error message of the first failed request of each status."""
        self._requests = 0
        self._completed = 0
        self._completed_in_window = 0
        self._errors: Counter[str] = Counter()
        self._characters = 0
        self._messages = 0
        self._first_character = Histogram()
        self._inter_character = Histogram()
        self._durations = Histogram()
        self._opened: float | None = None
        self._closed: float | None = None
        self._cpu = 0.0  # CPU time of the process when the window opened; after it closes, CPU time used in the window

    @property
    def has_opened(self) -> bool:
        """Whether the window has opened, so that there is something to report."""
        return self._opened is not None

    @property
    def is_open(self) -> bool:
        """Whether the window is open now."""
        return self._opened is not None and self._closed is None

    @property
    def is_complete(self) -> bool:
        """Whether the window is closed and all its requests have ended."""
        return self._closed is not None and self._requests == self._completed + self._errors.total()

    def open(self) -> None:
        """Opens the window."""
        self._cpu = time.process_time()
        self._opened = time.perf_counter()

    def close(self) -> None:
        """Closes the window, if it is open."""
        if self.is_open:
            self._cpu = time.process_time() - self._cpu
            self._closed = time.perf_counter()

    def request_sent(self) -> bool:
        """Records that a request is sent. Returns whether it counts."""
        self.sent += 1
        self.running += 1
        self._requests += self.is_open
        return self.is_open

    def first_character_came(self, seconds: float) -> None:
        """Records that the first text of a request that counts came after ``seconds``."""
        self._first_character.add(seconds)

    def characters_came(self, characters: int, gap: float | None) -> None:
        """Records a message with ``characters``, ``gap`` seconds after the one before it; None for a stream's first."""
        if self.is_open:
            self._characters += characters
            self._messages += 1
            if gap is not None:
                self._inter_character.add(gap / characters, characters)

    def request_completed(self, seconds: float, *, counts: bool) -> None:
        """Records that a request succeeded after ``seconds``."""
        self._completed_in_window += self.is_open
        if counts:
            self._completed += 1
            self._durations.add(seconds)

    def request_failed(self, status: str, complaint: str) -> None:
        """Records that a request that counts failed with ``status``."""
        self._errors[status] += 1
        self.complaints.setdefault(status, complaint)

    def report(self) -> Report:
        """The report so far. The window must have opened."""
        assert self.model is not None
        assert self._opened is not None
        seconds = (time.perf_counter() if self._closed is None else self._closed) - self._opened
        cpu = time.process_time() - self._cpu if self._closed is None else self._cpu
        failed = self._errors.total()
        return Report(
            model=self.model.name,
            model_digest=self.model.digest,
            load=self.load,
            window_seconds=seconds,
            requests=self._requests,
            completed=self._completed,
            failed=failed,
            unfinished=self._requests - self._completed - failed,
            errors=dict(self._errors),
            characters=self._characters,
            messages=self._messages,
            characters_per_second=self._characters / seconds,
            requests_per_second=self._completed_in_window / seconds,
            first_character_seconds=self._first_character.percentiles(),
            inter_character_seconds=self._inter_character.percentiles(),
            fastest_seconds=self._durations.min if self._completed else None,
            slowest_seconds=self._durations.max if self._completed else None,
            cpu=cpu / seconds,
        )
