"""The order in which a training reads its text, compared with a naive implementation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count, islice

import numpy as np
import pytest
import torch

from nextchar_model.alphabet import BOUNDARY, Alphabet, Ids
from nextchar_model.decoder import continuing
from nextchar_training.data.batches import Batches, Minibatch, TextTooShortError

LINE_END = 1


def naive(ids: Ids, line_end: int | None, B: int, T: int, seed: int) -> Iterator[tuple[Ids, Ids, list[bool]]]:
    """Inputs and targets, [T, B], of each step, and the streams that begin: one stream and one place at a time."""
    random = np.random.default_rng(seed)
    rounds = math.ceil(len(ids) // (B * T) / 256)
    steps = len(ids) // (B * T) // rounds  # of a passage

    def starts_of(ends: list[int]) -> list[int]:
        return [place + 1 for place in range(len(ids) - 1) if ids[place] in ends]

    documents, lines = starts_of([BOUNDARY]), [0, *starts_of([] if line_end is None else [line_end])]

    def passages() -> Iterator[int]:
        while True:
            length = steps * T
            offset = random.integers(len(ids) - rounds * B * length + 1)
            for number in random.permutation(rounds * B):
                start = int(offset + number * length)
                # If a document, or else a line, begins less than T ids before, the passage begins there.
                near = [
                    max((one for one in places if start - T < one <= start), default=None)
                    for places in (documents, lines)
                ]
                yield next((one for one in near if one is not None), start)

    next_passage = passages()
    left, place, last = [0] * B, [0] * B, [BOUNDARY] * B
    for step in count():
        begins = [one == 0 for one in left]
        for stream in range(B):
            if begins[stream]:
                place[stream], last[stream] = next(next_passage), BOUNDARY
                left[stream] = 1 + stream * steps // B if step == 0 else steps
        targets = np.array([[ids[place[stream] + t] for stream in range(B)] for t in range(T)])
        inputs = np.array([last, *targets[:-1].tolist()])
        yield inputs, targets, begins
        last = targets[-1].tolist()
        place = [one + T for one in place]
        left = [one - 1 for one in left]


def assert_same(batch: Minibatch, expected: tuple[Ids, Ids, list[bool]]) -> None:
    inputs, targets, begins = expected
    assert batch.inputs.tolist() == inputs.tolist()
    assert batch.targets.tolist() == targets.tolist()
    assert batch.begins[:, 0].tolist() == begins


@pytest.mark.parametrize(
    ("length", "B", "T", "line_end", "least"),
    [
        (40, 4, 8, LINE_END, 1),  # an epoch is one step
        (300, 4, 8, None, 1),
        (300, 4, 8, LINE_END, 1),
        (300, 3, 2, LINE_END, 0),  # with documents
        (2500, 2, 2, LINE_END, 0),  # several rounds of passages per epoch
    ],
)
def test_batches_equal_the_naive_ones(length: int, B: int, T: int, line_end: int | None, least: int) -> None:
    ids = np.random.default_rng(length).integers(least, 12, length)
    batches = Batches(ids, line_end, batch_size=B, sequence_length=T, seed=3)
    steps = min(3 * batches.steps_per_epoch, 900)
    for expected in islice(naive(ids, line_end, B, T, 3), steps):
        assert_same(next(batches), expected)


@pytest.mark.parametrize("skipped", [(0,), (1,), (7, 0, 30), (150,), (1000, 77)])
def test_batches_continue_after_skipped_ones(skipped: tuple[int, ...]) -> None:
    ids = np.random.default_rng(2).integers(0, 12, 700)
    whole = Batches(ids, LINE_END, batch_size=3, sequence_length=4, seed=5)
    expected = [next(whole) for _ in range(sum(skipped) + 40)]
    batches = Batches(ids, LINE_END, batch_size=3, sequence_length=4, seed=5)
    place = 0
    for some in skipped:
        batches.skip(some)
        place += some
        assert torch.equal(next(batches).inputs, expected[place].inputs)
        place += 1
    for batch in expected[place : place + 20]:
        given = next(batches)
        assert torch.equal(given.inputs, batch.inputs)
        assert torch.equal(given.targets, batch.targets)
        assert torch.equal(given.begins, batch.begins)


def test_a_batch_says_where_its_targets_stand() -> None:
    ids = np.random.default_rng(4).integers(0, 12, 700)
    batches = Batches(ids, LINE_END, batch_size=3, sequence_length=4, seed=5)
    for batch in (next(batches) for _ in range(300)):
        for stream, place in enumerate(batch.places.tolist()):
            assert batch.targets[:, stream].tolist() == ids[place : place + 4].tolist()


def test_passages_begin_with_a_whole_character() -> None:
    text = "한글은 값진 것 각각 닭과 흙을 " * 200  # without lines
    alphabet = Alphabet.of(text, "jamo")
    inside = continuing(alphabet)
    ids = alphabet.encode(text)
    begun = []
    for given in (inside, None):
        batches = Batches(ids, None, batch_size=8, sequence_length=4, seed=1, continuing=given)
        firsts = [batch.targets[0][batch.begins[:, 0]] for batch in (next(batches) for _ in range(1500))]
        begun.append(inside[torch.cat(firsts).numpy()])
    assert len(begun[0]) > 50
    assert not begun[0].any()
    assert begun[1].any()  # without the array they don't


def test_text_shorter_than_one_batch_is_refused() -> None:
    with pytest.raises(TextTooShortError, match=r"has 7 ids, fewer than one batch of 2 x 4 = 8: give more text"):
        Batches(np.ones(7, dtype=np.int64), None, batch_size=2, sequence_length=4, seed=1)
