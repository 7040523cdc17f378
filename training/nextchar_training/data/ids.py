"""Ids on disk: read where they are asked for, written without knowing how many there will be."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Ids

from .rules import DatasetError


class Text(Protocol):
    """The ids of a text, in memory or not: an array is one, and so is ``IdFile``."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[np.int64]: ...


class IdFile:
    """Ids in a file (.npy), or a stretch of them, read where they are asked for: ``ids[start:stop]`` is an array.

    Nothing is mapped into memory, where all that was once read would count as in use.
    """

    def __init__(self, path: Path, start: int = 0, stop: int | None = None) -> None:
        """Raises ``DatasetError`` for a file that is cut off, ``OSError`` where there is none."""
        self._path = path
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        try:
            np.lib.format.read_magic(self._file)
            (count,), _, self._type = np.lib.format.read_array_header_1_0(self._file)
        except ValueError as error:
            raise DatasetError(f"{path}: damaged; remove its folder") from error
        self._first = self._file.tell()
        if path.stat().st_size != self._first + count * self._type.itemsize:
            raise DatasetError(f"{path}: cut off; remove its folder")
        self._start, self._stop, _ = slice(start, stop).indices(count)

    def __len__(self) -> int:
        return max(self._stop - self._start, 0)

    def __getitem__(self, part: slice) -> Ids:
        start, stop, _ = part.indices(len(self))
        size = self._type.itemsize
        # Reads at a place without moving to it first, so that processes that were forked do not disturb each other.
        content = os.pread(self._file.fileno(), max(stop - start, 0) * size, self._first + (self._start + start) * size)
        return np.frombuffer(content, self._type).astype(np.int64)

    def part(self, start: int, stop: int | None = None) -> IdFile:
        """A stretch of the file's ids."""
        return IdFile(self._path, start, stop)


class IdWriter:
    """Writes ids to a .npy file whose length is known at the end only."""

    def __init__(self, path: Path, type_: np.dtype[Any]) -> None:
        self._path, self._type = path, type_
        self.count = 0
        """Ids written so far."""

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        self._write_header()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file as file:
            if kind is None:
                file.seek(0)
                self._write_header()  # which is as long as before
                file.flush()
                os.fsync(file.fileno())

    def _write_header(self) -> None:
        header = {"descr": self._type.str, "fortran_order": False, "shape": (self.count,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, ids: NDArray[Any]) -> None:
        """Adds ids."""
        self._file.write(np.ascontiguousarray(ids, self._type).data)
        self.count += len(ids)

    def end_document(self, start: int) -> int:
        """Adds the boundary to a document that began at ``start``, if it is not empty; gives where the next begins."""
        if self.count > start:
            self.write(np.array([BOUNDARY]))
        return self.count


def count_boundaries(ids: IdFile) -> int:
    """How many of ``ids`` are the boundary."""
    return sum(int(np.count_nonzero(ids[n : n + 2**20] == BOUNDARY)) for n in range(0, len(ids), 2**20))
