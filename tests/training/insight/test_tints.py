"""The tints behind letters can be read, and be told apart, in both schemes."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from nextchar_training.insight.tints import LETTERS, STEPS, Scheme, steps, tint

Parts = NDArray[np.float64]

SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
SCALE = range(-STEPS, STEPS + 1)

# Linear sRGB as people without one kind of cone see it (Viénot, Brettel & Mollon 1999).
PROTANOPIA = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
DEUTERANOPIA = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])


def linear(colour: str) -> Parts:
    """The parts of #rrggbb as amounts of light."""
    parts = np.array([int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    return np.asarray(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4))


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def seen(colour: str, vision: Parts) -> Parts:
    """The parts of a colour, 0 to 1, as somebody sees it."""
    parts = np.clip(vision @ linear(colour), 0, 1)
    return np.asarray(np.where(parts <= 0.0031308, 12.92 * parts, 1.055 * parts ** (1 / 2.4) - 0.055))


def contrast(one: str, other: str) -> float:
    """WCAG's ratio, 1 to 21."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@SCHEMES
def test_letters_stand_out_from_every_tint(scheme: Scheme) -> None:
    assert min(contrast(tint(step, scheme), LETTERS[scheme]) for step in SCALE) >= 7


@SCHEMES
@pytest.mark.parametrize("vision", [np.eye(3), PROTANOPIA, DEUTERANOPIA])
def test_the_two_signs_differ_to_any_colour_vision(scheme: Scheme, vision: Parts) -> None:
    low, middle, high = (seen(tint(step, scheme), vision) for step in (-STEPS, 0, STEPS))
    for one, other in itertools.combinations((low, middle, high), 2):
        assert np.abs(one - other).max() > 0.15


@SCHEMES
def test_a_stronger_value_stands_out_more_from_the_tint_of_zero(scheme: Scheme) -> None:
    for sign in (-1, 1):
        apart = [contrast(tint(sign * step, scheme), tint(0, scheme)) for step in range(STEPS + 1)]
        assert apart == sorted(apart)
        assert apart[-1] > 1.5


def test_values_beyond_the_range_have_the_tint_of_its_end() -> None:
    assert steps(np.array([-1.2, -0.26, 0.0, 0.04, 1.0], np.float32)).tolist() == [-10, -3, 0, 0, 10]
