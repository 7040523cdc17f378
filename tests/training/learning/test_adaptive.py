"""Dynamic evaluation of a model on a text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from nextchar_model.adaptation import Adaptive
from nextchar_model.alphabet import Alphabet, Ids, Spelling
from nextchar_training.learning.adaptive import dynamic_losses, mixture

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
    reference, nats = Adaptive(4), 0.0
    for document in spelled(*texts):
        reference.begin()
        nats -= sum(reference.logprob(chr(one), float(np.float32(-math.log(4)))) for one in document.ids)
    losses = dynamic_losses(Uniform(), spelled(*texts), mixture(ALPHABET))
    assert losses.mixed == pytest.approx(nats / sum(map(len, texts)))
    assert losses.network == pytest.approx(math.log(4))


def test_without_a_mixture_there_is_no_loss_of_one() -> None:
    losses = dynamic_losses(Uniform(), spelled("abc", "ab"))
    assert losses.network == pytest.approx(math.log(4))
    assert losses.mixed is None


def test_a_text_that_was_learnt_first_lowers_the_loss() -> None:
    text = spelled("abcabcab")
    learned, new = (
        dynamic_losses(Uniform(), text, mixture(ALPHABET, first)).mixed for first in (spelled("abc" * 50), [])
    )
    assert learned is not None
    assert new is not None
    assert learned < new / 2


def test_progress_ends_with_one() -> None:
    fractions: list[float] = []
    dynamic_losses(Uniform(), spelled("abc", "ab"), progress=fractions.append)
    assert fractions == [0.6, 1.0]
