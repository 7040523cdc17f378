"""Random numbers: a pure function of seed and position, with values that never change."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_model.draws import DRAW_COLUMNS, MAX_FLAT_DRAW, draw_order, uniform

SEEDS = st.integers(0, 2**64 - 1)
POSITIONS = st.integers(0, 2**40)


@given(seed=SEEDS, position=POSITIONS, counts=st.lists(st.integers(0, 9), max_size=9))
def test_numbers_do_not_depend_on_how_they_are_chunked(seed: int, position: int, counts: list[int]) -> None:
    parts, start = [np.empty(0, np.float32)], position
    for count in counts:
        parts.append(uniform(seed, start, count))
        start += count
    assert np.concatenate(parts).tolist() == uniform(seed, position, sum(counts)).tolist()


@given(seed=SEEDS, position=POSITIONS)
def test_numbers_do_not_depend_on_earlier_draws(seed: int, position: int) -> None:
    first = uniform(seed, position, 5).tolist()
    uniform(seed, position + 1, 7)
    uniform(seed ^ 1, position, 3)
    assert uniform(seed, position, 5).tolist() == first


@given(seed=SEEDS, position=POSITIONS)
def test_numbers_are_float32_multiples_of_two_to_the_minus_24_in_zero_to_one(seed: int, position: int) -> None:
    numbers = uniform(seed, position, 64)
    assert numbers.dtype == np.float32
    steps = numbers.astype(np.float64) * 2**24
    assert (steps == np.rint(steps)).all()
    assert ((numbers >= 0) & (numbers < 1)).all()


@pytest.mark.parametrize(
    ("seed", "position", "steps"),
    [
        (0, 0, [193722, 4052523, 1869415, 9469306, 8428531]),
        (7, 0, [14630964, 4955408, 7048069, 6801353, 1389869]),
        (7, 10**9, [11802165, 11949718, 7428515, 7353343, 198961]),
        (7, 2**33 + 1, [1996961, 15173811, 9674969, 2436592, 15303751]),
        (2**64 - 1, 0, [3941665, 12034477, 6898410, 12014894, 5874745]),
    ],
)
def test_numbers_never_change(seed: int, position: int, steps: list[int]) -> None:
    assert (uniform(seed, position, len(steps)) * 2**24).astype(int).tolist() == steps


def test_neighbouring_seeds_and_positions_are_uncorrelated() -> None:
    rows = [uniform(seed, shift, 4096) for seed in range(8) for shift in range(3)]
    correlations = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlations).max() < 0.1


def test_numbers_are_spread_evenly() -> None:
    counts, _ = np.histogram(uniform(3, 0, 100_000), bins=10, range=(0, 1))
    assert (np.abs(counts - 10_000) < 500).all()


def test_zero_numbers_are_an_empty_array() -> None:
    assert uniform(1, 3, 0).shape == (0,)


@pytest.mark.parametrize("V", [1, 66, MAX_FLAT_DRAW])
def test_a_small_alphabet_is_walked_in_the_order_of_ids(V: int) -> None:
    assert draw_order(V).tolist() == list(range(V))


@pytest.mark.parametrize("V", [MAX_FLAT_DRAW + 1, 1300, 12001])
def test_a_large_alphabet_is_walked_column_by_column(V: int) -> None:
    order = draw_order(V).tolist()
    assert order[:3] == [0, DRAW_COLUMNS, 2 * DRAW_COLUMNS]
    assert order == sorted(range(V), key=lambda id_: (id_ % DRAW_COLUMNS, id_))
