"""The draw: one random number chooses the next id from a row's probabilities, in ONNX text.

The draw inverts the cumulative distribution, walking the ids in the order of ``nextchar_model.draws.draw_order``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nextchar_model.draws import DRAW_COLUMNS, MAX_FLAT_DRAW


def draw(branch: str, V: int) -> list[str]:
    """Returns the lines that define ``{branch}_id``: the id that the row's draw hits in ``{branch}_probabilities``."""
    if V <= MAX_FLAT_DRAW:
        return [
            f"{branch}_cumulative = CumSum ({branch}_probabilities, cumulative_axis)",
            *_beyond(branch, "cumulative", "sampled"),
            f"{branch}_id = Add ({branch}_sampled, forced_id)",
        ]
    # A sum along the last axis waits for each addition; one down the columns of a grid does many at once. So the draw
    # finds its column first, then its row within that.
    return [
        f"{branch}_padded = Pad ({branch}_probabilities, grid_padding)",
        f"{branch}_grid = Reshape ({branch}_padded, grid_shape)",
        f"{branch}_within = CumSum ({branch}_grid, cumulative_axis)",
        f"{branch}_columns = Gather <axis = 1> ({branch}_within, last_row)",
        f"{branch}_before = CumSum <exclusive = 1> ({branch}_columns, cumulative_axis)",
        f"{branch}_through = Add ({branch}_before, {branch}_columns)",
        *_beyond(branch, "through", "column"),
        f"{branch}_mass_before = GatherElements <axis = 1> ({branch}_before, {branch}_column)",
        f"{branch}_left = Sub ({branch}_threshold, {branch}_mass_before)",
        # The subtraction rounds. Keeping the rest below the column's mass makes sure that some row is beyond it.
        f"{branch}_mass = GatherElements <axis = 1> ({branch}_columns, {branch}_column)",
        f"{branch}_most = Mul ({branch}_mass, below_one)",
        f"{branch}_within_threshold = Min ({branch}_left, {branch}_most)",
        f"{branch}_column_index = Unsqueeze ({branch}_column, axis_2)",
        f"{branch}_column_indices = Expand ({branch}_column_index, column_shape)",
        f"{branch}_rows = GatherElements <axis = 2> ({branch}_within, {branch}_column_indices)",
        f"{branch}_row_masses = Squeeze ({branch}_rows, axis_2)",
        f"{branch}_row_is_beyond = Greater ({branch}_row_masses, {branch}_within_threshold)",
        f"{branch}_row_beyond = Cast <to = 6> ({branch}_row_is_beyond)",
        f"{branch}_row = ArgMax <axis = 1, keepdims = 1> ({branch}_row_beyond)",
        f"{branch}_row_first = Mul ({branch}_row, grid_columns)",
        f"{branch}_sampled = Add ({branch}_row_first, {branch}_column)",
        f"{branch}_id = Add ({branch}_sampled, forced_id)",
    ]


def draw_constants(V: int) -> dict[str, NDArray[np.generic]]:
    """Returns the constants that ``draw`` needs only if V ids are arranged in columns."""
    if V <= MAX_FLAT_DRAW:
        return {}
    rows = -(-V // DRAW_COLUMNS)
    return {
        "grid_padding": np.array([0, 0, 0, rows * DRAW_COLUMNS - V], np.int64),
        "grid_shape": np.array([-1, rows, DRAW_COLUMNS], np.int64),
        "grid_columns": np.array(DRAW_COLUMNS, np.int64),
        "column_shape": np.array([1, rows, 1], np.int64),
        "last_row": np.array(-1, np.int64),
        "below_one": np.array(1 - 2**-23, np.float32),
    }


def _beyond(branch: str, cumulative: str, found: str) -> list[str]:
    """Returns the lines that define ``{branch}_{found}``: the first place where ``{cumulative}`` exceeds the draw."""
    return [
        f"{branch}_total = Gather <axis = 1> ({branch}_{cumulative}, last)",
        f"{branch}_threshold = Mul (draw, {branch}_total)",
        f"{branch}_is_beyond = Greater ({branch}_{cumulative}, {branch}_threshold)",
        f"{branch}_beyond = Cast <to = 6> ({branch}_is_beyond)",
        f"{branch}_{found} = ArgMax <axis = 1, keepdims = 1> ({branch}_beyond)",
    ]
