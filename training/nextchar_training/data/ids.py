"""Ids on disk: read piece by piece when they are needed, and written before their number is known."""

from __future__ import annotations

import hashlib
import os
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Ids

from .rules import DatasetError


class IdSequence(Protocol):
    """The ids of a text, in memory or on disk: an array or an ``IdFile``."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[np.int64]: ...


class IdFile:
    """The ids in a .npy file, or a stretch of them, possibly translated. A slice is an array, read at that moment.

    The file isn't mapped into memory, because all pages that were ever read would count as memory in use.
    """

    def __init__(self, path: Path, start: int = 0, stop: int | None = None, *, table: Ids | None = None) -> None:
        """Reads each id n as ``table[n]``, if there is a ``table``, [V].

        Raises ``DatasetError`` if the file is damaged or cut off, ``OSError`` if it can't be opened.
        """
        self._path, self._table = path, table
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
        # Forked processes share the file's position, so this doesn't move it.
        content = os.pread(self._file.fileno(), max(stop - start, 0) * size, self._first + (self._start + start) * size)
        ids = np.frombuffer(content, self._type)
        return ids.astype(np.int64) if self._table is None else self._table[ids]

    def part(self, start: int, stop: int | None = None) -> IdFile:
        """A stretch of the file's ids; ``start`` and ``stop`` count from the beginning of the file."""
        return IdFile(self._path, start, stop, table=self._table)

    def translated(self, table: Ids) -> IdFile:
        """All ids of the file, each id n read as ``table[n]``; ``table`` is [V]."""
        return IdFile(self._path, table=table)

    def sha256(self) -> str:
        """SHA-256 of the ids, in hexadecimal: the same for the same ids, however they are kept."""
        digest = hashlib.sha256()
        for n in range(0, len(self), 2**20):
            digest.update(self[n : n + 2**20].astype("<u4").data)
        return digest.hexdigest()

    def count_boundaries(self) -> int:
        """How many of the ids are the boundary."""
        return sum(int(np.count_nonzero(self[n : n + 2**20] == BOUNDARY)) for n in range(0, len(self), 2**20))


class IdWriter:
    """Writes ids to a .npy file. The context manager puts their number into the header at the end."""

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
                self._write_header()  # as long as the first one
                file.flush()
                os.fsync(file.fileno())

    def _write_header(self) -> None:
        header = {"descr": self._type.str, "fortran_order": False, "shape": (self.count,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, ids: NDArray[Any]) -> None:
        """Appends ids."""
        self._file.write(np.ascontiguousarray(ids, self._type).data)
        self.count += len(ids)

    def end_document(self, start: int) -> int:
        """Appends the boundary to the document that began at ``start``, unless it is empty.

        Returns the start of the next document.
        """
        if self.count > start:
            self.write(np.array([BOUNDARY]))
        return self.count
