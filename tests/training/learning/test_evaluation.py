import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Ids, Spelling
from nextchar_training.learning.evaluation import (
    WINDOW,
    NetworkScorer,
    bits,
    evaluate,
    spread,
    stateful_loss,
    windows,
    windows_loss,
)
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture

V = 6
TEXT: Ids = np.random.default_rng(3).integers(
    1, V, size=5 * WINDOW + 17
)  # more than a chunk, and a shorter last window


def spelled(ids: Ids, lengths: Ids | None = None) -> Spelling:
    """A text of ``ids``, one per character unless ``lengths`` says otherwise."""
    lengths = np.ones(len(ids), np.int64) if lengths is None else lengths
    return Spelling("x" * len(lengths), ids, lengths)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    network = Network(Architecture(alphabet_size=V, hidden_size=8, embedding_size=4)).eval()
    with torch.no_grad():
        network.readout.weight.mul_(5)
    return network


@torch.no_grad()
def naive_loss(network: Network, before: int, text: Ids) -> float:
    """The sum of the loss over ``text``, from state zero, one character at a time."""
    state = network.initial_state(1)
    total = 0.0
    for id_ in text:
        logits, state = network(torch.tensor([[before]]), state)
        total -= float(logits[0, 0].double().log_softmax(-1)[id_])
        before = int(id_)
    return total


def test_the_stateful_loss_is_that_of_one_pass_from_the_boundary(network: Network) -> None:
    expected = naive_loss(network, BOUNDARY, TEXT) / len(TEXT)
    assert stateful_loss(NetworkScorer(network), [spelled(TEXT)]) == pytest.approx(expected, abs=1e-6)


def test_the_windows_loss_is_that_of_windows_from_state_zero_after_the_character_before(network: Network) -> None:
    total = 0.0
    for start in range(0, len(TEXT), WINDOW):
        before = BOUNDARY if start == 0 else int(TEXT[start - 1])
        total += naive_loss(network, before, TEXT[start : start + WINDOW])
    assert windows_loss(NetworkScorer(network), [spelled(TEXT)]) == pytest.approx(total / len(TEXT), abs=1e-6)


