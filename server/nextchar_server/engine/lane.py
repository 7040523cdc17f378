"""A lane: a thread with streams of its own.

The engine has one lane per core. In each turn a lane admits streams, advances those that await their first id, then
all others, and after each of the two delivers the new ids and retires the streams that ended. The two batches are
separate because a step of few rows is short, so a first id doesn't wait for all running streams. Streams that want
alternatives form a group of their own, because the graph looks for the alternatives of all rows of a batch or of none.
The graph is exact, so a text doesn't depend on its lane or batch.

Invariant: only the lane's own thread touches its rows. An error in a turn ends the lane's streams, and the
lane continues with the next ones. Rows with alternatives take no more steps than the other ones, and no more of the
lane's time than their part of the rows, or a quarter if that is more.
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
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY
from nextchar_model.batch import SAMPLE, Batch, Steps
from nextchar_model.runner import Runner

from .admission import Admission
from .prompts import Prompts
from .rows import Group, Rows, copied
from .stream import End, LaneError, Stream, wake

MIN_STEPS = 16
"""Fewest steps of a turn, even if they exceed the turn budget: the turn's own Python costs as much as one or two."""

MAX_STEPS = 256
"""Most steps of a turn, however short they are."""

SLOWED_STEPS = 4
"""Steps of a turn in which only slowed streams run: nobody waits for their ids, but a newcomer waits for the turn."""

MESSAGE_PACE = 600e-6
"""Mean seconds between two messages of a lane's streams. A message costs the event loop 30 to 70 µs, so messages take
about a tenth of a core whatever the number of streams; with more streams, each message carries more characters.
"""

_RICH_SHARE = 1 / 3
"""Time that rows with alternatives may take, however few they are, as a part of that of the other rows: their batch is
small, so each of its rows takes longer."""

_NICENESS = 5
"""Niceness of a lane's thread relative to the event loop's. If both want the same core, the lane gets a quarter of it
while the loop has work, which is brief, and all of it otherwise. So calls come in and characters go out at once, and a
thousand streams that arrive together are all in the batch after a few turns."""

_LEAST_SECONDS = 1e-6  # of a step: the clocks of some platforms are too coarse to measure one

_log = structlog.get_logger()


