"""The output of a batch: a file that a killed command continues, or a stream.

The last stage. Lines are written in order; every second they are forced to the disk, and then the state beside them
says so. After a kill the file is cut back to the state, and its end is made again. Invariant: whatever is killed at
whatever byte, the file ends up as that of an undisturbed command.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from .layout import Layout
from .record import Record
from .state import State, StateError

_SECONDS = 1.0  # between two states


class FileSink:
    """The output at ``path``, made from ``made_from``, continued after ``before``, its state so far.

    Raises ``StateError`` if the file can't be continued, ``OSError`` if it can't be written.
    """

    def __init__(self, path: Path, layout: Layout, made_from: dict[str, Any], before: State | None) -> None:
        self._layout, self._state_path = layout, state_path(path)
        if before is None:
            if path.exists() and path.stat().st_size:
                raise StateError(f"{path} exists, and no state beside it says how it was made; name another output")
            before = State(made_from)
        before.require(made_from)
        size = path.stat().st_size if path.exists() else 0
        if size < before.size or (before.is_complete and size != before.size):
            raise StateError(
                f"{path} has {size:,} bytes, and its state says {before.size:,}: it was changed; name another output"
            )
        self._path, self._state = path, before
        self.progress = before.progress
        """How far the output is."""
        self._file: IO[bytes] = path.open("ab")
        _lock(self._file, path)
        self._file.truncate(before.size)
        self._size, self._written = before.size, time.monotonic()
        before.write(self._state_path)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return self._state.is_complete

    def texts(self) -> Iterator[str]:
        """Yields the texts that the file has."""
        with self._path.open("rb") as file:
            yield from self._layout.texts(file)

    def begin(self, *, with_header: bool) -> None:
        """Writes the header above the first record, if there should be one."""
        if self._size == 0 and with_header:
            self._append(self._layout.header)

    def write(self, records: list[Record]) -> None:
        """Appends ``records``, which the progress counts already."""
        self._append(self._layout.encode(records))
        if time.monotonic() - self._written >= _SECONDS:
            self.keep()

    def keep(self, *, is_complete: bool = False) -> None:
        """Forces all lines to the disk, and then the state."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._state = self._state.after(self._size, self.progress, is_complete=is_complete)
        self._state.write(self._state_path)
        self._written = time.monotonic()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _append(self, content: bytes) -> None:
        self._file.write(content)
        self._size += len(content)


def state_path(path: Path) -> Path:
    """The file of the state of the output at ``path``."""
    return path.with_name(f"{path.name}.state")


def _lock(file: IO[bytes], path: Path) -> None:
    """Raises ``StateError``, and closes ``file``, if another process writes it."""
    with suppress(ImportError):  # not on Windows
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise StateError(f"another process is writing {path}") from None
