"""Distributions on disk: how likely a teacher held each id at every place of a training text.

They are made once (see ``teaching``) and read beside the ids, with ``pread``, a stretch at a time. Each place takes the
same number of bytes, at most 257:

- of an alphabet of up to 257 ids, a code for every id;
- of a larger one, codes for the 64 likeliest ids and for the mass of all others together, and those ids. That mass, the
  rest, counts as evenly spread over the others.

A code counts sixteenths of a nat below certainty: a probability p is kept as round(-16 ln p), at most 255, and the
distribution is scaled to a sum of 1 when it is read. Before that, a log-probability above -15.9 is off by at most 1/32.
So by Hoeffding's lemma the divergence KL(p, read) of the distribution that is read is at most 1/2048 nats; plus 1.2e-7
per id, because probabilities below 1.2e-7 are raised to that; and of a large alphabet plus r ln(V - 64), where r is the
mass of the rest.

Shapes: T places of a text, B rows, V ids in the alphabet, N ids that have a code.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import Ids

from .rules import DatasetError

CODES_PER_NAT = 16

_MOST_WHOLE = 257  # ids: every byte, and the boundary
_LISTED = 64  # ids of a larger alphabet that have a code
_LOWEST = 255  # the code of the least probability


class Codes(NamedTuple):
    """Distributions as they are kept."""

    codes: NDArray[np.uint8]
    """[T, B, N]: the code of each id."""
    rest: NDArray[np.uint8] | None
    """[T, B]: the code of the mass of all others; None if every id has a code."""
    ids: Ids | None
    """[T, B, N]: the ids; None if these are all, in their order."""


@dataclass(frozen=True)
class Form:
    """The bytes of a distribution over an alphabet of ``alphabet_size`` ids."""

    alphabet_size: int

    @property
    def is_whole(self) -> bool:
        """Whether every id has a code."""
        return self.alphabet_size <= _MOST_WHOLE

    @property
    def listed(self) -> int:
        """N, the number of ids that have a code."""
        return self.alphabet_size if self.is_whole else _LISTED

    @property
    def size(self) -> int:
        """Bytes of a distribution."""
        return self.listed if self.is_whole else self.listed + 1 + self.listed * self._id_type.itemsize

    @property
    def _id_type(self) -> np.dtype[np.unsignedinteger]:
        return np.dtype("<u2" if self.alphabet_size <= 2**16 else "<u4")

    def encode(self, ids: Ids, logprobs: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Returns the bytes, [..., size], of distributions.

        ``ids`` [..., N] are the likeliest ones, likeliest first, and ``logprobs`` [..., N] their log-probabilities in
        nats.
        """
        codes = _codes(logprobs)
        if self.is_whole:
            whole = np.empty_like(codes)
            np.put_along_axis(whole, ids, codes, axis=-1)
            return whole
        rest = 1.0 - np.exp(logprobs.astype(np.float64)).sum(axis=-1, keepdims=True)
        numbers = np.ascontiguousarray(ids, self._id_type).view(np.uint8)
        return np.concatenate([codes, _codes(np.log(np.maximum(rest, np.exp(-16.0)))), numbers], axis=-1)

    def decode(self, content: NDArray[np.uint8]) -> Codes:
        """Returns the distributions in ``content``, [T, B, size]."""
        if self.is_whole:
            return Codes(content, None, None)
        N = self.listed
        ids = np.ascontiguousarray(content[..., N + 1 :]).view(self._id_type).astype(np.int64)
        return Codes(np.ascontiguousarray(content[..., :N]), np.ascontiguousarray(content[..., N]), ids)


class DistributionFile:
    """The distributions of one teacher over a text, in a .npy file of bytes, [places, size]."""

    def __init__(self, path: Path, form: Form) -> None:
        """Raises ``DatasetError`` if the file is damaged or cut off, ``OSError`` if it can't be opened."""
        self.form = form
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        try:
            np.lib.format.read_magic(self._file)
            (self._count, size), _, _ = np.lib.format.read_array_header_1_0(self._file)
        except ValueError as error:
            raise DatasetError(f"{path}: damaged; remove its folder") from error
        self._first = self._file.tell()
        self.bytes = path.stat().st_size
        """Size of the file."""
        if size != form.size or self.bytes != self._first + self._count * size:
            raise DatasetError(f"{path}: cut off, or of another alphabet; remove its folder")

    def __len__(self) -> int:
        return self._count

    def read(self, places: Sequence[int], length: int) -> Codes:
        """Returns the distributions of ``length`` places from each of the B ``places`` on: T is ``length``."""
        size, file = self.form.size, self._file.fileno()
        # Forked processes share the file's position, so this doesn't move it.
        rows = [os.pread(file, length * size, self._first + place * size) for place in places]
        content = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), length, size)
        return self.form.decode(content.swapaxes(0, 1).copy())


class DistributionWriter:
    """Writes the distributions of ``count`` places in any order, from several threads. Use it as a context manager."""

    def __init__(self, path: Path, form: Form, count: int) -> None:
        self._path, self._form, self._count = path, form, count

    def __enter__(self) -> Self:
        """Takes the whole place on the disk at once. Raises ``OSError`` if it isn't there."""
        header = {"descr": "|u1", "fortran_order": False, "shape": (self._count, self._form.size)}
        with ExitStack() as stack:
            self._file = stack.enter_context(self._path.open("wb", buffering=0))
            np.lib.format.write_array_header_1_0(self._file, header)
            self._first = self._file.tell()
            _take(self._file.fileno(), self._first + self._count * self._form.size)
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file as file:
            if kind is None:
                os.fsync(file.fileno())

    def write(self, place: int, content: NDArray[np.uint8]) -> None:
        """Writes the distributions from ``place`` on, [T, size]."""
        left = np.ascontiguousarray(content).data.cast("B")
        offset = self._first + place * self._form.size
        while left:
            written = os.pwrite(self._file.fileno(), left, offset)
            left, offset = left[written:], offset + written


def _codes(logprobs: NDArray[np.floating]) -> NDArray[np.uint8]:
    codes: NDArray[np.uint8] = np.minimum(np.rint(logprobs * -CODES_PER_NAT), _LOWEST).astype(np.uint8)
    return codes


def _take(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)
