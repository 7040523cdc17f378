"""The logs: one JSON object per line on standard error, or a line for people, with the request id of its call.

Events of the server itself come through structlog; those of libraries, warnings, and exceptions that nobody caught come
through Python's hooks. All end in one ``LineWriter``.

Invariant: logging never waits and never fails, so a log that can't be written changes nothing else. A line is bounded
in length.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, MutableMapping
from functools import partial
from types import TracebackType
from typing import Any, Literal

import structlog

from .console import console
from .lines import Event, LineWriter, rendered

MAX_TEXT = 4096
"""Most characters of a field's text. Of an exception the end is kept, which names it, and of other texts the start."""

_STANDARD_ERROR = 2

_writer: LineWriter | None = None  # one, because a process has one standard error
_log = structlog.get_logger()


def configure(
    level: str, form: Literal["json", "console"] = "json", *, worker: int | None = None, lock: int | None = None
) -> None:
    """Sends the logs of structlog at ``level`` or above, and the libraries' at warning or above, to standard error.

    ``form`` is that of the lines. Those of a ``worker`` have its number, and are written under the ``lock`` that the
    supervisor has from ``share``. Call it once per process. After it, nothing in Python writes to standard error
    directly, not even ``print``. A crash of the interpreter still does, and so does C code: those are last words, which
    must not wait in a queue.
    """
    global _writer
    render = console(_STANDARD_ERROR) if form == "console" else rendered
    _writer = LineWriter(_STANDARD_ERROR, render if worker is None else partial(_rendered_of, worker, render), lock)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _add_time,
            structlog.processors.format_exc_info,
            _bounded,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda: _Output(_writer),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_LibraryHandler(_writer)], level=max(number, logging.WARNING), force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_exception
    threading.excepthook = _log_thread_exception
    sys.unraisablehook = _log_unraisable
    sys.stderr = _Printed(_writer)
    faulthandler.enable(_STANDARD_ERROR)


def share() -> int:
    """Returns the descriptor of a lock under which the log is written from now on, for processes that write to it too.

    Linux only.
    """
    assert _writer is not None
    _writer.lock = os.memfd_create("log")
    return _writer.lock


def dropped() -> int:
    """Returns how many lines could not be written so far."""
    return _writer.dropped if _writer is not None else 0


def complain(message: str) -> None:
    """Writes ``message`` as a line of plain text, in order with the log: the one line of a server that can't start."""
    if _writer is not None:
        _writer.put(message)


def close(timeout: float) -> bool:
    """Writes the lines that wait, for at most ``timeout`` seconds, and returns whether all were written.

    Later lines are dropped. May be called from any thread, also again.
    """
    return _writer is None or _writer.close(timeout)


def _rendered_of(worker: int, render: Callable[[Event | str], bytes], event: Event | str) -> bytes:
    return render(event if isinstance(event, str) else {**event, "worker": worker})


class _Output:
    """The end of structlog's chain."""

    def __init__(self, writer: LineWriter) -> None:
        self._put = writer.put

    def debug(self, **event: Any) -> None:
        self._put(event)

    info = warning = error = critical = debug


class _Printed(io.TextIOBase):
    """Standard error of Python code that prints: each line is an event, and nobody waits."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer
        self._rest = ""  # of a line that hasn't ended
        self._writing = threading.RLock()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._writing:
            *lines, self._rest = (self._rest + text).split("\n")
            if len(self._rest) > MAX_TEXT:
                lines, self._rest = [*lines, self._rest], ""
        for line in filter(None, lines):
            event: Event = {"event": line, "logger": "stderr", "level": "warning", "timestamp": time.time()}
            self._writer.put(dict(_bounded(None, "", event)))
        return len(text)


class _LibraryHandler(logging.Handler):
    """Passes the records of the standard library's logging on, in the form of our own."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # arguments that don't fit the message
            message = str(record.msg)
        event: Event = {"event": message, "logger": record.name, **structlog.contextvars.get_contextvars()}
        if record.exc_info and record.exc_info[1] is not None:
            event["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
        event |= {"level": record.levelname.lower(), "timestamp": record.created}
        self._writer.put(dict(_bounded(None, "", event)))


def _add_time(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["timestamp"] = time.time()
    return event


def _bounded(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Makes every field a number, a boolean, None, or a text of bounded length: the writer holds nothing else."""
    for field, value in event.items():
        if isinstance(value, str):
            if len(value) > MAX_TEXT:
                event[field] = f"…{value[-MAX_TEXT:]}" if field == "exception" else f"{value[:MAX_TEXT]}…"
        elif not (value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))):
            event[field] = _shown(value)[:MAX_TEXT]
    return event


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _log_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _log.critical("uncaught_exception", exc_info=(kind, error, trace))


def _log_thread_exception(caught: threading.ExceptHookArgs) -> None:
    name = caught.thread.name if caught.thread is not None else ""
    _log.critical("uncaught_exception", thread=name, exc_info=caught.exc_value)


def _log_unraisable(caught: sys.UnraisableHookArgs) -> None:
    _log.error("ignored_exception", origin=_shown(caught.object), hint=caught.err_msg, exc_info=caught.exc_value)
