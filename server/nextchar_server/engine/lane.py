"""A lane: a thread with streams of its own.

The engine has one a core. Each turn of a lane: admit streams, advance those that await their first id, then all
others, and after each deliver what came and retire what ended. Apart, because a step of few rows is short: a first
id does not wait for all that run. Exactness of the graph makes it invisible which lane or batch a stream is in.

What always holds: only the lane's own thread touches its rows. An error of a turn ends the lane's streams, and the
lane goes on.
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
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY
from nextchar_model.batch import SAMPLE, Batch, Steps
from nextchar_model.runner import Runner

from .admission import Admission
from .stream import Chunk, End, LaneError, Stream, wake

MIN_STEPS = 16
"""Least steps of one turn, however long they are: the turn's own Python costs as much as one or two of them."""

MAX_STEPS = 256
"""Most steps of one turn, however short they are."""

MESSAGE_PACE = 600e-6
"""Seconds between two messages of a lane's streams, in the mean. A message costs the event loop 30 to 70 µs, so that
messages take about a tenth of a core however many streams there are: the more, the more characters each carries.
"""

_NICENESS = 5
"""How far a lane's thread stands back behind the event loop's, where both want the same core: it gets a quarter of the
core while the loop has work, which is short, and all of it otherwise. So calls come in and characters go out as they
come, and a thousand streams that arrive together are all in the batch after a few turns."""

_LEAST_SECONDS = 1e-6  # of a step: some platforms' clocks are too coarse to see one

_log = structlog.get_logger()


class Lane:
    """A thread that advances streams until its admission closes."""

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
        self._number = number
        self._runner = runner
        self._admission = admission
        self._turn_budget = turn_budget
        self._loop = loop
        self._observe = observe
        # On the CPU, not the wait for the interpreter's lock, which fewer steps would not shorten. A GPU's work is a
        # wait to this thread.
        self._clock = time.thread_time if runner.provider == "cpu" else time.perf_counter
        self._reading, self._running = self._rows(), self._rows()  # those that await their first id, and all others
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
        while (admitted := self._admission.admit(self._number, len(self._reading) + len(self._running))) is not None:
            try:
                self._admit(admitted)
                if self._reading:
                    self._advance(self._reading, max(stream.left_to_read + 1 for stream in self._reading.streams))
                    self._running.join(self._reading.take(lambda stream: not stream.awaits_first))
                if self._running:
                    self._advance(self._running, max(stream.left for stream in self._running.streams))
            except Exception as error:
                # Whatever went wrong went wrong for every row of the lane: they end, the lane lives.
                failed = list({*self._reading.streams, *self._running.streams, *admitted})
                _log.exception("lane_turn_failed", lane=self._number, streams=len(failed))
                for stream in failed:
                    # Each its own: one that all readers raise would gather all their tracebacks.
                    stream.end(LaneError(f"{type(error).__name__}: {error}"))
                self._wake(failed)
                self._reading, self._running = self._rows(), self._rows()

    def _admit(self, admitted: list[Stream]) -> None:
        # The row of a stream that was cancelled or drained is dropped before it costs another turn.
        for rows in (self._reading, self._running):
            rows.take(lambda stream: stream.is_over)
        new = [stream for stream in admitted if stream.row is None]
        now = time.monotonic()
        for stream in new:
            stream.admitted_at = now
        if new:
            self._reading.join(_Rows(new, self._runner.start([stream.settings for stream in new])))
        for stream in admitted:
            if stream.row is not None:  # it comes back from a pause
                self._reading.join(_Rows([stream], stream.row))
                stream.row = None
        self._running.join(self._reading.take(lambda stream: not stream.awaits_first))

    def _advance(self, rows: _Rows, wanted: int) -> None:
        """Takes ``wanted`` steps of ``rows``, or as many as fit the turn budget."""
        seconds = self._step_seconds.get(len(rows).bit_length(), math.inf)
        steps = max(1, min(wanted, max(int(self._turn_budget / seconds), MIN_STEPS), MAX_STEPS))
        read = self._read(rows, steps - 1)
        steps -= len(read)
        forced = np.full((len(rows), steps), SAMPLE, np.int64)
        draws = np.zeros((len(rows), steps), np.float32)
        alternatives = 0
        for row, stream in enumerate(rows.streams):
            reads = min(stream.left_to_read, steps)
            if reads:
                forced[row, :reads] = stream.read[stream.read_count : stream.read_count + reads]
            if reads < steps:
                draws[row, reads:] = stream.draws(steps - reads)
            alternatives = max(alternatives, stream.alternatives or 0)
        started = self._clock()
        result = self._runner.advance(
            rows.batch,
            np.ascontiguousarray(forced.T),
            np.ascontiguousarray(draws.T),
            read=read,
            alternatives=alternatives,
        )
        seconds = max((self._clock() - started) / (len(read) + steps), _LEAST_SECONDS)
        self._learn(len(rows), seconds)
        self._observe(len(rows), seconds)
        self._deliver(rows, result, steps)

    def _read(self, rows: _Rows, most: int) -> NDArray[np.int64]:
        """The ids that come before any of which something is told, [R, B]; R at most ``most``."""
        if any(stream.reports_reading for stream in rows.streams):
            most = 0
        reads = min(most, *(stream.left_to_read for stream in rows.streams))
        read = np.empty((reads, len(rows)), np.int64)
        if reads:
            for row, stream in enumerate(rows.streams):
                read[:, row] = stream.read[stream.read_count : stream.read_count + reads]
                stream.read_count += reads
        return read

    def _learn(self, rows: int, seconds: float) -> None:
        size = rows.bit_length()
        known = self._step_seconds.get(size, seconds)
        self._step_seconds[size] = known + (seconds - known) / 8

    def _deliver(self, rows: _Rows, result: Steps, steps: int) -> None:
        ids = result.ids.T.tolist()
        has_boundary = (result.ids == BOUNDARY).any(axis=0).tolist()
        woken: list[Stream] = []
        now = time.monotonic()
        is_due = now >= self._wake_at
        if is_due and rows is self._running:
            self._wake_at = now + MESSAGE_PACE * len(rows)
        for row, stream in enumerate(rows.streams):
            reads = min(stream.left_to_read, steps)
            until = min(steps, reads + stream.count - stream.sampled_count)
            end: End | None = None
            if has_boundary[row] and BOUNDARY in ids[row][reads:until]:
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
        rows.take(lambda stream: stream.is_over)
        # Those whose reader is too far behind leave with their state, and come back when it has caught up.
        paused = rows.take(lambda stream: stream.is_full)
        if paused is not None:
            for row, stream in enumerate(paused.streams):
                stream.row = paused.batch.take([row])
            self._admission.pause(paused.streams)
            woken += paused.streams
        if woken:
            self._wake(woken)

    def _rows(self) -> _Rows:
        return _Rows([], self._runner.start([]))

    def _wake(self, streams: list[Stream]) -> None:
        self._loop.call_soon_threadsafe(wake, streams)