class Lane:
    """A thread that advances streams until its admission closes."""

    def __init__(
        self,
        number: int,
        runner: Runner,
        admission: Admission,
        prompts: Prompts,
        *,
        turn_budget: float,
        loop: AbstractEventLoop,
        observe: Callable[[int, float], None],
    ) -> None:
        """``turn_budget`` is in seconds; the streams' readers run on ``loop``.

        After each turn, the lane's thread calls ``observe`` with the number of rows and the seconds per step.
        """
        self._number = number
        self._runner = runner
        self._admission = admission
        self._prompts = prompts
        self._turn_budget = turn_budget
        self._loop = loop
        self._observe = observe
        # On a CPU, measure the thread's own time: waiting for the interpreter's lock doesn't get shorter with fewer
        # steps. On a GPU the work itself is a wait of this thread.
        self._clock = time.thread_time if runner.provider == "cpu" else time.perf_counter
        # Streams without and with alternatives.
        self._plain, self._rich = Group(self._no_rows), Group(self._no_rows)
        self._credit = 0.0  # seconds that the rows with alternatives may take; below 0 if they took too many
        self._thread = threading.Thread(target=self._run, name=f"lane-{number}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def join(self) -> None:
        """Waits until the thread has ended."""
        self._thread.join()

    def _run(self) -> None:
        if sys.platform == "linux":  # elsewhere niceness belongs to the whole process, not to a thread
            with suppress(OSError):  # not permitted: under load, first characters come later
                os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
        while (admitted := self._next()) is not None:
            try:
                self._admit(admitted)
                self._turn()
            except Exception as error:
                # The error concerns every row of the lane: end them all, and keep the lane.
                failed = list({*self._plain.streams, *self._rich.streams, *admitted})
                _log.exception("lane_turn_failed", lane=self._number, streams=len(failed))
                for stream in failed:
                    # One exception each: a shared one would collect the tracebacks of all readers.
                    stream.end(LaneError(f"{type(error).__name__}: {error}"))
                self._wake(failed)
                self._plain, self._rich = Group(self._no_rows), Group(self._no_rows)

    def _next(self) -> list[Stream] | None:
        """Returns the streams to take in, after taking their rows from those that have to leave them to others."""
        groups = self._plain, self._rich
        load = len(self._plain) + len(self._rich)
        if self._admission.is_crowded(load):
            running = [stream for group in groups for stream in group.running.streams]
            leaving = self._admission.surplus(running)
            for group in groups:
                if (rows := group.running.take(lambda stream: stream in leaving)) is not None:
                    rows.part()
            self._admission.park(leaving)
            load -= len(leaving)
        if not load:
            self._runner.rest()
        return self._admission.admit(self._number, load)

    def _admit(self, admitted: list[Stream]) -> None:
        for group, streams in (
            (self._plain, [stream for stream in admitted if not stream.sought]),
            (self._rich, [stream for stream in admitted if stream.sought]),
        ):
            group.drop_ended()
            new = [stream for stream in streams if stream.row is None]
            now = time.monotonic()
            for stream in new:
                stream.admitted_at = now
            if new:
                group.join(self._prompts.start(Rows.start(new, self._runner)))
            back = {stream: stream.row for stream in streams if stream.row is not None}  # from a pause
            if back:
                group.join(Rows(list(back), Batch.join(list(back.values()))))
                for stream in back:
                    stream.row = None

    def _turn(self) -> None:
        plain, rich = self._plain, self._rich
        rows = len(plain)
        if not rows:
            self._advance_group(rich, MAX_STEPS)
            self._credit = 0.0
            return
        steps, seconds = self._advance_group(plain, MAX_STEPS)
        allowed = max(_RICH_SHARE, len(rich) / rows) * seconds
        self._credit = min(self._credit + allowed, allowed)  # time that they didn't take is not kept
        if rich and self._credit >= 0:
            self._credit -= self._advance_group(rich, steps)[1]

    def _advance_group(self, group: Group, most: int) -> tuple[int, float]:
        """Advances all rows of ``group`` by ``most`` steps at most.

        Returns the most steps that a row took, and the seconds that all took together.
        """
        steps, seconds = 0, 0.0
        if group.reading:
            wanted = max(stream.left_to_read + 1 for stream in group.reading.streams)
            steps, seconds = self._advance(group, group.reading, min(wanted, most))
            group.settle()
        if group.running:
            taken, spent = self._advance(group, group.running, min(_wanted(group.running.streams), most))
            steps, seconds = max(steps, taken), seconds + spent
        return steps, seconds

    def _advance(self, group: Group, rows: Rows, wanted: int) -> tuple[int, float]:
        """Advances ``rows`` of ``group`` by ``wanted`` steps, or by as many as fit into the turn budget.

        Returns the number of steps, and the seconds that they took.
        """
        size = len(rows).bit_length()
        known = group.step_seconds.get(size, math.inf)
        taken = steps = max(1, min(wanted, max(int(self._turn_budget / known), MIN_STEPS), MAX_STEPS))
        if rows is group.reading:
            taken = steps = self._prompts.turn(rows, steps)
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
            alternatives = max(alternatives, stream.sought)
        started = self._clock()
        result = self._runner.advance(
            rows.batch,
            np.ascontiguousarray(forced.T),
            np.ascontiguousarray(draws.T),
            read=read,
            alternatives=alternatives,
        )
        seconds = max((self._clock() - started) / taken, _LEAST_SECONDS)
        known = group.step_seconds.get(size, seconds)
        weight = min(taken / MIN_STEPS, 1) / 8  # of a running mean; most of a short turn's time is the call itself
        group.step_seconds[size] = known + (seconds - known) * weight
        self._observe(len(rows), seconds)
        self._deliver(group, rows, result, steps)
        return taken, seconds * taken

    def _read(self, rows: Rows, most: int) -> NDArray[np.int64]:
        """Returns the ids that all rows read before any row has an output, [R, B], with R at most ``most``."""
        reads = max(0, min(most, *(stream.silent - stream.read_count for stream in rows.streams)))
        read = np.empty((reads, len(rows)), np.int64)
        if reads:
            for row, stream in enumerate(rows.streams):
                read[:, row] = stream.read[stream.read_count : stream.read_count + reads]
                stream.read_count += reads
        return read

    def _deliver(self, group: Group, rows: Rows, result: Steps, steps: int) -> None:
        ids = np.ascontiguousarray(result.ids.T, np.int32)
        has_boundary = (result.ids == BOUNDARY).any(axis=0).tolist()
        woken: list[Stream] = []
        over: set[Stream] = set()
        full: set[Stream] = set()
        now = time.monotonic()
        is_due = now >= group.wake_at
        if is_due and rows is group.running:
            group.wake_at = now + MESSAGE_PACE * len(rows)
        for row, stream in enumerate(rows.streams):
            left = stream.left
            reads = min(stream.left_to_read, steps)
            until = min(left, steps)
            end: End | None = None
            if has_boundary[row] and len(places := np.flatnonzero(ids[row, reads:until] == BOUNDARY)):
                until = reads + int(places[0])
                end = End.BOUNDARY
                stream.end_logprob = float(result.logprob[until, row])
            stream.read_count += reads
            stream.sampled_count += until - reads
            if end is None and until == left:
                end = End.COUNT
            if stream.is_over:
                over.add(stream)
                continue
            if until == steps:  # the row took no step beyond the stream's end
                stream.keep_state(rows.batch, row)
            start = max(0, reads - max(0, stream.read_count - stream.silent)) if reads else 0
            if start < until:
                is_first = stream.is_new
                stream.put(copied(stream, result, row, ids[row], start, until))
                if is_due or is_first:
                    woken.append(stream)
            if end is not None:
                stream.end(end)
                over.add(stream)
                woken.append(stream)
            elif stream.is_full:
                full.add(stream)
        if over:
            rows.drop(over.__contains__)
        # Streams whose reader is too far behind leave with their state, and return when the reader has caught up.
        if full and (paused := rows.take(full.__contains__)) is not None:
            paused.part()
            self._admission.pause(paused.streams)
            woken += paused.streams
        if woken:
            self._wake(woken)

    def _no_rows(self) -> Rows:
        return Rows.start([], self._runner)

    def _wake(self, streams: list[Stream]) -> None:
        self._loop.call_soon_threadsafe(wake, streams)


def _wanted(streams: list[Stream]) -> int:
    """Returns the number of steps after which none of ``streams``, of which there is at least one, needs another."""
    free = [stream.left for stream in streams if not stream.is_slowed]
    return max(free) if free else min(SLOWED_STEPS, max(stream.left for stream in streams))
