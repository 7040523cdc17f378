"""The truncation: the ids that ``top_k``, ``top_p`` and ``min_p`` leave to each row, in ONNX text.

``graph`` puts these lines into the branch of rows that ask for it. The ids that stay are the likeliest ones: by their
probability and, among equals, by their place in the alphabet. Those of ``top_p`` are the fewest whose mass reaches that
part of the mass that ``top_k`` and ``min_p`` leave (nucleus sampling, Holtzman et al. 2020, arXiv 1904.09751).

There are two ways to the same ids. ``_sorted`` sorts the likeliest ones. ``_searched`` looks for the least probability
that stays: it halves an interval until few ids are in it, takes the likeliest one or two of them, and proves with exact
masses that they are the right ones. Sorting costs 2.6 µs per row of 66 ids; searching, the same few operations for all
rows together. If the proof fails, because ids at the edge are equally likely or too close, all rows are sorted.

Invariant: both ways keep the same ids, so a row doesn't depend on its batch. A mass is a sum of multiples of 2⁻⁵²,
which float64 adds without rounding, so it doesn't depend on the order of the addition.

Shapes: B rows, V ids.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nextchar_model.draws import MAX_FLAT_DRAW

_NOTHING = 2.0**-29
"""Most that a probability may be to count as nothing in a mass. Float32 above it are multiples of 2⁻⁵²."""

_ONE = 1e20
"""Stands for 1 in the search: so large that the least difference exceeds any factor by which the scale changes."""

_MARGIN = 0.99
"""Factor by which the interval is wider than it has to be, so that no rounding takes its ends away."""

_FEW = 128
"""Ids of an alphabet for which the fewest halvings suffice."""

_SEARCHED_VALUES = 1024
"""Probabilities of all rows together from which searching is cheaper than sorting."""


def truncation_begin(V: int) -> list[str]:
    """Returns the lines in front of the steps: they decide once per call how rows are truncated."""
    return [
        "wants_k = Greater (top_k, no_id)",
        "wants_p = Less (top_p, one)",
        "wants_m = Greater (min_p, zero)",
        "wants_k_or_p = Or (wants_k, wants_p)",
        "wants_truncation = Or (wants_k_or_p, wants_m)",
        "truncates = ReduceMax <keepdims = 0> (wants_truncation)",
        "any_k = ReduceMax <keepdims = 0> (wants_k)",
        "any_p = ReduceMax <keepdims = 0> (wants_p)",
        "any_m = ReduceMax <keepdims = 0> (wants_m)",
        "k = Where (wants_k, top_k, alphabet_size)",
        "limit_k = Unsqueeze (k, axis_1)",
        "largest_k = ReduceMax <keepdims = 1> (k)",
        "most_k = Min (largest_k, whole_alphabet)",
        # Its product with a mass is above 0, so the likeliest id always stays.
        "positive_top_p = Max (top_p, smallest)",
        "limit_p = Unsqueeze (positive_top_p, axis_1)",
        "exact_limit_p = Cast <to = 11> (limit_p)",
        "is_whole = GreaterOrEqual (limit_p, one)",
        "limit_m = Unsqueeze (min_p, axis_1)",
        "row_count = Size (top_k)",
        "float_row_count = Cast <to = 1> (row_count)",
        "is_small = Less (float_row_count, searched_rows)",
        "sorts_p = And (any_p, is_small)",
        "sorts = Or (any_k, sorts_p)",
        "does_not_sort = Not (sorts)",
        "searches = And (any_p, does_not_sort)",
        # The interval of the search has the least probability that stays, of all rows: it is between 1 and the part of
        # the mass that is left out, divided by V. ``up`` and ``down`` are the factors of the scale 1 / threshold.
        "rest_p = Sub (one, limit_p)",
        "rest_or_one = Where (is_whole, one, rest_p)",
        "least_rest_p = ReduceMin <keepdims = 0> (rest_or_one)",
        "least_share = Div (least_rest_p, alphabet_length)",
        "smallest_limit_p = ReduceMin <keepdims = 0> (limit_p)",
        "least_limit_p = Mul (smallest_limit_p, margin)",
        "least_product = Mul (least_share, least_limit_p)",
        "ratio = Reciprocal (least_product)",
        "middle = Sqrt (ratio)",
        "scale_middle = Mul (middle, least_limit_p)",
        "scale_begin = Mul (scale_middle, magnitude_of_one)",
        "is_part = Not (is_whole)",
        "part_mask = Cast <to = 1> (is_part)",
        "down_n0 = Sqrt (middle)",
        "up_n0 = Reciprocal (down_n0)",
        *(
            line
            for n in range(1, _halvings(V))
            for line in (f"down_n{n} = Sqrt (down_n{n - 1})", f"up_n{n} = Sqrt (up_n{n - 1})")
        ),
    ]


def truncated(name: str, probabilities: str, V: int) -> list[str]:
    """Returns the lines that define ``name``: ``probabilities``, and 0 for the ids that don't stay."""
    return [
        f"{name} = If (searches) <",
        f"  then_branch = by_searching () => (float[B, {V}] found) {{",
        "    candidates = If (any_m) <",
        f"      then_branch = likely () => (float[B, {V}] likely_ones) {{",
        *_deeper(_above_least("likely_ones", probabilities), 8),
        "      },",
        f"      else_branch = all () => (float[B, {V}] all_ones) {{ all_ones = Identity ({probabilities}) }}",
        "    >",
        *_deeper(_searched("found", probabilities, V)),
        "  },",
        f"  else_branch = otherwise () => (float[B, {V}] kept_ones) {{",
        "    kept_ones = If (sorts) <",
        f"      then_branch = by_sorting () => (float[B, {V}] first_ones) {{",
        *_deeper(_sorted("first_ones", probabilities, "most_k"), 8),
        "      },",
        f"      else_branch = by_least () => (float[B, {V}] not_unlikely) {{",
        *_deeper(_above_least("not_unlikely", probabilities), 8),
        "      }",
        "    >",
        "  }",
        ">",
    ]


