"""The searcher: the thread that takes the steps of an engine's searches.

It runs beside the lanes, on the same session, so that a search doesn't wait for a lane's turn between its
steps. It isn't nice to the lanes as they are to the event loop: its share bounds it, and somebody types.
The callers of its searches take turns; those of one caller come one after another.

Invariant: beside lanes that run streams, searches take ``SHARE`` of a core at most in the long run; an error ends the
search in which it happened, and no other.
"""

from __future__ import annotations

import threading
import time
from asyncio import AbstractEventLoop
from collections import OrderedDict, deque
from collections.abc import Callable

import structlog

from nextchar_model.runner import Runner

from .admission import Admission
from .prefixes import Prefixes
from .search import Search
from .stream import End, LaneError

MOST_SEARCHES = 64
"""Most searches that have begun, or are about to. The others wait in the admission."""

SHARE = 0.4
"""Of a core, for searches beside streams."""

BURST = 0.01
"""Seconds of a core that searches may take at once: those of some usual ones."""

_log = structlog.get_logger()


class Searcher:
    """A thread that searches until its admission closes."""

    def __init__(
        self,
        runner: Runner,
        admission: Admission,
        prefixes: Prefixes,
        *,
        loop: AbstractEventLoop,
        streams: Admission,
    ) -> None:
        """The readers run on ``loop``; ``streams`` is the admission of the lanes."""
        self._runner = runner
        self._admission = admission
        self._prefixes = prefixes
        self._loop = loop
        self._streams = streams
        self._clock = time.thread_time if runner.provider == "cpu" else time.perf_counter
        self._callers: OrderedDict[str, deque[Search]] = OrderedDict()  # with their searches, the next one first
        self._credit = BURST  # seconds of a core
        self._seen = time.monotonic()  # when the credit was last raised
        self._thread = threading.Thread(target=self._run, name="searcher", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def join(self) -> None:
        """Waits until the thread has ended."""
        self._thread.join()

    def _run(self) -> None:
        while (admitted := self._next()) is not None:
            for search in admitted:
                self._callers.setdefault(search.caller, deque()).append(search)
            self._step()

    def _next(self) -> list[Search] | None:
        """Returns the searches to take in, after leaving those that have to make room for other callers."""
        self._drop(lambda search: search.is_over)
        load = sum(map(len, self._callers.values()))
        if self._admission.is_crowded(load):
            # Those that came last have begun least.
            running = [search for searches in self._callers.values() for search in reversed(searches)]
            leaving = self._admission.surplus(list(running))
            self._drop(leaving.__contains__)
            self._admission.park(leaving)
            load -= len(leaving)
        admitted = self._admission.admit(0, load)
        return None if admitted is None else [search for search in admitted if isinstance(search, Search)]

    def _drop(self, is_dropped: Callable[[Search], bool]) -> None:
        for caller, searches in list(self._callers.items()):
            kept = deque(search for search in searches if not is_dropped(search))
            if kept:
                self._callers[caller] = kept
            else:
                del self._callers[caller]

    def _step(self) -> None:
        """Takes a step of the first search of the caller whose turn it is."""
        if not self._callers:
            return
        caller = next(iter(self._callers))
        search = self._callers[caller][0]
        self._callers.move_to_end(caller)
        self._wait()
        began = self._clock()
        try:
            if search.steps is None:
                search.admitted_at = time.monotonic()
                search.steps = search.work(self._runner, self._prefixes)
            next(search.steps)
        except StopIteration:
            self._end(search, End.COUNT)
        except Exception as error:
            _log.exception("search_failed")
            self._end(search, LaneError(f"{type(error).__name__}: {error}"))
        self._credit -= self._clock() - began

    def _end(self, search: Search, end: End | Exception) -> None:
        search.steps = None
        search.end(end)
        self._loop.call_soon_threadsafe(search.wake)

    def _wait(self) -> None:
        """Waits until the searches may take more time."""
        self._raise_credit()
        if self._credit < 0 and self._streams.active:
            time.sleep(-self._credit / SHARE)
            self._raise_credit()

    def _raise_credit(self) -> None:
        now = time.monotonic()
        self._credit = min(BURST, self._credit + (now - self._seen) * SHARE)
        self._seen = now
