"""The total of log-probabilities: exact, and the same in any parts and order."""

import math

import numpy as np

from nextchar_server.text.total import Total


def test_a_total_is_the_exact_sum_rounded_once_whatever_the_parts() -> None:
    random = np.random.default_rng(0)
    values = -(random.exponential(size=10_001) ** 5).astype(np.float32)
    values[:100] *= np.float32(1e-35)
    values[100:103] = [0.0, -0.0, -1e-45]
    for parts in (1, 7, 500):
        total = Total()
        for part in np.array_split(random.permutation(values), parts):
            total.add(part)
        assert total.nats == math.fsum(values.tolist())


def test_the_total_of_nothing_is_zero() -> None:
    assert Total().nats == 0.0