def truncation_constants(V: int) -> dict[str, NDArray[np.generic]]:
    """Returns the constants that the lines need."""
    return {
        "smallest": np.array(1e-30, np.float32),
        "alphabet_length": np.array(V, np.float32),
        "alphabet_size": np.array(V, np.int64),
        "whole_alphabet": np.array([V], np.int64),
        "ranks": np.arange(V, dtype=np.int64),
        "margin": np.array(_MARGIN, np.float32),
        "magnitude_of_one": np.array(_ONE, np.float32),
        "searched_rows": np.array(_SEARCHED_VALUES / V, np.float32),
    }


def _halvings(V: int) -> int:
    """Returns how often the interval is halved: more often in a larger alphabet, whose probabilities are closer."""
    return 10 if V <= _FEW else 14 if V <= MAX_FLAT_DRAW else 18


def _sorted(name: str, probabilities: str, count: str) -> list[str]:
    """Returns the lines that define ``name`` by sorting the ``count`` likeliest ids."""
    return [
        f"likeliest, order = TopK <axis = -1> ({probabilities}, {count})",
        "likeliest_one = Gather <axis = 1> (likeliest, first)",
        "sorted_least = Mul (limit_m, likeliest_one)",
        "in_m = GreaterOrEqual (likeliest, sorted_least)",
        f"rank = Slice (ranks, first, {count})",
        "in_k = Less (rank, limit_k)",
        "in_m_and_k = And (in_m, in_k)",
        "kept = Where (in_m_and_k, likeliest, zero)",
        *_weights("sorted_weights", "kept"),
        "sorted_mass = ReduceSum <keepdims = 1> (sorted_weights, axis_1)",
        "sorted_limit = Mul (exact_limit_p, sorted_mass)",
        "mass_before = CumSum <exclusive = 1> (sorted_weights, cumulative_axis)",
        "in_mass = Less (mass_before, sorted_limit)",
        "in_p = Or (in_mass, is_whole)",
        "sorted_probabilities = Where (in_p, kept, zero)",
        f"none = Sub ({probabilities}, {probabilities})",
        f"{name} = ScatterElements <axis = 1> (none, order, sorted_probabilities)",
    ]


def _above_least(name: str, probabilities: str) -> list[str]:
    """Returns the lines that define ``name``: those of ``probabilities`` that ``min_p`` leaves."""
    return [
        f"{name}_highest = ReduceMax <keepdims = 1> ({probabilities}, axis_1)",
        f"{name}_least = Mul (limit_m, {name}_highest)",
        f"{name}_stay = GreaterOrEqual ({probabilities}, {name}_least)",
        f"{name}_mask = Cast <to = 1> ({name}_stay)",
        f"{name} = Mul ({probabilities}, {name}_mask)",
    ]


