"""The sampler in NumPy, as one would explain it: the reference for the one inside the graph."""

import numpy as np
from numpy.typing import NDArray

from nextchar_model.batch import SamplingSettings


def distribution(
    log_probabilities: NDArray[np.floating], settings: SamplingSettings, forbidden: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """The probabilities [V] from which ``settings`` sample, not normalized, given a row's log-probabilities [V]."""
    scores = np.asarray(log_probabilities, np.float64)
    if settings.bias is not None:
        scores = scores + settings.bias
    if forbidden is not None:
        scores = np.where(forbidden, -np.inf, scores)
    order = np.argsort(-scores, kind="stable")  # likeliest first; of equals, the lower id
    if settings.temperature == 0:
        return (np.arange(len(scores)) == order[0]).astype(np.float64)
    weights = np.exp((scores - scores.max()) / settings.temperature)
    probabilities = weights / weights.sum()
    kept = probabilities >= settings.min_p * probabilities.max()
    if settings.top_k:
        kept[order[settings.top_k :]] = False
    probabilities = np.where(kept, probabilities, 0.0)
    if settings.top_p < 1:
        sums = np.cumsum(probabilities[order])
        needed = int(np.searchsorted(sums, settings.top_p * sums[-1])) + 1  # the fewest that reach top_p
        probabilities[order[needed:]] = 0.0
    return probabilities


def inverse(probabilities: NDArray[np.float64], draw: float) -> int:
    """The first id at which the cumulative distribution passes ``draw``.

    Ids count up; those of more than 1,024 stand in 128 columns, which are passed one after another.
    """
    V = len(probabilities)
    order = list(range(V)) if V <= 1024 else [id_ for column in range(128) for id_ in range(column, V, 128)]
    cumulative = np.cumsum(probabilities[order])
    return order[int(np.searchsorted(cumulative, draw * cumulative[-1], side="right"))]
