"""The troubles of an export: the lines that OpenTelemetry's own code leaves in the log.

A collector that is away makes it complain at each try, and about each span that finds no room.

Invariant: of each kind of line, one is written per minute; the next one tells how many were left out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_PERIOD = 60.0
_MOST_KINDS = 64

_logger = logging.getLogger("opentelemetry")


class Troubles(logging.Handler):
    """Passes records on to the log of the server."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` returns the time in seconds."""
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}  # when the last one was written; left out since

    def emit(self, record: logging.LogRecord) -> None:
        """Passes ``record`` on, unless it is one of a kind of which one was passed on within a minute."""
        kind, now = (record.name, str(record.msg)), self._clock()
        written, left_out = self._kinds.get(kind, (now - _PERIOD, 0))
        if now - written < _PERIOD:
            self._kinds[kind] = written, left_out + 1
            return
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        self._kinds[kind] = now, 0
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more since the last such line)", None
        logging.getLogger().handle(record)


def bound_troubles() -> None:
    """Bounds the lines of this process. May be called again."""
    if not any(isinstance(handler, Troubles) for handler in _logger.handlers):
        _logger.addHandler(Troubles())
        _logger.propagate = False