def test_losses_and_windows_count_characters_however_many_ids_spell_them(network: Network) -> None:
    lengths = np.random.default_rng(4).integers(1, 4, len(TEXT) // 3)
    lengths = lengths[lengths.cumsum() <= len(TEXT)]
    ids = TEXT[: lengths.sum()]
    ends = [0, *lengths.cumsum()[WINDOW - 1 :: WINDOW].tolist()]
    total = 0.0
    for start, end in zip(ends, [*ends[1:], len(ids)], strict=True):
        total += naive_loss(network, BOUNDARY if start == 0 else int(ids[start - 1]), ids[start:end])
    text = [spelled(ids, lengths)]
    assert windows_loss(NetworkScorer(network), text) == pytest.approx(total / len(lengths), abs=1e-6)
    expected = naive_loss(network, BOUNDARY, ids) / len(lengths)
    assert stateful_loss(NetworkScorer(network), text) == pytest.approx(expected, abs=1e-6)


def test_documents_start_from_zero_and_their_ends_are_predicted(network: Network) -> None:
    random = np.random.default_rng(5)
    texts = [random.integers(1, V, size) for size in (3, WINDOW, 1, 2 * WINDOW + 5, WINDOW + 1)]
    documents = [Spelling("x" * len(text), np.append(text, BOUNDARY), np.ones(len(text), np.int64)) for text in texts]
    characters = sum(map(len, texts))
    expected = sum(naive_loss(network, BOUNDARY, document.ids) for document in documents) / characters
    assert stateful_loss(NetworkScorer(network), documents) == pytest.approx(expected, abs=1e-6)
    total = 0.0
    for document in documents:
        starts = range(0, len(document.text), WINDOW)
        for start in starts:
            end = len(document.ids) if start == starts[-1] else start + WINDOW
            before = BOUNDARY if start == 0 else int(document.ids[start - 1])
            total += naive_loss(network, before, document.ids[start:end])
    assert windows_loss(NetworkScorer(network), documents) == pytest.approx(total / characters, abs=1e-6)


def test_a_subset_of_windows_is_evenly_spaced() -> None:
    documents = [spelled(np.full(length, 1)) for length in (100 * WINDOW + 7, 3, 20 * WINDOW)]
    all_of_them = windows(documents)
    assert sum(window.characters for window in all_of_them) == sum(len(document.text) for document in documents)
    some = spread(all_of_them, 12 * WINDOW)
    assert sum(window.characters for window in some) == pytest.approx(12 * WINDOW, rel=0.1)
    places = [next(n for n, window in enumerate(all_of_them) if window is one) for one in some]
    assert np.diff(places).tolist() == [10] * (len(some) - 1)
    assert places[-1] > len(all_of_them) - 11
    assert spread(all_of_them, 10**9) == all_of_them


def test_the_protocols_agree_on_a_text_of_one_window(network: Network) -> None:
    result = evaluate(NetworkScorer(network), [spelled(TEXT[:WINDOW])])
    assert result.characters == WINDOW
    assert result.stateful == pytest.approx(result.windows, abs=1e-6)


def test_progress_rises_to_1_in_even_parts_through_both_protocols() -> None:
    heard: list[float] = []
    evaluate(Recorder(), [spelled(np.ones(20 * 1024, np.int64))], heard.append)
    assert heard[-1] == 1.0
    # 20 chunks of the whole document, then 80 windows in two batches, a chunk each.
    assert len(heard) == 22
    steps = [after - before for before, after in pairwise([0.0, *heard])]
    assert steps == pytest.approx([1024 / 20_992] * 20 + [256 / 20_992] * 2)


class Recorder:
    """A scorer that finds all ids equally likely and records those that it scored."""

    def __init__(self) -> None:
        self.predicted: list[int] = []

    def initial_state(self, batch: int) -> None:
        return None

    def score(self, last_id: Ids, ids: NDArray[np.int64], state: None) -> tuple[NDArray[np.float32], None]:
        self.predicted += ids.ravel().tolist()
        return np.full(ids.shape, -math.log(V), np.float32), None


@pytest.mark.parametrize("length", [1, WINDOW - 1, WINDOW, WINDOW + 1, 70 * WINDOW + 3])
@pytest.mark.parametrize("loss", [stateful_loss, windows_loss])
def test_every_character_is_predicted_exactly_once(
    loss: Callable[[Recorder, list[Spelling]], float], length: int
) -> None:
    recorder = Recorder()
    places = np.arange(1, length + 1)
    assert loss(recorder, [spelled(places)]) == pytest.approx(math.log(V), rel=1e-6)
    assert sorted(place for place in recorder.predicted if place != BOUNDARY) == places.tolist()


def test_scoring_uses_no_dropout_and_leaves_a_network_in_training_mode() -> None:
    torch.manual_seed(0)
    network = Network(Architecture(alphabet_size=V, hidden_size=8, embedding_size=4), dropout=0.5).train()
    scorer = NetworkScorer(network)
    assert stateful_loss(scorer, [spelled(TEXT[:50])]) == stateful_loss(scorer, [spelled(TEXT[:50])])
    assert network.training


def test_a_bit_is_ln_2_nats() -> None:
    assert bits(math.log(8)) == pytest.approx(3.0)


@pytest.mark.parametrize(("alphabet_size", "pieces"), [(65, 1), (257, 1), (20_926, 11)])
def test_the_logits_in_memory_are_bounded_however_large_the_alphabet_is(alphabet_size: int, pieces: int) -> None:
    network = Network(Architecture(alphabet_size=alphabet_size, hidden_size=2, embedding_size=2)).eval()
    sizes: list[int] = []
    network.readout.register_forward_hook(lambda module, given, logits: sizes.append(logits.numel()))
    ids = np.ones((WINDOW, 64), np.int64)
    logprob, _ = NetworkScorer(network).score(ids[0], ids, network.initial_state(64))
    assert logprob.shape == ids.shape
    assert sum(sizes) == ids.size * alphabet_size
    assert len(sizes) == pieces
    assert max(sizes) <= 2**25


def test_a_loss_is_the_same_in_pieces(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate(NetworkScorer(network), [spelled(TEXT)])
    monkeypatch.setattr("nextchar_training.learning.evaluation._LOGITS", 7 * V)
    pieces = evaluate(NetworkScorer(network), [spelled(TEXT)])
    assert (pieces.stateful, pieces.windows) == pytest.approx((whole.stateful, whole.windows), abs=1e-6)
