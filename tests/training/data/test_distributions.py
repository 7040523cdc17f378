"""Teachers' distributions on disk: the error of their form, and the file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nextchar_training.data.distributions import CODES_PER_NAT, DistributionFile, DistributionWriter, Form
from nextchar_training.data.rules import DatasetError

ROUNDING = 1 / 2048  # nats
UNTOLD = 1.2e-7  # nats per id


def distributions(V: int, count: int, sharpness: float) -> NDArray[np.float32]:
    """Random log-probabilities, [count, V]."""
    logits = np.random.default_rng(V).normal(0, sharpness, (count, V))
    return (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)


def kept(form: Form, logprobs: NDArray[np.float32]) -> NDArray[np.float64]:
    """The distributions [count, V] that are read after ``logprobs`` [count, V] were written."""
    order = np.argsort(-logprobs, axis=1)[:, : form.listed]
    content = form.encode(order, np.take_along_axis(logprobs, order, axis=1))
    assert content.shape == (len(logprobs), form.size)
    codes, rest, ids = form.decode(content[None])
    weights = np.exp(codes[0] / -CODES_PER_NAT)
    if rest is None or ids is None:
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))
    others = form.alphabet_size - form.listed
    spread = np.exp(rest[0, :, None] / -CODES_PER_NAT) / others
    whole = np.repeat(spread, form.alphabet_size, axis=1)
    np.put_along_axis(whole, ids[0], weights, axis=1)
    return np.asarray(whole / whole.sum(axis=1, keepdims=True))


def divergence(logprobs: NDArray[np.float32], read: NDArray[np.float64]) -> NDArray[np.float64]:
    p = np.exp(logprobs.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    return np.asarray((p * (np.log(p) - np.log(read))).sum(axis=1))


@pytest.mark.parametrize("sharpness", [0.01, 1.0, 3.0, 10.0, 50.0])
@pytest.mark.parametrize("V", [2, 66, 257])
def test_a_distribution_over_a_small_alphabet_is_kept_within_the_bound(V: int, sharpness: float) -> None:
    logprobs = distributions(V, 500, sharpness)
    error = divergence(logprobs, kept(Form(V), logprobs))
    assert error.min() > -1e-9
    assert error.max() <= ROUNDING + UNTOLD * V
    above = logprobs > -15.9
    assert np.abs(np.log(kept(Form(V), logprobs))[above] - logprobs[above]).max() <= 2 / 32 + UNTOLD * V


@pytest.mark.parametrize("sharpness", [0.01, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("V", [258, 3000, 70_000])
def test_a_distribution_over_a_large_alphabet_is_kept_within_the_bound(V: int, sharpness: float) -> None:
    form = Form(V)
    logprobs = distributions(V, 20, sharpness)
    rest = np.exp(np.sort(logprobs.astype(np.float64))[:, : V - form.listed]).sum(axis=1)
    error = divergence(logprobs, kept(form, logprobs))
    assert (error <= ROUNDING + UNTOLD * V + rest * math.log(V - form.listed)).all()
    # The mass of the rest is kept, so nothing is taught too often or too seldom.
    others = np.argsort(-logprobs, axis=1)[:, form.listed :]
    mass = np.take_along_axis(kept(form, logprobs), others, axis=1).sum(axis=1)
    assert np.abs(np.log(mass / np.maximum(rest, UNTOLD))).max() < 0.1


def test_a_place_takes_at_most_257_bytes() -> None:
    assert [Form(V).size for V in (2, 66, 257, 258, 2**16, 70_000)] == [2, 66, 257, 193, 193, 321]


def test_what_was_written_in_any_order_is_read_at_its_places(tmp_path: Path) -> None:
    form = Form(5)
    content = np.random.default_rng(0).integers(0, 256, (90, form.size), dtype=np.uint8)
    with DistributionWriter(tmp_path / "file", form, len(content)) as writer:
        for begin in (60, 0, 30):
            writer.write(begin, content[begin : begin + 30])
    file = DistributionFile(tmp_path / "file", form)
    assert len(file) == 90
    assert file.bytes == (tmp_path / "file").stat().st_size
    codes, rest, ids = file.read([3, 80, 0], 10)
    assert rest is None
    assert ids is None
    assert (codes == np.stack([content[3:13], content[80:90], content[:10]], axis=1)).all()


def test_a_file_that_is_cut_off_damaged_or_of_another_alphabet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with DistributionWriter(path, Form(5), 10) as writer:
        writer.write(0, np.zeros((10, 5), np.uint8))
    with pytest.raises(DatasetError, match="of another alphabet"):
        DistributionFile(path, Form(6))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetError, match="cut off"):
        DistributionFile(path, Form(5))
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DatasetError, match="damaged"):
        DistributionFile(path, Form(5))
