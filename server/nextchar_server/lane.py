"""A lane: a thread with a batch of its own.

The engine has one a core. Each turn of a lane: admit streams, choose the number of steps, run them, deliver
what came, retire what ended. Exactness of the graph makes it invisible which lane a stream is on.

What always holds: the rows of ``batch`` are the streams of ``streams``, in the same order; only the lane's
own thread touches them. An error of a turn ends the streams of that turn, and the lane goes on.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import structlog

from nextchar_server.admission import Admission
from nextchar_server.stream import Chunk, End, LaneError, Stream, wake
from nextchar_training.alphabet import BOUNDARY
from nextchar_training.runner import SAMPLE, Batch, Runner, Steps

MIN_STEPS = 8
"""Least steps of one turn, however long they are: the turn's own Python costs as much as one or two of them."""

MAX_STEPS = 256
"""Most steps of one turn, however short they are."""

MESSAGE_PACE = 400e-6
"""Seconds between two messages of a lane's streams, in the mean. A message costs the event loop some 30 µs, so that
messages take less than a tenth of a core however many streams there are: the more, the more characters each carries."""

_NICENESS = 5
"""How far a lane's thread stands back behind the event loop's, where both want the same core: it gets a quarter of the
core while the loop has work, which is short, and all of it otherwise. So calls come in and characters go out as they
come, and a thousand streams that arrive together are all in the batch after a few turns."""

_LEAST_SECONDS = 1e-6  # of a step: some platforms' clocks are too coarse to see one

_log = structlog.get_logger()


