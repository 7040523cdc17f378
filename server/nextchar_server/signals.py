"""Signals: SIGTERM and SIGINT end the process in time, whatever the rest of it does.

Stands before all else: ``__main__`` calls ``install`` before the other imports. A thread of its own waits for the
signals, so they are heard during imports, while a model is loaded, and while the event loop is stuck.

SIGHUP asks for files to be read again.

Invariant: until ``drain_on`` is called, a signal ends the process at once. After it, the first signal starts a
drain, and a second one hurries it; a process that hasn't ended by itself when its time is up is ended by force.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable

OVERRAN = 3
"""Exit code of a process that was ended by force."""

MARGIN = 2.0
"""Seconds that the process has to end, beside those that running texts have."""

LAST_WORDS = 0.2
"""Seconds before the end by force in which the log gets its last line."""

_SHOWN_FRAMES = 8
_NUMBERS = (signal.SIGTERM, signal.SIGINT)
_RELOAD = getattr(signal, "SIGHUP", None)  # absent on Windows


class _Starting:
    """Before the process serves: there is nothing to drain."""

    def hear(self, number: int) -> None:
        _leave(128 + number, "stopped_while_starting", signal=signal.Signals(number).name)


class _Serving:
    """The end of a process that serves, from the first signal on."""

    def __init__(
        self, drain: Callable[[], object], hurry: Callable[[], object], patience: float, margin: float
    ) -> None:
        self._drain = drain
        self._hurry = hurry
        self._patience = patience
        self._margin = margin
        self._due: float | None = None  # `time.monotonic()` of the end by force
        self._changed = threading.Condition()

    def hear(self, number: int) -> None:
        """Begins or hurries the end."""
        soon = time.monotonic() + self._margin - LAST_WORDS
        if self._due is None:
            self._due = soon + self._patience
            threading.Thread(target=self._watch, name="deadline", daemon=True).start()
            self._drain()
        else:
            with self._changed:
                self._due = min(self._due, soon)
                self._changed.notify()
            self._hurry()

    def _watch(self) -> None:
        with self._changed:
            while self._due is not None and (left := self._due - time.monotonic()) > 0:
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        stack = traceback.format_list(traceback.extract_stack(frame)[-_SHOWN_FRAMES:]) if frame is not None else []
        _leave(OVERRAN, "ended_by_force", hint="the end took longer than it may", main_thread="".join(stack))


Say = Callable[..., object]
"""Writes the last line of the log, an event and its fields, within ``LAST_WORDS`` seconds."""

_state: _Starting | _Serving = _Starting()
_reload: Callable[[], object] = lambda: None  # noqa: E731
_say: Say | None = None


def install(*, are_heard: bool = True) -> None:
    """Starts the thread that waits for signals. Call it in the main thread, before any other thread is started.

    Unless they ``are_heard``, no signal does anything, and ``hear`` and ``reload`` take their place.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _waited())  # threads inherit it, so only `sigwait` gets the signals
    if are_heard:
        threading.Thread(target=_wait, name="signals", daemon=True).start()


def hear(number: int) -> None:
    """Acts as on the signal ``number``, SIGTERM or SIGINT."""
    _state.hear(number)


def reload() -> None:
    """Acts as on SIGHUP."""
    _reload()


def say_with(say: Say) -> None:
    """Makes ``say`` write the last line of a process that ends at once or by force."""
    global _say
    _say = say


def drain_on(
    drain: Callable[[], object], hurry: Callable[[], object], patience: float, *, margin: float = MARGIN
) -> None:
    """Lets the first signal call ``drain``, and each later one ``hurry``, in the thread of signals.

    The process then has ``patience`` seconds and ``margin`` to end; from the second signal on, only ``margin``.
    """
    global _state
    _state = _Serving(drain, hurry, patience, margin)


def reload_on(reload: Callable[[], object]) -> None:
    """Lets SIGHUP call ``reload``, in the thread of signals. Until then it does nothing."""
    global _reload
    _reload = reload


def _waited() -> tuple[int, ...]:
    return _NUMBERS if _RELOAD is None else (*_NUMBERS, _RELOAD)


def _wait() -> None:
    while True:
        number = signal.sigwait(_waited())
        if number == _RELOAD:
            reload()
        else:
            hear(number)


def _leave(code: int, event: str, **fields: str) -> None:
    if _say is not None:
        _say(event, exit_code=code, **fields)
    os._exit(code)
