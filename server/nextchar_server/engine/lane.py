"""A lane: a thread with streams of its own.

The engine has one lane per core. In each turn a lane admits streams, advances those that await their first id, then
all others, and after each of the two delivers the new ids and retires the streams that ended. The two batches are
separate because a step of few rows is short, so a first id doesn't wait for all running streams. Rows that have much to
read are apart from both: they advance in turns of their own, a portion in each (``portions``). Streams that want
alternatives form a group of their own, because the graph looks for the alternatives of all rows of a batch or of none.
A lane that has far more rows than another one hands over those beyond its even share (``loads``). The graph is exact,
so a text doesn't depend on its lanes or batches.

Invariant: only the lane's own thread touches its rows. An error in a turn ends the lane's streams, and the
lane continues with the next ones. Running rows with alternatives take no more steps than the other ones, and no more of
the lane's time than their part of the rows, or a quarter if that is more.
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

from nextchar_model.batch import SAMPLE, Batch
from nextchar_model.runner import Runner

from .admission import Admission
from .delivery import Delivery
from .portions import Portions
from .prompts import Prompts
from .rows import Group, Rows
from .stream import LaneError, Stream

MIN_STEPS = 16
"""Fewest steps of a turn, even if they exceed the turn budget: the turn's own Python costs as much as one or two."""

MAX_STEPS = 256
"""Most steps of a turn, however short they are."""

