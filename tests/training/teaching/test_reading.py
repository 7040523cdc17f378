"""A teacher's reading: the distribution at each place is that of the next id after its own document's context."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Ids
from nextchar_model.batch import SamplingSettings
from nextchar_model.runner import Runner
from nextchar_training.data.distributions import CODES_PER_NAT, DistributionFile, DistributionWriter, Form
from nextchar_training.teaching import reading, stretches
from nextchar_training.teaching.reading import Reading
from tests.support.tiny_model import TinyModel, make_text


def documents(tiny: TinyModel, words: Sequence[int]) -> Ids:
    parts = [tiny.alphabet.encode(make_text(count, seed)) for seed, count in enumerate(words)]
    return np.concatenate([np.append(part, BOUNDARY) for part in parts])


def read(teacher: Runner, ids: Ids, path: Path, threads: int) -> NDArray[np.uint8]:
    """The codes that a teacher's reading leaves, [places, V]."""
    form = Form(teacher.description.alphabet.size)
    with DistributionWriter(path, form, len(ids)) as writer:
        assert Reading(teacher, form, writer).read(ids, lambda fraction: None, threads) == pytest.approx(1)
    return DistributionFile(path, form).read([0], len(ids)).codes[:, 0]


def one_by_one(teacher: Runner, document: Ids) -> NDArray[np.float32]:
    """The log-probabilities before each id of a document, read alone from state zero, [ids, V]."""
    V = teacher.description.alphabet.size
    batch = teacher.start([SamplingSettings()])
    steps = teacher.advance(batch, document[:, None], np.zeros((len(document), 1), np.float32), alternatives=V)
    logprobs = np.empty((len(document), V), np.float32)
    np.put_along_axis(logprobs, steps.top_ids[:, 0], steps.top_logprobs[:, 0], axis=1)
    return logprobs


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_each_place_has_the_distribution_of_its_id_in_its_document(
    tiny: TinyModel, tmp_path: Path, precision: str
) -> None:
    teacher = Runner(getattr(tiny, precision))
    ids = documents(tiny, [1, 30, 2, 0, 80, 5, 5, 300])
    codes = read(teacher, ids, tmp_path / "file", threads=2)
    begin = 0
    for end in (np.flatnonzero(ids == BOUNDARY) + 1).tolist():
        expected = one_by_one(teacher, ids[begin:end])
        off = np.abs(codes[begin:end] / -CODES_PER_NAT - np.maximum(expected, -255 / CODES_PER_NAT))
        assert off.max() <= 0.5 / CODES_PER_NAT + 1e-5
        begin = end


def test_the_bytes_are_the_same_for_any_number_of_threads_and_ids_at_a_time(
    tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Runner(tiny.fp32)
    monkeypatch.setattr(stretches, "LONGEST", 100)
    ids = documents(tiny, [40, 3, 200, 7] * 5)
    whole = read(teacher, ids, tmp_path / "whole", threads=1)
    monkeypatch.setattr(reading, "_VALUES", 500)
    assert (read(teacher, ids, tmp_path / "pieces", threads=3) == whole).all()


def test_a_long_document_is_read_on_with_context(
    tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = Runner(tiny.fp32)
    ids = documents(tiny, [300])
    expected = one_by_one(teacher, ids)
    off = []
    for context in (0, 200):
        monkeypatch.setattr(stretches, "LONGEST", 128)
        monkeypatch.setattr(stretches, "CONTEXT", context)
        codes = read(teacher, ids, tmp_path / str(context), threads=1)
        off.append(np.abs(codes / -CODES_PER_NAT - np.maximum(expected, -255 / CODES_PER_NAT)).max())
    assert off[0] > 0.1
    assert off[1] <= 0.5 / CODES_PER_NAT + 0.01


def test_an_error_of_a_thread_ends_the_reading(tiny: TinyModel, tmp_path: Path) -> None:
    teacher = Runner(tiny.fp32)
    form = Form(tiny.alphabet.size)
    ids = np.full(300, tiny.alphabet.size)  # no id of the alphabet
    with (
        pytest.raises(Exception, match="Out of range value in index tensor"),
        DistributionWriter(tmp_path / "file", form, len(ids)) as writer,
    ):
        Reading(teacher, form, writer).read(ids, lambda fraction: None, 2)
