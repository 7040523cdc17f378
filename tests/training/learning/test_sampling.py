import math

import numpy as np
import pytest
import torch

from nextchar_model.alphabet import BOUNDARY, Alphabet, UnknownCharacterError
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture
from nextchar_training.learning.sampling import SamplingError, choose, sample, sample_documents

ALPHABET = Alphabet.of("abcd")


def make(*, boundary_bias: float = -100.0) -> Network:
    torch.manual_seed(0)
    network = Network(Architecture(alphabet_size=ALPHABET.size, hidden_size=8, embedding_size=4))
    with torch.no_grad():
        network.readout.weight.mul_(8)
        network.readout.bias[BOUNDARY] = boundary_bias
    return network


def write(prompt: str = "", *, characters: int = 40, seed: int = 1, temperature: float = 1.0) -> str:
    return "".join(sample(make(), ALPHABET, prompt, characters=characters, seed=seed, temperature=temperature))


def test_the_same_seed_writes_the_same_text() -> None:
    assert write("ab") == write("ab")


def test_another_seed_writes_another_text() -> None:
    assert write(seed=1) != write(seed=2)


def test_temperature_zero_needs_no_random_numbers() -> None:
    assert write(seed=1, temperature=0.0) == write(seed=2, temperature=0.0)


def test_a_longer_text_begins_with_the_shorter_one() -> None:
    assert write(characters=40)[:15] == write(characters=15)


def test_the_boundary_ends_the_text() -> None:
    network = make(boundary_bias=100.0)
    assert list(sample(network, ALPHABET, "ab", characters=10, seed=1, temperature=1.0)) == []


def test_an_unknown_character_of_a_prompt_is_named() -> None:
    with pytest.raises(UnknownCharacterError, match="'é'"):
        write("é")


@pytest.mark.parametrize(
    ("name", "value"),
    [("characters", -1), ("seed", -1), ("seed", 2**64), ("temperature", -0.5), ("temperature", math.nan)],
)
def test_a_number_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(SamplingError, match=f"{name} is {value}"):
        write(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("number", "chosen"), [(0.0, 1), (0.249, 1), (0.25, 2), (0.749, 2), (0.75, 3), (0.9999999, 3)])
def test_a_choice_is_the_inverse_of_the_cumulative_distribution(number: float, chosen: int) -> None:
    with np.errstate(divide="ignore"):
        logits = np.log(np.array([0, 0.25, 0.5, 0.25], np.float32))
    assert choose(logits, np.float32(number), 1.0) == chosen


def test_a_choice_from_a_large_alphabet_goes_column_by_column() -> None:
    logits = np.full(1300, -500, np.float32)
    logits[[3, 128, 131]] = np.log(np.array([0.5, 0.25, 0.25], np.float32))
    assert [choose(logits, np.float32(number), 1.0) for number in (0, 0.2, 0.3, 0.7, 0.8)] == [128, 128, 3, 3, 131]


def test_temperature_divides_the_logits() -> None:
    logits = np.array([0.0, 1.0], np.float32)
    share = 1 / (1 + math.exp(1 / 0.5))
    assert choose(logits, np.float32(share - 0.001), 0.5) == 0
    assert choose(logits, np.float32(share + 0.001), 0.5) == 1


@pytest.mark.parametrize("alphabet", [ALPHABET, Alphabet.of("각난닫랄", kind="jamo")], ids=lambda one: str(one.kind))
def test_documents_are_those_of_consecutive_seeds(alphabet: Alphabet) -> None:
    torch.manual_seed(0)
    network = Network(Architecture(alphabet_size=alphabet.size, hidden_size=8, embedding_size=4))
    with torch.no_grad():
        network.readout.weight.mul_(8)
    documents = sample_documents(network, alphabet, count=20, max_characters=12, seed=2**64 - 3, temperature=0.9)
    seeds = [(2**64 - 3 + row) % 2**64 for row in range(20)]
    expected = ["".join(sample(network, alphabet, "", characters=12, seed=seed, temperature=0.9)) for seed in seeds]
    assert documents == expected
    assert len({len(document) for document in documents}) > 3  # some end before others


@pytest.mark.parametrize(("name", "value"), [("count", 0), ("seed", -1)])
def test_a_number_of_documents_out_of_range_is_named(name: str, value: int) -> None:
    numbers = {"count": 1, "max_characters": 5, "seed": 1, name: value}
    with pytest.raises(SamplingError, match=f"{name} is {value}"):
        sample_documents(make(), ALPHABET, temperature=1.0, **numbers)


def test_a_limit_far_beyond_the_end_of_a_text_costs_nothing() -> None:
    assert next(sample(make(), ALPHABET, "", characters=10**18, seed=1, temperature=1.0))


@pytest.mark.parametrize("temperature", [0.0, -0.0, 1e-45, 1e-38, 1e-30, 1e-10])
@pytest.mark.parametrize("number", [0.0, 0.5, 0.9999999])
def test_the_lowest_temperatures_take_the_likeliest_id(temperature: float, number: float) -> None:
    logits = np.array([-80.0, 3.0, 90.0, 89.0, -np.inf], np.float32)
    assert choose(logits, np.float32(number), temperature) == 2


def test_the_lowest_temperatures_write_the_greedy_text() -> None:
    greedy = write(temperature=0.0)
    assert len(greedy) == 40
    assert [write(temperature=temperature) for temperature in (1e-300, 1e-45, 1e-38, 1e-20)] == [greedy] * 4


@pytest.mark.parametrize("temperature", [100.5, math.inf, 1e39])
def test_a_temperature_above_a_servers_is_refused(temperature: float) -> None:
    with pytest.raises(SamplingError, match=r"it must be 0 to 100"):
        write(temperature=temperature)


def test_a_long_prompt_makes_the_logits_of_its_last_character_alone() -> None:
    network, sizes = make(), []
    network.readout.register_forward_hook(lambda module, given, logits: sizes.append(logits.numel()))
    next(sample(network, ALPHABET, "abcd" * 1000, characters=5, seed=1, temperature=1.0))
    assert sizes == [ALPHABET.size]
