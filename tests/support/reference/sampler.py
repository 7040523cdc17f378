"""The sampler in NumPy, as one would explain it: a reference for the one inside the graph."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from nextchar_model.batch import SamplingSettings

LAST_DRAW = 1 - 2**-24
"""The largest possible random number."""


def distribution(
    log_probabilities: NDArray[np.floating], settings: SamplingSettings, forbidden: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Returns the unnormalized probabilities [V] that ``settings`` sample from, given a row's log-probabilities [V]."""
    scores: NDArray[np.float64] = np.asarray(log_probabilities, np.float64)
    if settings.bias is not None:
        scores = scores + settings.bias
    if forbidden is not None:
        scores = np.where(forbidden, -np.inf, scores)
    order = np.argsort(-scores, kind="stable")  # likeliest first, equals by id
    if settings.temperature == 0:
        return np.asarray(np.arange(len(scores)) == order[0], np.float64)
    weights = np.exp((scores - scores.max()) / settings.temperature)
    probabilities = weights / weights.sum()
    kept = probabilities >= settings.min_p * probabilities.max()
    if settings.top_k:
        kept[order[settings.top_k :]] = False
    probabilities = np.where(kept, probabilities, 0.0)
    if settings.top_p < 1:
        sums = np.cumsum(probabilities[order])
        needed = int(np.searchsorted(sums, settings.top_p * sums[-1])) + 1  # the fewest ids that reach top_p
        probabilities[order[needed:]] = 0.0
    return probabilities


def inverse(probabilities: NDArray[np.float64], draw: float) -> int:
    """Returns the first id at which the cumulative distribution exceeds ``draw``.

    Ids are added up in ascending order; more than 1,024 of them are added up column by column, in 128 columns.
    """
    order = _order(len(probabilities))
    cumulative = np.cumsum(probabilities[order])
    return int(order[np.searchsorted(cumulative, draw * cumulative[-1], side="right")])


@cache
def _order(V: int) -> NDArray[np.int64]:
    columns = 1 if V <= 1024 else 128
    return np.array([id_ for column in range(columns) for id_ in range(column, V, columns)])