SLOWED_STEPS = 4
"""Steps of a turn in which only slowed streams run: nobody waits for their ids, but a newcomer waits for the turn."""

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
        self._delivery = Delivery(admission, loop)
        self._turn_budget = turn_budget
        self._observe = observe
        # On a CPU, measure the thread's own time: waiting for the interpreter's lock doesn't get shorter with fewer
        # steps. On a GPU the work itself is a wait of this thread.
        self._clock = time.thread_time if runner.provider == "cpu" else time.perf_counter
        # Streams without and with alternatives.
        self._plain, self._rich = Group(self._no_rows), Group(self._no_rows)
        self._long = Portions()
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
                failed = list({*self._streams, *admitted})
                _log.exception("lane_turn_failed", lane=self._number, streams=len(failed))
                for stream in failed:
                    # One exception each: a shared one would collect the tracebacks of all readers.
                    stream.end(LaneError(f"{type(error).__name__}: {error}"))
                self._delivery.wake(failed)
                self._plain, self._rich, self._long = Group(self._no_rows), Group(self._no_rows), Portions()

    @property
    def _streams(self) -> list[Stream]:
        return self._plain.streams + self._rich.streams + self._long.streams

    def _next(self) -> list[Stream] | None:
        """Returns the streams to take in, after taking their rows from those that have to leave the lane."""
        load = len(self._plain) + len(self._rich) + len(self._long)
        if self._admission.is_crowded(load):
            running = self._plain.running.streams + self._rich.running.streams + self._long.streams
            leaving = self._admission.surplus(running)
            load -= self._part(leaving)
            self._admission.park(leaving)
        elif excess := self._admission.excess(self._number, load):
            streams = self._streams
            moving = [streams[place * load // excess] for place in range(excess)]  # of each kind and age
            load -= self._part(set(moving))
            self._admission.hand_over(self._number, load, moving)
        if not load:
            self._runner.rest()
        return self._admission.admit(self._number, load)

    def _part(self, leaving: set[Stream]) -> int:
        """Lets streams leave the lane with their rows. Returns how many there are."""
        for group in (self._plain, self._rich):
            for rows in (group.reading, group.running):
                if (parting := rows.take(leaving.__contains__)) is not None:
                    parting.part()
        for parting in self._long.drop(leaving.__contains__):
            parting.part()
        return len(leaving)

    def _admit(self, admitted: list[Stream]) -> None:
        self._long.drop(lambda stream: stream.is_over)
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
                self._join(group, self._prompts.start(Rows.start(new, self._runner)))
            back = {stream: stream.row for stream in streams if stream.row is not None}  # from a pause, or a lane
            if back:
                self._join(group, Rows(list(back), Batch.join(list(back.values()))))
                for stream in back:
                    stream.row = None

    def _join(self, group: Group, rows: Rows) -> None:
        self._long.add(group, rows)
        group.join(rows)

    def _turn(self) -> None:
        """Advances those that await their first id, and then a portion of the long ones, or all others."""
        plain, rich, long = self._plain, self._rich, self._long
        rows, others = len(plain), len(plain) + len(rich)
        steps, seconds = self._advance_reading(plain, MAX_STEPS)
        if long and (long.credit > 0 or not others):
            seconds += self._advance_portion()
            long.credit = long.credit - seconds if others else 0.0  # alone, they owe nobody
            return
        if rows:
            taken, spent = self._advance_running(plain, MAX_STEPS)
            steps, seconds = max(steps, taken), seconds + spent
            allowed = max(_RICH_SHARE, len(rich) / rows) * seconds
            self._credit = min(self._credit + allowed, allowed)  # time that they didn't take is not kept
            if rich and self._credit >= 0:
                spent = self._advance_group(rich, steps)
                self._credit -= spent
                seconds += spent
        else:
            seconds += self._advance_group(rich, MAX_STEPS)
            self._credit = 0.0
        long.account(seconds, others)

    def _advance_group(self, group: Group, most: int) -> float:
        """Advances all rows of ``group`` by ``most`` steps at most. Returns the seconds that it took."""
        return self._advance_reading(group, most)[1] + self._advance_running(group, most)[1]

    def _advance_reading(self, group: Group, most: int) -> tuple[int, float]:
        """Advances the rows of ``group`` that await their first id. Returns their steps and seconds."""
        if not group.reading:
            return 0, 0.0
        result = self._advance(group, group.reading, min(_unread(group.reading.streams), most), paced=0)
        group.settle()
        return result

    def _advance_running(self, group: Group, most: int) -> tuple[int, float]:
        """Advances the running rows of ``group``. Returns their steps and seconds."""
        if not group.running:
            return 0, 0.0
        wanted = min(_wanted(group.running.streams), most)
        return self._advance(group, group.running, wanted, paced=len(group.running))

    def _advance_portion(self) -> float:
        """Advances the portion whose turn it is. Returns the seconds that it took."""
        paced, largest = len(self._long), max(self._long, key=lambda portion: len(portion.rows))
        portion = self._long.next()
        try:
            most = self._most_steps(largest.group, len(largest.rows))  # so that a row gains nothing in a smaller one
            wanted = min(_unread(portion.rows.streams), most)
            return self._advance(portion.group, portion.rows, wanted, paced=paced)[1]
        finally:
            self._long.put_back(portion)  # also after an error, which ends its streams

    def _advance(self, group: Group, rows: Rows, wanted: int, *, paced: int) -> tuple[int, float]:
        """Advances ``rows`` of ``group`` by ``wanted`` steps, or by as many as fit into the turn budget.

        Its readers are woken at the pace of ``paced`` streams. Returns the number of steps, and the seconds that they
        took.
        """
        taken = steps = max(1, min(wanted, self._most_steps(group, len(rows))))
        if rows is not group.running:
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
        size = len(rows).bit_length()
        known = group.step_seconds.get(size, seconds)
        weight = min(taken / MIN_STEPS, 1) / 8  # of a running mean; most of a short turn's time is the call itself
        group.step_seconds[size] = known + (seconds - known) * weight
        self._observe(len(rows), seconds)
        self._delivery.deliver(rows, result, steps, paced=paced)
        return taken, seconds * taken

    def _most_steps(self, group: Group, rows: int) -> int:
        """Returns how many steps of ``rows`` rows of ``group`` fit into the turn budget."""
        known = group.step_seconds.get(rows.bit_length(), math.inf)
        return min(max(int(self._turn_budget / known), MIN_STEPS), MAX_STEPS)

    def _read(self, rows: Rows, most: int) -> NDArray[np.int64]:
        """Returns the ids that all rows read before any row has an output, [R, B], with R at most ``most``."""
        reads = max(0, min(most, *(stream.silent - stream.read_count for stream in rows.streams)))
        read = np.empty((reads, len(rows)), np.int64)
        if reads:
            for row, stream in enumerate(rows.streams):
                read[:, row] = stream.read[stream.read_count : stream.read_count + reads]
                stream.read_count += reads
        return read

    def _no_rows(self) -> Rows:
        return Rows.start([], self._runner)


def _wanted(streams: list[Stream]) -> int:
    """Returns the number of steps after which none of ``streams``, of which there is at least one, needs another."""
    free = [stream.left for stream in streams if not stream.is_slowed]
    return max(free) if free else min(SLOWED_STEPS, max(stream.left for stream in streams))


def _unread(streams: list[Stream]) -> int:
    """Returns the number of steps after which all of ``streams``, which read, have their first id or have ended."""
    return max(min(stream.left, stream.left_to_read + 1) for stream in streams)
