"""The generator: many texts from one model file, without a server.

Each thread advances batches of its own over one session, and replaces a row whose text has ended at once.

Invariant: a text is bit for bit the one that a server returns for the same prompt, seed and parameters, whatever the
number of threads and the order in which the texts end.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from .alphabet import BOUNDARY, Ids, UnknownCharacterError
from .batch import RecurrentState, SamplingSettings
from .draws import SPREAD
from .generating.orders import OrderBook, Orders, Start, Take
from .generating.plan import Plan, plan
from .generating.rows import MOST_ROWS, Rows
from .parameters import ParameterError, Parameters, Request, Text
from .runner import Runner

_PARAMETERS = Parameters()
_AHEAD = 16  # texts that are generated ahead of the reader, for each row
_MOST_KEPT = 1024  # plans, and states after prompts


class Generator:
    """Generates texts with one model file, on the processors of this machine."""

    digest: str
    """SHA-256 of the model file, in hexadecimal."""
    numeric_class: str
    """Machines of one numeric class return the same bytes; as in the protocol's ``Started``."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Opens the model file at ``path``; ``threads`` generate at once, or as many as this process may use cores.

        Raises ``ModelFileError`` if the file can't be used.
        """
        self._runner = Runner(path)
        self._threads = threads or _cores()
        self.digest = self._runner.digest
        self.numeric_class = self._runner.replay().numeric_class
        self._alphabet = self._runner.description.alphabet
        self._document_start = Start(self._runner.initial_state(1), BOUNDARY, np.empty(0, np.int32))

    def samples(
        self, prompt: str = "", *, seed: int, first: int = 0, count: int, parameters: Parameters = _PARAMETERS
    ) -> Iterator[Text]:
        """Yields the samples ``first`` to ``first + count - 1`` of one request, in order; ``number`` is theirs.

        Sample i is the text of the seed ``sample_seed(seed, i)`` of ``draws``. Takes bounded memory; generates ahead of
        its reader by a bounded number of texts, and ends its threads when it is closed. Raises ``ParameterError``,
        whose ``field`` is the parameter or ``prompt``, before the first text.
        """
        its_plan, start = self._plan(parameters), self._read(self._spelled(prompt))

        def take(number: int, most: int) -> Orders:
            most = min(most, count - number)
            places = np.arange(most, dtype=np.uint64) + np.uint64((first + number) % 2**64)
            seeds = places * np.uint64(SPREAD) + np.uint64(seed % 2**64)
            return Orders(number, seeds, [its_plan] * most, [start] * most)

        return self._generate(take, count=count, first_number=first)

    def texts(self, requests: Iterable[Request]) -> Iterator[Text]:
        """Yields the text of each of ``requests``, in order, as ``samples`` does.

        Takes ``requests`` lazily, in threads that take turns. A ``ParameterError`` comes in the place of the text of
        the request that it concerns, and ends the iteration.
        """
        known = _Known(self)
        coming = iter(requests)
        errors: list[BaseException] = []

        def take(number: int, most: int) -> Orders:
            if errors:
                raise errors.pop()
            seeds, plans, starts = [], [], []
            try:
                for prompt, seed, parameters in islice(coming, most):
                    its_plan, start = known.plan(parameters), known.start(prompt)
                    seeds.append(seed % 2**64)
                    plans.append(its_plan)
                    starts.append(start)
            except BaseException as error:
                if not seeds:
                    raise
                errors.append(error)  # comes behind the texts before it
            return Orders(number, np.array(seeds, np.uint64), plans, starts)

        return self._generate(take, count=None, first_number=0)

    def _generate(self, take: Take, *, count: int | None, first_number: int) -> Iterator[Text]:
        rows = MOST_ROWS if count is None else min(MOST_ROWS, max(1, math.ceil(count / self._threads)))
        book = OrderBook(take, most=_AHEAD * rows * self._threads, threads=self._threads, count=count)
        if count == 0:
            return

        def run() -> None:
            try:
                Rows(self._runner, book, rows, first_number).run()
            except BaseException as error:
                book.fail(error)

        threads = [threading.Thread(target=run, name=f"generator-{n}", daemon=True) for n in range(self._threads)]
        for thread in threads:
            thread.start()
        try:
            yield from book.texts()
        finally:
            book.close()
            for thread in threads:
                thread.join()

    def _plan(self, parameters: Parameters) -> Plan:
        return plan(parameters, self._runner.description, counts_down=self._runner.counts_down)

    def _spelled(self, prompt: str) -> Ids:
        try:
            return self._alphabet.encode(prompt)
        except UnknownCharacterError as error:
            raise ParameterError("prompt", str(error)) from error

    def _read(self, ids: Ids) -> Start:
        """Returns the start behind ``ids``, which are read now."""
        if not len(ids):
            return self._document_start
        batch = self._runner.start([SamplingSettings()])
        self._runner.advance(batch, ids[-1:, None], np.zeros((1, 1), np.float32), read=ids[:-1, None])
        return Start(RecurrentState(batch.hidden, batch.cell), int(batch.last_id[0]), np.empty(0, np.int32))


class _Known:
    """The plans and starts of the latest requests: a prompt that comes again is read once for all that follow."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._plans: dict[int, tuple[Parameters, Plan]] = {}
        self._starts: dict[str, Start | None] = {}  # None for a prompt that came once

    def plan(self, parameters: Parameters) -> Plan:
        if id(parameters) not in self._plans:
            if len(self._plans) >= _MOST_KEPT:
                self._plans.clear()
            self._plans[id(parameters)] = parameters, self._generator._plan(parameters)
        return self._plans[id(parameters)][1]

    def start(self, prompt: str) -> Start:
        if not prompt:
            return self._generator._document_start
        if (start := self._starts.get(prompt)) is not None:
            return start
        ids = self._generator._spelled(prompt)
        if prompt in self._starts:
            self._starts[prompt] = start = self._generator._read(ids)
            return start
        if len(self._starts) >= _MOST_KEPT:
            self._starts.clear()
        self._starts[prompt] = None
        return replace(self._generator._document_start, ids=ids.astype(np.int32))


def _cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
