"""A network that takes gradient steps along the text that it scores."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from nextchar_model.alphabet import BOUNDARY, Ids, Spelling
from nextchar_model.cell import Cell
from nextchar_training.learning.adapting_scorer import LEARNING_RATE, SEGMENT, AdaptingScorer
from nextchar_training.learning.adaptive import dynamic_losses
from nextchar_training.learning.evaluation import NetworkScorer, stateful_loss
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture

V = 6
FIRST = np.array([BOUNDARY])


def new_network(cell: Cell = "lstm") -> Network:
    torch.manual_seed(0)
    return Network(Architecture(alphabet_size=V, hidden_size=16, embedding_size=8, cell=cell)).eval()


def random_ids(count: int, seed: int = 1) -> Ids:
    return np.random.default_rng(seed).integers(1, V, size=count)


def spelled(ids: Ids) -> Spelling:
    return Spelling("x" * len(ids), ids, np.ones(len(ids), np.int64))


def scored(scorer: AdaptingScorer | NetworkScorer, ids: Ids) -> list[float]:
    """The log-probabilities of a document."""
    logprobs: list[float] = scorer.score(FIRST, ids[:, None], scorer.initial_state(1))[0][:, 0].tolist()
    return logprobs


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_pattern_that_repeats_is_learned(cell: Cell) -> None:
    pattern = np.tile([1, 4, 2, 2, 5, 3], 1000)
    logprobs = scored(AdaptingScorer(new_network(cell), learning_rate=0.01), pattern)
    assert -np.mean(logprobs[-600:]) < -np.mean(logprobs[:600]) / 4


def test_a_step_is_that_of_gradient_descent_on_the_segment_before() -> None:
    network = new_network()
    ids = torch.from_numpy(random_ids(2 * SEGMENT))
    reference = copy.deepcopy(network)
    inputs = torch.cat([torch.tensor([BOUNDARY]), ids[:-1]])[:, None]
    logits, state = reference(inputs[:SEGMENT], reference.initial_state(1))
    loss = functional.cross_entropy(logits[:, 0], ids[:SEGMENT], reduction="sum")
    weights = list(reference.parameters())
    gradients = torch.autograd.grad(loss, weights)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.sub_(LEARNING_RATE * gradient)
        logits, _ = reference(inputs[SEGMENT:], state)
    expected = -functional.cross_entropy(logits[:, 0], ids[SEGMENT:], reduction="none")
    assert scored(AdaptingScorer(network), ids.numpy())[SEGMENT:] == pytest.approx(expected.tolist(), rel=1e-4)


@pytest.mark.parametrize("place", [0, 5, SEGMENT - 1, SEGMENT, 3 * SEGMENT + 1])
def test_nothing_is_learned_before_it_is_scored(place: int) -> None:
    ids = random_ids(5 * SEGMENT + 3)
    other = ids.copy()
    other[place:] = ids[place:] % (V - 1) + 1  # another id everywhere
    of_ids, of_other = (scored(AdaptingScorer(new_network()), text) for text in (ids, other))
    assert of_ids[:place] == of_other[:place]
    assert of_ids[place] != of_other[place]


def test_whole_segments_can_be_scored_in_several_calls() -> None:
    ids = random_ids(4 * SEGMENT)
    scorer = AdaptingScorer(new_network())
    first, state = scorer.score(FIRST, ids[: 3 * SEGMENT, None], scorer.initial_state(1))
    second, _ = scorer.score(ids[3 * SEGMENT - 1 : 3 * SEGMENT], ids[3 * SEGMENT :, None], state)
    assert [*first[:, 0].tolist(), *second[:, 0].tolist()] == scored(AdaptingScorer(new_network()), ids)


def test_weights_are_carried_from_document_to_document() -> None:
    document = random_ids(10 * SEGMENT)
    scorer = AdaptingScorer(new_network())
    assert sum(scored(scorer, document)) < sum(scored(scorer, document))


def test_the_network_stays_as_it_was() -> None:
    network = new_network().train()
    before = copy.deepcopy(network.state_dict())
    scored(AdaptingScorer(network), random_ids(5 * SEGMENT))
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())
    assert network.training


def test_with_a_learning_rate_of_0_the_loss_is_the_stateful_one() -> None:
    network, documents = new_network(), [spelled(random_ids(1100, seed)) for seed in (1, 2)]
    fixed = dynamic_losses(AdaptingScorer(network, learning_rate=0), documents).network
    assert fixed == pytest.approx(stateful_loss(NetworkScorer(network), documents), rel=1e-6)
    assert dynamic_losses(AdaptingScorer(network), documents).network != pytest.approx(fixed, rel=1e-4)


def test_two_evaluations_are_the_same() -> None:
    documents = [spelled(random_ids(700))]
    first, second = (dynamic_losses(AdaptingScorer(new_network()), documents) for _ in range(2))
    assert first == second
