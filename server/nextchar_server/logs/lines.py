"""Lines: writes events to a file descriptor, in a thread of its own. Stands below ``logs``.

Any thread may put an event at any time. The writer's thread renders it as one line, of JSON by default, and waits for
the descriptor's reader if it has to.

Invariant: ``put`` neither waits nor raises, whatever becomes of the descriptor. Memory is bounded: an event that finds
the queue full, or whose line can't be written, is dropped and counted, and the next line that gets through says how
many there were.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any

Event = dict[str, Any]
"""The fields of a line: texts of bounded length, numbers, booleans and None. ``timestamp`` is in seconds since 1970."""

QUEUE = 4096
"""Most events that wait for the thread: about a second of the calls that one process can take."""

MAX_LINE = 16 * 1024
"""Most bytes of a line; container engines split longer ones."""

DROPPED = "log_lines_dropped"
"""The event that tells how many lines were dropped."""

_GATHERING = 0.01
"""Seconds that the thread waits for more events, so that it wakes up and writes a hundred times per second at most."""

# JSON allows these in a text, but terminals obey them, and some readers take them for the end of a line.
OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


class LineWriter:
    """A bounded queue of events, and the thread that writes them to ``descriptor``."""

    def __init__(
        self, descriptor: int, render: Callable[[Event | str], bytes] | None = None, lock: int | None = None
    ) -> None:
        """``render`` returns the line of an event, by default ``rendered``, in the writer's thread."""
        self.lock = lock
        """Descriptor of a file that is locked during each write, so that lines of several processes stay whole even if
        they are longer than a pipe takes at once; None: nobody else writes. A process that is killed frees it."""
        self._descriptor = descriptor
        self._render = render or rendered
        self._queue: SimpleQueue[Event | str | None] = SimpleQueue()  # None is the end
        self._closing = threading.Event()
        self._counting = threading.RLock()  # a finalizer may put an event at any point of any thread
        self._dropped = 0
        self._dropped_told = 0
        self._is_torn = False  # the last write ended inside a line
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were dropped so far."""
        return self._dropped

    def put(self, event: Event | str) -> None:
        """Adds a line: an event, or a text that is written as it is. Neither waits nor raises."""
        if self._closing.is_set() or self._queue.qsize() >= QUEUE:
            self._drop(1)
        else:
            self._queue.put(event)

    def close(self, timeout: float) -> bool:
        """Writes the lines that wait, for at most ``timeout`` seconds; later events are dropped.

        Returns whether everything was written. Else the thread still waits for the descriptor; it is a daemon, which
        doesn't keep the process alive.
        """
        self._closing.set()
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _drop(self, lines: int) -> None:
        with self._counting:
            self._dropped += lines

    def _run(self) -> None:
        has_ended = False
        while not has_ended:
            events = [self._queue.get()]
            self._closing.wait(_GATHERING)
            with suppress(Empty):
                while events[-1] is not None:
                    events.append(self._queue.get_nowait())
            has_ended = events[-1] is None
            self._write_all([event for event in events if event is not None])
        if self._dropped > self._dropped_told:
            self._write([])

    def _write_all(self, events: list[Event | str]) -> None:
        """Writes ``events`` in as few writes as keep each whole: a pipe mixes longer writes of several processes."""
        chunk: list[bytes] = []
        for event in events:
            try:
                line = self._render(event)
            except Exception:  # a field that isn't as Event says must not end the thread
                self._drop(1)
                continue
            if chunk and sum(map(len, chunk)) + len(line) > select.PIPE_BUF:
                self._write(chunk)
                chunk = []
            chunk.append(line)
        if chunk:
            self._write(chunk)

    def _write(self, lines: list[bytes]) -> None:
        dropped = self._dropped - self._dropped_told
        notice = self._render(_notice(dropped)) if dropped else b""
        if self._is_torn:
            notice = b"\n" + notice
        data = notice + b"".join(lines)
        written = 0
        try:
            with _locked(self.lock):
                while written < len(data):
                    written += self._write_some(data[written:])
        except OSError:  # a full disk, or a pipe whose reader left
            end = len(notice)
            for count, line in enumerate(lines):
                end += len(line)
                if end > written:
                    self._drop(len(lines) - count)
                    break
        if written:
            self._is_torn = data[written - 1 : written] != b"\n"
        if written >= len(notice):
            self._dropped_told += dropped

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # another process that shares the pipe or the terminal made it non-blocking
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            poll.poll()
            return 0


@contextmanager
def _locked(lock: int | None) -> Iterator[None]:
    if lock is None:
        yield
        return
    fcntl.lockf(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(lock, fcntl.LOCK_UN)


def rendered(event: Event | str) -> bytes:
    """Returns ``event`` as one line of at most ``MAX_LINE`` bytes; its longest texts are cut if they have to be."""
    if isinstance(event, str):
        return _encoded(event)
    event = dict(event)
    if "timestamp" in event:
        event["timestamp"] = datetime.fromtimestamp(event["timestamp"], UTC).isoformat().replace("+00:00", "Z")
    while len(line := _encoded(OBEYED.sub(escaped, json.dumps(event, ensure_ascii=False)))) > MAX_LINE:
        longest = max(event, key=lambda field: len(str(event[field])))
        text = str(event[longest])
        event[longest] = f"{text[: len(text) // 2]}…"
    return line


def _encoded(line: str) -> bytes:
    # Undecodable bytes of arguments and file names are lone surrogates. As \udc80 they are valid JSON.
    return line.encode(errors="backslashreplace") + b"\n"


def escaped(found: re.Match[str]) -> str:
    """Returns the escape of a character that ``OBEYED`` found."""
    return f"\\u{ord(found[0]):04x}"


def _notice(dropped: int) -> Event:
    return {
        "event": DROPPED,
        "lines": dropped,
        "hint": "standard error was full or not read",
        "level": "warning",
        "timestamp": datetime.now(UTC).timestamp(),
    }
