"""The standard streams of a command: they may be closed, full, without a reader, or of an encoding of any kind.

Invariant: no character ends a command because a stream can't spell it, and no file that a command opens takes the
place of a stream that the shell closed. Standard error only tells of the work, so it never fails it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer  # in collections.abc from Python 3.12 on

OUTPUT_CLOSED = 141
"""Exit code of a command whose reader closed standard output, as in ``… | head``: that of SIGPIPE in a shell."""

_NARROWEST = 20  # columns in which help can be laid out; with fewer, the width counts as unknown


def prepare() -> None:
    """Makes the standard streams safe to use; calling it again changes nothing."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file to be opened would get its number
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # If there is no stream, ``print`` writes to standard output.
    errors = _file(sys.stderr) if sys.stderr is not None else io.FileIO(2, "w", closefd=False)
    if errors is not None and errors.fileno() == 2:
        sys.stderr = _unfailing(sys.stderr, errors, lambda _: None)
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns[:9]) < _NARROWEST:  # 0 is what some terminals of containers say
        del os.environ["COLUMNS"]


def discard_output() -> None:
    """Sends all further output nowhere, so that Python doesn't complain of the rest of its buffer at the exit."""
    with suppress(OSError, AttributeError):  # no stream, or one without a number
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def flush() -> None:
    """Writes the rest of standard output. Raises ``OSError`` if that fails, and then discards it."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        discard_output()
        raise


@contextmanager
def unfailing_output(warn: Callable[[str], None]) -> Iterator[None]:
    """Lets work continue whose standard output has lost its reader or its disk: for output that only tells of it.

    ``warn`` hears once why output is lost, unless its reader closed it.
    """
    before = sys.stdout
    output = _file(before)
    if output is None:
        yield
        return
    sys.stdout = _unfailing(before, output, warn)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout = before


def _file(stream: TextIO | None) -> io.FileIO | None:
    """Returns the file that ``stream`` writes to; None if it is closed or captured in memory."""
    buffer = getattr(stream, "buffer", None)
    file = getattr(buffer, "raw", buffer)  # without a buffer of bytes: standard error, and PYTHONUNBUFFERED
    return file if isinstance(file, io.FileIO) else None


def _unfailing(stream: TextIO | None, file: io.FileIO, warn: Callable[[str], None]) -> io.TextIOWrapper:
    """Returns ``stream``, which writes to ``file``, as one that never fails."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Unfailing(file, warn)),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=not isinstance(stream, io.TextIOWrapper) or stream.line_buffering or stream.write_through,
    )


class _Unfailing(io.RawIOBase):
    """A stream that never fails: the rest of the output is discarded if it can't be written."""

    def __init__(self, raw: io.FileIO, warn: Callable[[str], None]) -> None:
        self._raw, self._warn, self._failed = raw, warn, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, content: Buffer, /) -> int | None:
        if not self._failed:
            try:
                return self._raw.write(content)
            except OSError as error:
                self._failed = True
                if not isinstance(error, BrokenPipeError):
                    self._warn(f"standard output can't be written: {error.strerror}")
        return memoryview(content).nbytes
