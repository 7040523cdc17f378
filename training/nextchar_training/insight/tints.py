"""The tints: colours behind letters for values from -1 to 1, blue below 0 and vermilion above.

Both hues are told apart with any colour vision, and a value's strength shows in its lightness. Invariant: the letter on
every tint has a contrast of at least 7 to 1, the stricter limit of WCAG 2.2.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scheme = Literal["light", "dark"]

STEPS = 10
"""Tints on either side of the one of 0."""

LETTERS: dict[Scheme, str] = {"light": "#000000", "dark": "#ffffff"}

_Colour = tuple[int, int, int]
_ENDS: dict[Scheme, tuple[_Colour, _Colour, _Colour]] = {
    "light": ((90, 176, 226), (255, 255, 255), (246, 150, 90)),
    "dark": ((0, 84, 138), (24, 24, 24), (150, 58, 0)),
}
"""The tints of -1, 0 and 1."""


def tint(step: int, scheme: Scheme) -> str:
    """Returns the tint of ``step``, from -``STEPS`` to ``STEPS``, as #rrggbb."""
    low, middle, high = _ENDS[scheme]
    share = abs(step) / STEPS
    end = high if step > 0 else low
    return "#" + "".join(f"{round(m + share * (e - m)):02x}" for m, e in zip(middle, end, strict=True))


def steps(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns the step of each of ``values`` in [-1, 1]."""
    return np.rint(np.clip(values, -1, 1) * STEPS).astype(np.int64)
