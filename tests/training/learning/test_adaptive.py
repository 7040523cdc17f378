"""Dynamic evaluation of a model on a text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from nextchar_model.adaptation import Adaptive
from nextchar_model.alphabet import Alphabet, Ids, Spelling
from nextchar_training.learning.adaptive import adaptive_loss

ALPHABET = Alphabet(("a", "b", "c"))


class Uniform:
    """A scorer for which every id is as likely; its state is the number of ids that it has read."""

    def initial_state(self, batch: int) -> int:
        return 0

    def score(self, last_id: Ids, ids: NDArray[np.int64], state: int) -> tuple[NDArray[np.float32], int]:
        return np.full(ids.shape, -math.log(4), np.float32), state + len(ids)


def spelled(*texts: str) -> Sequence[Spelling]:
    return [ALPHABET.spell(text) for text in texts]


def test_the_loss_is_that_of_the_mixture_read_from_document_to_document() -> None:
    texts = ["abcabcabcabc" * 100, "abcab"]
    mixture, nats = Adaptive(4), 0.0
    for document in spelled(*texts):
        mixture.begin()
        nats -= sum(mixture.logprob(chr(one), float(np.float32(-math.log(4)))) for one in document.ids)
    assert adaptive_loss(Uniform(), spelled(*texts), ALPHABET) == pytest.approx(nats / sum(map(len, texts)))


def test_a_text_that_was_learnt_first_lowers_the_loss() -> None:
    text = spelled("abcabcab")
    assert adaptive_loss(Uniform(), text, ALPHABET, spelled("abc" * 50)) < adaptive_loss(Uniform(), text, ALPHABET) / 2


def test_progress_ends_with_one() -> None:
    fractions: list[float] = []
    adaptive_loss(Uniform(), spelled("abc", "ab"), ALPHABET, (), fractions.append)
    assert fractions == [0.6, 1.0]