def _searched(name: str, probabilities: str, V: int) -> list[str]:
    """Returns the lines that define ``name`` by searching for the least of ``candidates`` that stays."""
    last = _halvings(V) - 1
    return [
        *_weights("weights", "candidates"),
        "whole_mass = ReduceSum <keepdims = 1> (weights, axis_1)",
        "limit_mass = Mul (exact_limit_p, whole_mass)",
        "rough_limit = Cast <to = 1> (limit_mass)",
        "unit = Reciprocal (rough_limit)",
        "shares = Mul (candidates, unit)",
        *(line for n in range(last + 1) for line in _halved(n)),
        # All above the interval's upper end stay. Below, the likeliest one or two.
        f"scale_end = Mul (scale_n{last}, up_n{last})",
        "scale_of_probability = Mul (unit, scale_end)",
        "upper_end = Div (magnitude_of_one, scale_of_probability)",
        "is_certain = Greater (candidates, upper_end)",
        "certain_mask = Cast <to = 1> (is_certain)",
        "certain = Mul (candidates, certain_mask)",
        "open = Sub (candidates, certain)",
        "next_one = ReduceMax <keepdims = 1> (open, axis_1)",
        "is_after = Less (open, next_one)",
        "after_mask = Cast <to = 1> (is_after)",
        "after = Mul (open, after_mask)",
        "next_two = ReduceMax <keepdims = 1> (after, axis_1)",
        "certain_mass = ReduceSum <keepdims = 1> (certain, axis_1)",
        "mass_of_one = Add (certain_mass, next_one)",
        "one_is_enough = GreaterOrEqual (mass_of_one, rough_limit)",
        "one_mask = Cast <to = 1> (one_is_enough)",
        "one_or_none = Mul (next_one, one_mask)",
        "least_of_mass = Max (one_or_none, next_two)",
        "least_kept = Mul (least_of_mass, part_mask)",
        "stays = GreaterOrEqual (candidates, least_kept)",
        "stays_mask = Cast <to = 1> (stays)",
        "staying = Mul (candidates, stays_mask)",
        # The proof: their mass reaches the limit, and without the least of them it wouldn't.
        *_weights("staying_weights", "staying"),
        "staying_mass = ReduceSum <keepdims = 1> (staying_weights, axis_1)",
        *_weights("least_weight", "least_kept"),
        "mass_without = Sub (staying_mass, least_weight)",
        "suffices = GreaterOrEqual (staying_mass, limit_mass)",
        "is_needed = Less (mass_without, limit_mass)",
        "is_right = And (suffices, is_needed)",
        "is_proved = Or (is_right, is_whole)",
        "all_proved = ReduceMin <keepdims = 0> (is_proved)",
        f"{name} = If (all_proved) <",
        f"  then_branch = proved () => (float[B, {V}] proved_ones) {{ proved_ones = Identity (staying) }},",
        f"  else_branch = doubtful () => (float[B, {V}] sorted_ones) {{",
        *_deeper(_sorted("sorted_ones", probabilities, "whole_alphabet")),
        "  }",
        ">",
    ]


def _halved(n: int) -> list[str]:
    """Returns the lines that halve the interval.

    The shares of the mass that is to be reached are multiplied by a scale so that the threshold becomes ``_ONE``. Then
    the mass above it is at least 1 if it is at least the scale.
    """
    scale = f"scale_n{n - 1}" if n else "scale_begin"
    return [
        f"scaled_n{n} = Mul (shares, {scale})",
        f"above_n{n} = ThresholdedRelu <alpha = {_ONE}> (scaled_n{n})",
        f"mass_n{n} = ReduceSum <keepdims = 1> (above_n{n}, axis_1)",
        f"lack_n{n} = Sub ({scale}, mass_n{n})",
        f"change_n{n} = Clip (lack_n{n}, up_n{n}, down_n{n})",
        f"scale_n{n} = Mul ({scale}, change_n{n})",
    ]


def _weights(name: str, probabilities: str) -> list[str]:
    """Returns the lines that define ``name``: ``probabilities`` as they count in a mass."""
    return [
        f"{name}_rough = ThresholdedRelu <alpha = {_NOTHING}> ({probabilities})",
        f"{name} = Cast <to = 11> ({name}_rough)",
    ]


def _deeper(lines: list[str], spaces: int = 4) -> list[str]:
    return [" " * spaces + line for line in lines]
