"""The stretches of a text: they cover it once, and each begins with its document or with its context."""

from __future__ import annotations

import numpy as np
import pytest

from nextchar_model.alphabet import BOUNDARY, Ids
from nextchar_training.teaching import stretches
from nextchar_training.teaching.stretches import Stretch, batches


def text(length: int, document: int | None) -> Ids:
    """Random ids, in documents of about ``document`` ids."""
    random = np.random.default_rng(length)
    ids = random.integers(1, 9, length)
    if document is not None:
        ids[random.random(length) < 1 / document] = BOUNDARY
    return ids


def all_of(ids: Ids) -> list[Stretch]:
    return [stretch for batch in batches(ids) for stretch in batch]


def begin_of(ids: Ids, kept: int) -> int:
    """The place from which a teacher reads for a stretch that keeps from ``kept`` on."""
    for place in range(kept, max(kept - stretches.CONTEXT, 0) - 1, -1):
        if place == 0 or ids[place - 1] == BOUNDARY:
            return place
    return max(kept - stretches.CONTEXT, 0)


@pytest.mark.parametrize("document", [None, 3, 40, 500])
@pytest.mark.parametrize("length", [1, 40, 41, 999, 3000])
def test_stretches_cover_the_text_once_and_begin_with_their_context(
    length: int, document: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, small in (("LONGEST", 32), ("CONTEXT", 7), ("_BLOCK", 320), ("_ROWS", 4)):
        monkeypatch.setattr(stretches, name, small)
    ids = text(length, document)
    places: list[int] = []
    for batch in batches(ids):
        assert len(batch) <= 4
        for stretch in batch:
            begin = begin_of(ids, stretch.place)
            assert stretch.place - stretch.skipped == begin
            assert (stretch.ids == ids[begin : begin + len(stretch.ids)]).all()
            assert stretch.before == (BOUNDARY if begin == 0 else ids[begin - 1])
            kept = stretch.ids[stretch.skipped :]
            assert 0 < len(kept) <= 32
            assert BOUNDARY not in kept[:-1].tolist()  # nobody reads past the end of a document
            places += range(stretch.place, stretch.place + len(kept))
    assert sorted(places) == list(range(length))


def test_a_document_that_fits_is_read_whole_from_its_beginning() -> None:
    ids = np.concatenate([np.full(4095, 1), [BOUNDARY], np.full(100, 2), [BOUNDARY]])
    first, second = sorted(all_of(ids), key=lambda stretch: stretch.place)
    assert (first.before, first.skipped, first.place, len(first.ids)) == (BOUNDARY, 0, 0, 4096)
    assert (second.before, second.skipped, second.place, len(second.ids)) == (BOUNDARY, 0, 4096, 101)


def test_stretches_of_similar_length_are_read_side_by_side() -> None:
    for batch in batches(text(20_000, 50)):
        lengths = [len(stretch.ids) for stretch in batch]
        assert lengths == sorted(lengths, reverse=True)