class Lane:
    """A thread that advances a batch of streams until its admission closes."""

    def __init__(
        self,
        number: int,
        runner: Runner,
        admission: Admission,
        *,
        turn_budget: float,
        loop: AbstractEventLoop,
        observe: Callable[[int, float], None],
    ) -> None:
        """``turn_budget`` is in seconds; ``loop`` is where the streams' readers live; ``observe`` is told the number
        of rows and the seconds a step of each turn.
        """
        self.streams: list[Stream] = []
        self._number = number
        self._runner = runner
        self._admission = admission
        self._turn_budget = turn_budget
        self._loop = loop
        self._observe = observe
        # On the CPU, not the wait for the interpreter's lock, which fewer steps would not shorten. A GPU's work is a
        # wait to this thread.
        self._clock = time.thread_time if runner.provider == "cpu" else time.perf_counter
        self._batch: Batch | None = None
        self._wake_at = 0.0  # `time.monotonic` from which on readers who wait for more are woken again
        self._step_seconds: dict[int, float] = {}  # by the bit length of the number of rows
        self._thread = threading.Thread(target=self._run, name=f"lane-{number}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def join(self) -> None:
        """Waits for the end of the thread."""
        self._thread.join()

    def _run(self) -> None:
        if sys.platform == "linux":  # where niceness is a thread's; elsewhere, it would be that of the whole process
            with suppress(OSError):  # not allowed here: first characters come later under load
                os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
        while (admitted := self._admission.admit(self._number, len(self.streams))) is not None:
            try:
                self._admit(admitted)
                if self.streams:
                    self._turn()
            except Exception as error:
                # Whatever went wrong went wrong for every row of the batch: they end, the lane lives.
                failed = list({*self.streams, *admitted})
                _log.exception("lane_turn_failed", lane=self._number, streams=len(failed))
                for stream in failed:
                    # Each its own: one that all readers raise would gather all their tracebacks.
                    stream.end(LaneError(f"{type(error).__name__}: {error}"))
                self._wake(failed)
                self._keep([])

    def _turn(self) -> None:
        assert self._batch is not None
        steps = self._choose_steps()
        forced = np.full((len(self.streams), steps), SAMPLE, np.int64)
        draws = np.zeros((len(self.streams), steps), np.float32)
        alternatives = 0
        for row, stream in enumerate(self.streams):
            reads = min(stream.left_to_read, steps)
            forced[row, :reads] = stream.read[stream.read_count : stream.read_count + reads]
            draws[row, reads:] = stream.draws(steps - reads)
            alternatives = max(alternatives, stream.alternatives or 0)
        started = self._clock()
        result = self._runner.advance(
            self._batch, np.ascontiguousarray(forced.T), np.ascontiguousarray(draws.T), alternatives=alternatives
        )
        seconds = max((self._clock() - started) / steps, _LEAST_SECONDS)
        self._learn(seconds)
        self._observe(len(self.streams), seconds)
        self._deliver(result, steps)

    def _choose_steps(self) -> int:
        """As many as fit the turn budget, but where the first character that somebody waits for is near, up to it."""
        seconds = self._step_seconds.get(len(self.streams).bit_length(), math.inf)
        steps = min(max(int(self._turn_budget / seconds), MIN_STEPS), MAX_STEPS)
        first = min(stream.steps_to_first for stream in self.streams)
        if first <= 1.5 * steps:
            steps = max(int(first), MIN_STEPS)
        return max(1, min(steps, max(stream.left for stream in self.streams)))

    def _learn(self, seconds: float) -> None:
        size = len(self.streams).bit_length()
        known = self._step_seconds.get(size, seconds)
        self._step_seconds[size] = known + (seconds - known) / 8

    def _deliver(self, result: Steps, steps: int) -> None:
        ids = result.ids.T.tolist()
        kept: list[int] = []
        woken: list[Stream] = []
        now = time.monotonic()
        is_due = now >= self._wake_at
        if is_due:
            self._wake_at = now + MESSAGE_PACE * len(self.streams)
        for row, stream in enumerate(self.streams):
            reads = min(stream.left_to_read, steps)
            until = min(steps, reads + stream.count - stream.sampled_count)
            end: End | None = None
            if BOUNDARY in ids[row][reads:until]:
                until = ids[row].index(BOUNDARY, reads)
                end = End.BOUNDARY
            stream.read_count += reads
            stream.sampled_count += until - reads
            if end is None and stream.left == 0:
                end = End.COUNT
            if stream.is_over:
                continue
            start = 0 if stream.reports_reading else reads
            if start < until:
                is_first = stream.is_new
                stream.put(_chunk(stream, result, row, ids[row], start, until))
                if is_due or is_first:
                    woken.append(stream)
            if end is not None:
                stream.end(end)
                woken.append(stream)
            else:
                kept.append(row)
        # Those whose reader is too far behind leave with their state, and come back when it has caught up.
        full = [row for row in kept if self.streams[row].is_full]
        if full:
            assert self._batch is not None
            for row in full:
                self.streams[row].row = self._batch.take([row])
            paused = [self.streams[row] for row in full]
            self._keep([row for row in kept if row not in full])
            self._admission.pause(paused)
            woken += paused
        elif len(kept) < len(self.streams):
            self._keep(kept)
        if woken:
            self._wake(woken)

    def _admit(self, admitted: list[Stream]) -> None:
        # The row of a stream that was cancelled or drained is dropped before it costs another turn.
        if any(stream.is_over for stream in self.streams):
            self._keep([row for row, stream in enumerate(self.streams) if not stream.is_over])
        if not admitted:
            return
        now = time.monotonic()
        for stream in admitted:
            if stream.row is None:
                stream.admitted_at = now
                stream.row = self._runner.start([stream.settings])
        rows = [stream.row for stream in admitted if stream.row is not None]
        self._batch = Batch.join(rows if self._batch is None else [self._batch, *rows])
        for stream in admitted:
            stream.row = None
        self.streams = self.streams + admitted

    def _keep(self, rows: list[int]) -> None:
        """Drops every row but ``rows``."""
        self._batch = self._batch.take(rows) if self._batch is not None and rows else None
        self.streams = [self.streams[row] for row in rows]

    def _wake(self, streams: list[Stream]) -> None:
        self._loop.call_soon_threadsafe(wake, streams)


def _chunk(stream: Stream, result: Steps, row: int, ids: list[int], start: int, until: int) -> Chunk:
    chunk = Chunk(ids[start:until])
    if stream.alternatives is not None:
        chunk.logprobs = result.logprob[start:until, row].tolist()
        top_ids = result.top_ids[start:until, row, : stream.alternatives].tolist()
        top_logprobs = result.top_logprobs[start:until, row, : stream.alternatives].tolist()
        chunk.alternatives = [list(zip(*place, strict=True)) for place in zip(top_ids, top_logprobs, strict=True)]
    return chunk