@dataclass
class _Rows:
    """Streams and their batch: its row n is the state of the n-th stream."""

    streams: list[Stream]
    batch: Batch

    def __len__(self) -> int:
        return len(self.streams)

    def join(self, others: _Rows | None) -> None:
        """Adds ``others``, if there are any, at the end."""
        if others is not None:
            self.streams = self.streams + others.streams
            self.batch = Batch.join([self.batch, others.batch])

    def take(self, is_taken: Callable[[Stream], bool]) -> _Rows | None:
        """Takes out the streams of which ``is_taken`` holds, with their rows; None where there are none."""
        taken = [is_taken(stream) for stream in self.streams]
        if not any(taken):
            return None
        rows = [row for row, is_one in enumerate(taken) if is_one]
        kept = [row for row, is_one in enumerate(taken) if not is_one]
        others = _Rows([self.streams[row] for row in rows], self.batch.take(rows))
        self.streams, self.batch = [self.streams[row] for row in kept], self.batch.take(kept)
        return others


def _chunk(stream: Stream, result: Steps, row: int, ids: list[int], start: int, until: int) -> Chunk:
    chunk = Chunk(ids[start:until])
    if stream.alternatives is not None:
        chunk.logprobs = result.logprob[start:until, row].tolist()
        top_ids = result.top_ids[start:until, row, : stream.alternatives].tolist()
        top_logprobs = result.top_logprobs[start:until, row, : stream.alternatives].tolist()
        chunk.alternatives = [list(zip(*place, strict=True)) for place in zip(top_ids, top_logprobs, strict=True)]
    return chunk
