"""The batch: rows can be taken, split and joined without changing their values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_model.batch import Batch, Steps

L, H, V = 2, 3, 5


def make_batch(rows: int, *, cells: int = L) -> Batch:
    """Returns a batch whose numbers all differ between rows."""
    numbers = np.arange(rows)
    return Batch(
        last_id=numbers,
        hidden=(numbers[None, :, None] + 100 * np.arange(L)[:, None, None] + np.zeros(H)).astype(np.float32),
        cell=(numbers[None, :, None] + 100 * np.arange(cells)[:, None, None] + np.zeros(H)).astype(np.float32),
        automaton=np.array([None] * rows, np.object_),
        automaton_state=numbers.astype(np.int32),
        slack=numbers.astype(np.int32),
        ends_at=numbers.astype(np.int32),
        temperature=numbers.astype(np.float32),
        top_k=numbers,
        top_p=numbers.astype(np.float32),
        min_p=numbers.astype(np.float32),
        bias=(numbers[:, None] + np.zeros(V)).astype(np.float32),
    )


def contents(batch: Batch) -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Returns the shape and the bytes of each array."""
    return {name: (array.shape, array.tobytes()) for name, array in vars(batch).items()}


@given(rows=st.integers(1, 20), parts=st.integers(1, 6))
def test_joining_the_parts_of_a_split_restores_the_batch(rows: int, parts: int) -> None:
    batch = make_batch(rows)
    split = list(batch.split(parts))
    assert len(split) == parts
    assert max(map(len, split)) - min(map(len, split)) <= 1
    assert contents(Batch.join(split)) == contents(batch)


@given(rows=st.integers(1, 20), parts=st.integers(1, 6))
def test_a_batch_takes_the_states_of_its_parts_and_keeps_its_settings(rows: int, parts: int) -> None:
    batch, later = make_batch(rows), make_batch(rows)
    for name in ("last_id", "hidden", "cell", "automaton_state", "slack", "temperature"):
        setattr(later, name, getattr(later, name) + 7)
    batch.take_states(later.split(parts))
    later.temperature = batch.temperature
    assert contents(batch) == contents(later)


@pytest.mark.parametrize("cells", [0, L])
def test_taking_rows_takes_all_their_values_in_order(cells: int) -> None:
    batch = make_batch(4, cells=cells)
    taken = batch.take([3, 1])
    assert taken.last_id.tolist() == [3, 1]
    assert taken.bias[:, 0].tolist() == [3, 1]
    assert taken.hidden[:, :, 0].tolist() == [[3, 1], [103, 101]]
    assert taken.cell.shape == (cells, 2, H)
    assert contents(Batch.join([batch.take([row]) for row in range(4)])) == contents(batch)


def test_taking_no_rows_is_an_empty_batch() -> None:
    empty = make_batch(3).take([])
    assert len(empty) == 0
    assert empty.hidden.shape == (L, 0, H)


def test_joined_steps_hold_their_rows_side_by_side() -> None:
    def steps(*ids: int) -> Steps:
        row = np.array([ids, ids])
        return Steps(row, row.astype(np.float32), row[:, :, None], row[:, :, None].astype(np.float32))

    joined = Steps.join([steps(1, 2), steps(3)])
    assert joined.ids.tolist() == [[1, 2, 3]] * 2
    assert joined.top_logprobs.shape == (2, 3, 1)
