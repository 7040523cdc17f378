"""Slices: how many rows a call of the graph advances."""

import pytest

from nextchar_model.slices import MAX_ROWS, most_rows


@pytest.mark.parametrize(("hidden_size", "rows"), [(16, MAX_ROWS), (128, MAX_ROWS), (300, 109), (512, 64), (2048, 64)])
def test_a_wider_network_has_fewer_rows_in_a_slice_down_to_a_bound(hidden_size: int, rows: int) -> None:
    assert most_rows(hidden_size) == rows
