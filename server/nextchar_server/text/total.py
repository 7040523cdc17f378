"""The total: the sum of the log-probabilities of a text, as its parts come.

Invariant: it is the exact sum, rounded once. So it doesn't depend on the parts, nor on their order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MANTISSA = 24  # bits of a float32
_LEAST = -148  # exponent of the smallest one, if its mantissa is below 1
_EXPONENTS = 278  # from there on, in use


class Total:
    """Adds up log-probabilities."""

    def __init__(self) -> None:
        self._sums = np.zeros(_EXPONENTS, np.int64)  # of the mantissas of each exponent

    def add(self, logprobs: NDArray[np.float32]) -> None:
        """Adds ``logprobs``, which are finite."""
        mantissas, exponents = np.frexp(logprobs)
        # Less than 2**29 whole numbers of 24 bits each: doubles add them up exactly.
        whole = np.ldexp(mantissas, _MANTISSA)
        self._sums += np.bincount(exponents - _LEAST, whole, _EXPONENTS).astype(np.int64)

    @property
    def nats(self) -> float:
        """The sum, in nats."""
        places = np.flatnonzero(self._sums).tolist()
        whole = sum(int(self._sums[place]) << place for place in places)
        return whole / (1 << (_MANTISSA - _LEAST))
