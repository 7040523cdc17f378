"""Rows: the texts that one thread of ``generator`` generates at once.

A row whose text has ended gets the next text at once. All that is done for rows is done for all of them in one pass
over arrays, except for texts with stop sequences, constraints or characters of several ids, which are looked at when
they may have ended.

Shapes: B rows, K steps, V ids.
"""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray

from ..alphabet import BOUNDARY
from ..batch import SAMPLE, Batch
from ..composition import text_of
from ..decoder import continuing, is_one_to_one
from ..parameters import Text
from ..runner import MAX_ROWS, Runner
from .endings import Endings
from .orders import OrderBook, Start
from .plan import Plan, is_plain
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
    "active",  # whether the row has a text
    "read",  # ids of the prompt that the row reads
    "count",  # ids so far, read and sampled
    "limit",  # of these, with which the text is looked at
    "begun",  # characters that were begun, if they may have several ids
    "begun_limit",  # of these, beyond which the text is looked at
    "stop",  # whether the latest ids may have completed a stop sequence
)
_CALL = 0.05  # cost of a call of the graph beside its steps, in steps


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
        self._numbers: list[int] = []
        self._ids = np.zeros((0, 2 * _MOST_STEPS), np.int32)  # read and sampled, of each row
        self._columns = {name: np.zeros(0, np.int64) for name in _COLUMNS}
        self._last_ids = np.zeros((0, alphabet.size), np.bool_)
        self._unplain = 0  # rows that are looked at one by one
        self._stopping = 0  # rows with stop sequences
        self._mean = 8.0  # ids of a text
        self._overhead = 0.25  # cost of a turn beside the graph, in steps

    def run(self) -> None:
        """Generates texts until the book has no more."""
        while True:
            self._fill()
            if not self._numbers:
                return
            began = time.thread_time()
            inside, steps = self._turn()
            beside = time.thread_time() - began - inside
            self._overhead += 0.05 * (min(beside * steps / max(inside, 1e-6), 4.0) + _CALL - self._overhead)

    def _turn(self) -> tuple[float, int]:
        """Advances all rows, and ends those whose texts are whole. Returns the graph's seconds, and the steps."""
        K = max(1, min(_MOST_STEPS, round(math.sqrt(2 * self._mean * self._overhead))))
        ids, inside = self._advance(K)
        columns = self._columns
        columns["count"] += K
        over = (columns["count"] >= columns["limit"]) | (ids == BOUNDARY).any(axis=0)
        if self._begins is not None:
            columns["begun"] += self._begins.take(ids).sum(axis=0)
            over |= columns["begun"] > columns["begun_limit"]
        if self._stopping:
            stops = self._last_ids[np.arange(len(self._numbers)), ids].any(axis=0)
            maybe = stops if self._begins is None else stops | (columns["stop"] > 0)
            columns["stop"] = np.asarray(stops, np.int64)
            for row in np.flatnonzero(maybe & ~over).tolist():
                over[row] = self._may_have_stopped(row, K)
        if over.any():
            rows = np.flatnonzero(over & (columns["active"] > 0))
            if len(rows):
                self._end(rows)
        return inside, K

    def _advance(self, K: int) -> tuple[NDArray[np.int64], float]:
        """Takes K steps. Returns their ids [K, B], and the seconds that the graph took."""
        B, columns = len(self._numbers), self._columns
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
        """Gives the texts of ``rows`` back that are whole, and frees their rows."""
        texts = self._plain_texts(rows) if not self._unplain else self._texts(rows)
        if not texts:
            return
        self._book.put([(self._numbers[row], text) for row, text in texts])
        ended = [row for row, _ in texts]
        columns = self._columns
        lengths = (columns["count"] - columns["read"])[ended]
        self._mean += (float(lengths.mean()) - self._mean) * min(0.5, len(ended) / 256)
        self._draws.rest(ended)
        columns["active"][ended] = columns["read"][ended] = 0
        columns["limit"][ended] = columns["begun_limit"][ended] = 2**62

    def _plain_texts(self, rows: NDArray[np.intp]) -> list[tuple[int, Text]]:
        """Returns the texts of ``rows``, each of whose ids is a character."""
        columns = self._columns
        count, read, limit = (columns[name][rows] for name in ("count", "read", "limit"))
        place = np.arange(int(count.max()))
        ids = self._ids[rows, : len(place)]
        is_generated = (place >= read[:, None]) & (place < np.minimum(count, limit)[:, None])
        ends = is_generated & (ids == BOUNDARY)
        has_end = ends.any(axis=1)
        until = np.where(has_end, ends.argmax(axis=1), np.minimum(count, limit))
        characters = text_of(self._alphabet.code_points.take(ids[is_generated & (place < until[:, None])]))
        lengths = (until - read).tolist()
        texts, start = [], 0
        for row, seed, length, is_end in zip(
            rows.tolist(), self._draws.seeds(rows), lengths, has_end.tolist(), strict=True
        ):
            end = start + length
            reason = "end_of_document" if is_end else "max_characters"
            number = self._first_number + self._numbers[row]
            texts.append((row, Text(number, seed, characters[start:end], reason, "", length)))
            start = end
        return texts

    def _texts(self, rows: NDArray[np.intp]) -> list[tuple[int, Text]]:
        """Returns the texts of those of ``rows`` that are whole."""
        columns, texts = self._columns, []
        for row, seed in zip(rows.tolist(), self._draws.seeds(rows), strict=True):
            plan = self._plans[row]
            assert plan is not None
            ending = self._endings.of(self._ids[row, columns["read"][row] : columns["count"][row]], plan)
            if isinstance(ending, int):
                columns["begun_limit"][row] = columns["begun"][row] + ending - 1
                continue
            text, reason, stop, generated = ending
            number = self._first_number + self._numbers[row]
            texts.append((row, Text(number, seed, text, reason, stop, generated)))
        return texts

    def _fill(self) -> None:
        """Starts texts in the free rows, adds rows, or drops some if there are no more texts."""
        stash, mean = self._stash, self._mean
        free = np.flatnonzero(self._columns["active"] == 0)
        self._columns["count"][free] = 0
        while len(free) and (taken := stash.take(len(free), mean=mean, waits=len(free) == len(self._numbers))):
            self._start(free[: len(taken.draws)], taken)
            free = free[len(taken.draws) :]
        while not len(free) and (room := self._most_rows - len(self._numbers)) > 0:
            if (taken := stash.take(min(MAX_ROWS, room), mean=mean, waits=not self._numbers)) is None:
                break
            self._add(taken)
        if stash.is_exhausted and (4 * len(free) >= len(self._numbers) or not self._numbers):
            self._keep(np.flatnonzero(self._columns["active"] > 0))

    def _start(self, rows: NDArray[np.intp], taken: Taken) -> None:
        """Starts texts in ``rows``."""
        first, seeds, plans, starts = taken.orders
        columns = self._columns
        self._draws.start(rows, seeds, taken.draws)
        columns["active"][rows] = 1
        columns["begun"][rows] = columns["stop"][rows] = 0
        groups: dict[tuple[int, int], list[int]] = {}
        for place, row in enumerate(rows.tolist()):
            self._numbers[row] = first + place
            groups.setdefault((id(plans[place]), id(starts[place])), []).append(place)
        for places in groups.values():
            self._start_alike(rows[places], plans[places[0]], starts[places[0]])

    def _start_alike(self, rows: NDArray[np.intp], plan: Plan, start: Start) -> None:
        """Puts ``rows`` into the state of ``start``, with the settings of ``plan``."""
        columns, read = self._columns, len(start.ids)
        columns["count"][rows], columns["read"][rows] = 0, read
        columns["limit"][rows] = read + plan.most_ids
        if self._begins is not None:
            columns["begun_limit"][rows] = plan.max_characters + int(self._begins.take(start.ids).sum())
        if read:
            self._widen(read)
            self._ids[rows, :read] = start.ids
        template = self._template(plan)
        for number in np.unique(rows // MAX_ROWS):
            batch = self._batches[number]
            own = rows[rows // MAX_ROWS == number] - number * MAX_ROWS
            for name in _SETTINGS if any(self._plans[row] is not plan for row in rows.tolist()) else _STATE:
                getattr(batch, name)[own] = getattr(template, name)[0]
            batch.last_id[own] = start.last_id
            batch.hidden[:, own], batch.cell[:, own] = start.state.hidden, start.state.cell
        is_unplain = not is_plain(plan, self._alphabet)
        for row in rows.tolist():
            old = self._plans[row]
            if old is plan:
                continue
            if old is not None:
                self._unplain -= not is_plain(old, self._alphabet)
                self._stopping -= bool(old.stop_sequences)
            self._plans[row] = plan
            self._unplain += is_unplain
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
        count, old = len(taken.orders.seeds), len(self._numbers)
        self._most_rows = min(self._most_rows, max(count + old, _MOST_IDS // taken.orders.plans[0].max_characters))
        self._set_batches([*self._batches, self._runner.start([plan.settings for plan in taken.orders.plans])])
        self._plans += [None] * count
        self._numbers += [0] * count
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
        self._plans, self._numbers = [self._plans[row] for row in rows], [self._numbers[row] for row in rows]
        self._columns = {name: column[rows] for name, column in self._columns.items()}
        self._draws.keep(rows)
        self._ids, self._last_ids = self._ids[rows], self._last_ids[rows]
        plans = [plan for plan in self._plans if plan is not None]
        self._unplain = sum(not is_plain(plan, self._alphabet) for plan in plans)
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
