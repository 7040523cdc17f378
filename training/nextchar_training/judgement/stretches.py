"""Copied stretches: parts of a text that also occur in another, longer one.

A stage of the judgement. The longer text is read piece by piece, once for each length that is looked for: windows of
that length are hashed in both, and looked up. So memory is bounded by the shorter text and a piece, and the time per
length is a few operations of NumPy for each character.

The hash of a window is put together from those of its halves, and of any length from two overlapping powers of 2, as a
suffix array by doubling is (Karp, Miller & Rosenberg, STOC 1972). Invariants: no stretch is missed, since equal windows
have equal hashes; the longest stretch is compared character by character.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from nextchar_model.composition import Codes, text_of

from .characters import END

LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""The lengths for which the share of a text in copied stretches is measured, in characters."""

_Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Copied:
    """The parts of a text that also occur in another."""

    shares: tuple[tuple[int, float], ...]
    """Each of ``LENGTHS``, and the share of the text in copied stretches at least that long, up to the first 0."""
    longest: int
    """Characters of the longest copied stretch."""
    longest_text: str
    """That stretch; the first one if there are several."""


def copied(text: Codes, source: Iterable[Codes]) -> Copied:
    """Returns the parts of ``text`` that occur in ``source``, which is read several times.

    A stretch never extends over ``END``, which both may hold. The shares are those of hashes of 64 bits: one of them is
    too large with a probability of some 1e-6, for a text of 100,000 characters and a source of 100 million.
    """
    for seed in count(1):  # the second time only if a hash collided
        shares, longest, places = _measured(text, source, seed)
        stretch = next((one for one in _stretches(text, places, longest) if longest == 0 or _occurs(one, source)), None)
        if stretch is not None:
            return Copied(shares, longest, stretch)
    raise AssertionError


def _measured(
    text: Codes, source: Iterable[Codes], seed: int
) -> tuple[tuple[tuple[int, float], ...], int, Sequence[int]]:
    """Returns the shares, the length of the longest stretch, and where such stretches begin in ``text``."""
    shares, longest, beyond, places = [], 0, len(text) + 1, np.zeros(1, np.int64)
    characters = max(1, int(np.count_nonzero(text != END)))
    for length in LENGTHS:
        found = _places(text, source, length, seed)
        shares.append((length, _covered(found, length, len(text)) / characters))
        if not len(found):
            beyond = length
            break
        longest, places = length, found
    while beyond - longest > 1:
        length = min(max(1, 2 * longest), (longest + beyond) // 2)
        found = _places(text, source, length, seed)
        if len(found):
            longest, places = length, found
        else:
            beyond = length
    return tuple(shares), longest, places.tolist()


def _places(text: Codes, source: Iterable[Codes], length: int, seed: int) -> NDArray[np.int64]:
    """Returns where the windows of ``length`` begin in ``text`` that occur in ``source``."""
    begins = np.flatnonzero(_whole(text, length))
    wanted, which = np.unique(_hashed(text, length, seed)[begins], return_inverse=True)
    if not len(wanted):
        return begins
    bits = max(16, len(wanted).bit_length() + 5)
    shift = np.uint64(64 - bits)
    sieve = np.zeros(2**bits, np.bool_)  # few other windows pass it, so that few are looked up
    sieve[wanted >> shift] = True
    seen = np.zeros(len(wanted), np.bool_)
    for piece in _overlapping(source, length):
        hashes = _hashed(piece, length, seed)
        hashes = hashes[sieve[hashes >> shift]]
        rows = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
        seen[rows[wanted[rows] == hashes]] = True
    return begins[seen[which]]


def _hashed(codes: Codes, length: int, seed: int) -> _Hashes:
    """Returns the hash of each window of ``length``, [n - length + 1]."""
    if len(codes) < length:
        return np.empty(0, np.uint64)
    left, right = np.random.default_rng(seed).integers(2**63, size=2, dtype=np.uint64) * np.uint64(2) + np.uint64(1)

    def mixed(one: _Hashes, other: _Hashes) -> _Hashes:
        bits: _Hashes = one * left
        bits += other * right
        bits ^= bits >> np.uint64(29)
        bits *= np.uint64(0xBF58476D1CE4E5B9)  # of SplitMix64
        return bits

    hashes = mixed(codes.astype(np.uint64), np.zeros(1, np.uint64))
    size = 1
    while size < length:
        step = min(size, length - size)
        hashes = mixed(hashes[:-step], hashes[step:])
        size += step
    return hashes


def _whole(codes: Codes, length: int) -> NDArray[np.bool_]:
    """Whether each window of ``length`` is without ``END``, [n - length + 1]."""
    ends = np.concatenate([[0], np.cumsum(codes == END)])
    whole: NDArray[np.bool_] = ends[length:] == ends[: max(0, len(ends) - length)]
    return whole


def _overlapping(source: Iterable[Codes], length: int) -> Iterator[Codes]:
    """Yields pieces that begin with the last ``length - 1`` characters before them, so that no window is cut in two."""
    rest = np.empty(0, np.uint32)
    for piece in source:
        rest = np.concatenate([rest, piece])
        yield rest
        rest = rest[max(0, len(rest) - (length - 1)) :] if length > 1 else rest[:0]


def _covered(begins: NDArray[np.int64], length: int, size: int) -> int:
    """Returns how many of ``size`` characters are in a stretch of ``length`` that begins at one of ``begins``."""
    changes = np.zeros(size + 1, np.int64)
    changes[begins] += 1
    changes[begins + length] -= 1
    return int(np.count_nonzero(np.cumsum(changes)))


def _stretches(text: Codes, places: Sequence[int], length: int) -> Iterator[str]:
    yield from dict.fromkeys(text_of(text[place : place + length]) for place in places)


def _occurs(stretch: str, source: Iterable[Codes]) -> bool:
    return any(stretch in text_of(piece) for piece in _overlapping(source, len(stretch)))
