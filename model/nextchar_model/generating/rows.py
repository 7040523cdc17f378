"""Rows: the texts that one thread of ``generator`` generates at once.

A row whose text has ended gets the next text at once. All rows are worked on in one pass over arrays. Only texts with
stop sequences, constraints or characters of several ids are looked at one by one, when they may have ended.

Shapes: B rows, K steps, V ids.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from ..alphabet import BOUNDARY
from ..batch import SAMPLE, Batch
from ..decoder import continuing, is_one_to_one
from ..parameters import Text
from ..runner import Runner
from ..slices import MAX_ROWS
from .endings import Ending, Endings
from .orders import OrderBook, Start
from .plan import Plan
from .row_draws import RowDraws
from .stash import Stash, Taken

MOST_ROWS = 1024
"""Most rows of a thread: the more, the less their bookkeeping costs each."""

_MOST_STEPS = 32  # of a call
_MOST_IDS = 2**24  # of all rows together, if each text is as long as it may be
_MOST_TEMPLATES = 64
_STATE = ("automaton_state", "slack")  # of a row that starts again with the same settings
_SETTINGS = (*_STATE, "automaton", "ends_at", "temperature", "top_k", "top_p", "min_p", "bias")
_COLUMNS = (
    "number",  # of the row's text
    "active",  # whether the row has a text
    "read",  # ids of the prompt that the row reads
    "count",  # ids so far, read and sampled
    "limit",  # of these, with which the text is looked at
    "begun",  # characters that were begun, if they may have several ids
    "begun_limit",  # of these, beyond which the text is looked at
    "stop",  # whether the latest ids may have completed a stop sequence
)
_CALL = 0.2  # cost of a call of the graph beside its steps, in steps


class Rows:
    """The rows of one thread."""

    def __init__(self, runner: Runner, book: OrderBook, most_rows: int, first_number: int) -> None:
        """``first_number`` is the ``number`` of the text with the number 0."""
        self._runner = runner
        self._book = book
        self._most_rows = most_rows
        self._first_number = first_number
        alphabet = runner.description.alphabet
        self._alphabet = alphabet
        self._endings = Endings(alphabet)
        self._begins = None if is_one_to_one(alphabet) else (~continuing(alphabet)).astype(np.int64)
        self._stash = Stash(book)
        self._draws = RowDraws()
        self._templates: dict[int, tuple[Plan, Batch]] = {}
        self._batches: list[Batch] = []
        self._plans: list[Plan | None] = []
        self._ids = np.zeros((0, 2 * _MOST_STEPS), np.int32)  # read and sampled, of each row
        self._columns = {name: np.zeros(0, np.int64) for name in _COLUMNS}
        self._last_ids = np.zeros((0, alphabet.size), np.bool_)
        self._unplain = 0  # rows that are looked at one by one
        self._stopping = 0  # rows with stop sequences
        self._mean = 8.0  # ids of a text
        self._early = 0  # texts that ended in this turn before their limit
        self._hazard = 0.0  # part of the rows that end at a step before their limit
        self._overhead = 0.5  # cost of a turn beside its steps, in steps

    def run(self) -> None:
        """Generates texts until the book has no more."""
        while True:
            self._fill()
            if not self._plans:
                return
            began = time.thread_time()
            inside, steps = self._turn()
            beside = time.thread_time() - began - inside
            self._overhead += 0.05 * (min(beside * steps / max(inside, 1e-6), 4.0) + _CALL - self._overhead)

    def _turn(self) -> tuple[float, int]:
        """Advances all rows, and ends those whose texts are whole. Returns the graph's seconds, and the steps."""
        K = self._steps()
        ids, inside = self._advance(K)
        columns = self._columns
        columns["count"] += K
        over = (columns["count"] >= columns["limit"]) | (ids == BOUNDARY).any(axis=0)
        if self._begins is not None:
            columns["begun"] += self._begins.take(ids).sum(axis=0)
            over |= columns["begun"] > columns["begun_limit"]
        if self._stopping:
            stops = self._last_ids[np.arange(len(self._plans)), ids].any(axis=0)
            maybe = stops if self._begins is None else stops | (columns["stop"] > 0)
            columns["stop"] = np.asarray(stops, np.int64)
            for row in np.flatnonzero(maybe & ~over).tolist():
                over[row] = self._may_have_stopped(row, K)
        self._early = 0
        if over.any():
            rows = np.flatnonzero(over & (columns["active"] > 0))
            if len(rows):
                self._end(rows)
        self._hazard += 0.02 * (self._early / (K * len(self._plans)) - self._hazard)
        return inside, K

    def _steps(self) -> int:
        """Returns the steps with which the least time is lost, to calls and to rows that have ended."""
        columns = self._columns
        left = np.minimum(columns["limit"] - columns["count"], columns["begun_limit"] - columns["begun"] + 1)
        left = np.clip(left, 1, _MOST_STEPS)
        ending = np.bincount(left, minlength=_MOST_STEPS + 1)[1:]
        running = len(left) - np.cumsum(ending) + ending  # rows that are within their limit at each step
        useful = np.cumsum(running * (1 - self._hazard) ** np.arange(_MOST_STEPS))
        return 1 + int(np.argmax(useful / (np.arange(1, _MOST_STEPS + 1) + self._overhead)))

    def _advance(self, K: int) -> tuple[NDArray[np.int64], float]:
        """Takes K steps. Returns their ids [K, B], and the seconds that the graph took."""
        B, columns = len(self._plans), self._columns
        count, read = columns["count"], columns["read"]
        self._widen(int(count.max()) + K)
        steps = np.arange(K)[:, None]
        places = np.arange(B) * self._ids.shape[1] + count + steps
        forced = np.full((K, B), SAMPLE, np.int64)
        position = count + steps - read
        if (count < read).any():
            forced = np.where(position < 0, self._ids.take(places), forced)
            position = np.maximum(position, 0)
        draws = self._draws.take(position)
        parts = []
        began = time.thread_time()
        for number, batch in enumerate(self._batches):
            part = slice(number * MAX_ROWS, (number + 1) * MAX_ROWS)
            parts.append(self._runner.advance(batch, forced[:, part], draws[:, part]).ids)
        inside = time.thread_time() - began
        ids = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        self._ids.reshape(-1)[places] = ids
        return ids, inside

    def _may_have_stopped(self, row: int, K: int) -> bool:
        plan = self._plans[row]
        if plan is None or not plan.stop_sequences:
            return False
        count, read = int(self._columns["count"][row]), int(self._columns["read"][row])
        each = 1 if self._begins is None else 4
        reach = each * (max(map(len, plan.stop_sequences)) + 1) + K + 1
        return self._endings.may_have_stopped(self._ids[row, max(read, count - reach) : count], plan)

    def _end(self, rows: NDArray[np.intp]) -> None:
        """Hands back the texts of ``rows`` that are whole, and frees their rows."""
        columns = self._columns
        if self._unplain:
            rows, endings = self._looked_at(rows)
            if not len(rows):
                return
        else:
            count, read, limit = (columns[name][rows] for name in ("count", "read", "limit"))
            endings = self._endings.plain(self._ids[rows, : int(count.max())], read, np.minimum(count, limit))
        numbers = columns["number"][rows].tolist()
        self._book.put(
            [
                (number, Text(self._first_number + number, seed, *ending))
                for number, seed, ending in zip(numbers, self._draws.seeds(rows), endings, strict=True)
            ]
        )
        self._mean += (float((columns["count"] - columns["read"])[rows].mean()) - self._mean) * min(
            0.5, len(rows) / 256
        )
        is_early = (columns["count"] < columns["limit"]) & (columns["begun"] <= columns["begun_limit"])
        self._early += int(is_early[rows].sum())
        self._draws.rest(rows)
        columns["active"][rows] = columns["read"][rows] = 0
        columns["limit"][rows] = columns["begun_limit"][rows] = 2**62

    def _looked_at(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], list[Ending]]:
        """Returns those of ``rows`` whose texts are whole, and the texts."""
        columns, whole, endings = self._columns, [], []
        for row in rows.tolist():
            plan = self._plans[row]
            assert plan is not None
            ending = self._endings.of(self._ids[row, columns["read"][row] : columns["count"][row]], plan)
            if isinstance(ending, int):
                columns["begun_limit"][row] = columns["begun"][row] + ending - 1
            else:
                whole.append(row)
                endings.append(ending)
        return np.array(whole, np.intp), endings

    def _fill(self) -> None:
        """Starts texts in the free rows, adds rows, or drops some if there are no more texts."""
        stash, mean = self._stash, self._mean
        free = np.flatnonzero(self._columns["active"] == 0)
        self._columns["count"][free] = 0
        while len(free) and (taken := stash.take(len(free), mean=mean, waits=len(free) == len(self._plans))):
            self._start(free[: len(taken.draws)], taken)
            free = free[len(taken.draws) :]
        while not len(free) and (room := self._most_rows - len(self._plans)) > 0:
            if (taken := stash.take(min(MAX_ROWS, room), mean=mean, waits=not self._plans)) is None:
                break
            self._add(taken)
        if stash.is_exhausted and (4 * len(free) >= len(self._plans) or not self._plans):
            self._keep(np.flatnonzero(self._columns["active"] > 0))

    def _start(self, rows: NDArray[np.intp], taken: Taken) -> None:
        """Starts texts in ``rows``."""
        first, seeds, plans, starts = taken.orders
        columns = self._columns
        self._draws.start(rows, seeds, taken.draws)
        columns["active"][rows] = 1
        columns["begun"][rows] = columns["stop"][rows] = 0
        columns["number"][rows] = np.arange(first, first + len(rows))
        if plans.count(plans[0]) == starts.count(starts[0]) == len(rows):
            self._start_alike(rows, plans[0], starts[0])
            return
        groups: dict[tuple[int, int], list[int]] = {}
        for place, key in enumerate(zip(map(id, plans), map(id, starts), strict=True)):
            groups.setdefault(key, []).append(place)
        for places in groups.values():
            self._start_alike(rows[places], plans[places[0]], starts[places[0]])

    def _start_alike(self, rows: NDArray[np.intp], plan: Plan, start: Start) -> None:
        """Puts ``rows`` into the state of ``start``, with the settings of ``plan``."""
        columns, read = self._columns, len(start.ids)
        columns["count"][rows], columns["read"][rows] = 0, read
        columns["limit"][rows] = read + plan.most_ids
        columns["begun_limit"][rows] = 2**62
        if self._begins is not None:
            columns["begun_limit"][rows] = plan.max_characters + int(self._begins.take(start.ids).sum())
        if read:
            self._widen(read)
            self._ids[rows, :read] = start.ids
        template = self._template(plan)
        changed = [row for row in rows.tolist() if self._plans[row] is not plan]
        for number in np.unique(rows // MAX_ROWS):
            batch = self._batches[number]
            own = rows[rows // MAX_ROWS == number] - number * MAX_ROWS
            for name in _SETTINGS if changed else _STATE:
                getattr(batch, name)[own] = getattr(template, name)[0]
            batch.last_id[own] = start.last_id
            batch.hidden[:, own], batch.cell[:, own] = start.state.hidden, start.state.cell
        for row in changed:
            if (old := self._plans[row]) is not None:
                self._unplain -= not old.is_plain
                self._stopping -= bool(old.stop_sequences)
            self._plans[row] = plan
            self._unplain += not plan.is_plain
            self._stopping += bool(plan.stop_sequences)
            self._last_ids[row] = plan.last_ids

    def _template(self, plan: Plan) -> Batch:
        """Returns a batch of one row with the settings of ``plan``."""
        if id(plan) not in self._templates:
            if len(self._templates) >= _MOST_TEMPLATES:
                self._templates.clear()
            self._templates[id(plan)] = plan, self._runner.start([plan.settings])
        return self._templates[id(plan)][1]

    def _add(self, taken: Taken) -> None:
        """Adds rows for texts that were taken."""
        count, old = len(taken.orders.seeds), len(self._plans)
        self._most_rows = min(self._most_rows, max(count + old, _MOST_IDS // taken.orders.plans[0].max_characters))
        self._set_batches([*self._batches, self._runner.start([plan.settings for plan in taken.orders.plans])])
        self._plans += [None] * count
        for name, column in self._columns.items():
            self._columns[name] = np.concatenate([column, np.zeros(count, np.int64)])
        self._draws.add(count)
        self._ids = np.concatenate([self._ids, np.zeros((count, self._ids.shape[1]), np.int32)])
        self._last_ids = np.concatenate([self._last_ids, np.zeros((count, self._alphabet.size), np.bool_)])
        self._start(np.arange(old, old + count), taken)

    def _keep(self, rows: NDArray[np.intp]) -> None:
        """Drops all but ``rows``."""
        if self._batches:
            self._set_batches([Batch.join(self._batches).take(rows.tolist())])
        self._plans = [self._plans[row] for row in rows]
        self._columns = {name: column[rows] for name, column in self._columns.items()}
        self._draws.keep(rows)
        self._ids, self._last_ids = self._ids[rows], self._last_ids[rows]
        plans = [plan for plan in self._plans if plan is not None]
        self._unplain = sum(not plan.is_plain for plan in plans)
        self._stopping = sum(bool(plan.stop_sequences) for plan in plans)

    def _set_batches(self, batches: list[Batch]) -> None:
        """Parts the rows of ``batches`` into batches of ``MAX_ROWS``."""
        whole = Batch.join(batches)
        self._batches = [
            whole.take(range(start, min(start + MAX_ROWS, len(whole)))) for start in range(0, len(whole), MAX_ROWS)
        ]

    def _widen(self, width: int) -> None:
        """Makes room for ``width`` ids of each row."""
        if width > self._ids.shape[1]:
            wider = np.zeros((len(self._ids), 2 * width), np.int32)
            wider[:, : self._ids.shape[1]] = self._ids
            self._ids = wider
