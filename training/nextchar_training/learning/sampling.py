"""Sampling: the text that a checkpoint's network writes, one character at a time.

For a look at a training, and the reference for the exported graph: both use the same random numbers and choose in the
same way, so their texts differ only if sums in float32 do.

Shapes: B documents side by side, V ids in the alphabet.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Alphabet
from nextchar_model.decoder import Decoder, continuing, max_ids
from nextchar_model.draws import draw_order, uniform

from .network import Network

MAX_TEMPERATURE = 100.0
"""The highest temperature, as on a server."""

_COLDEST = np.float32(1e-30)  # lower temperatures count as this one, as in the graph: a division by them overflows
_DRAWS = 1024  # random numbers made at a time


class SamplingError(ValueError):
    """A number that a text can't be sampled with."""


@torch.no_grad()
def sample(
    network: Network, alphabet: Alphabet, prompt: str, *, characters: int, seed: int, temperature: float
) -> Iterator[str]:
    """Yields the characters that follow ``prompt``, at most ``characters`` of them; the boundary ends the text.

    ``uniform(seed, n)`` chooses the n-th id, counted from 0. Temperature 0 takes the likeliest. Leaves ``network`` in
    evaluation mode. Raises ``UnknownCharacterError`` if the alphabet lacks a character of the prompt, ``SamplingError``
    if a number is out of range.
    """
    _check(characters, seed, temperature)
    device = next(network.parameters()).device
    read = torch.from_numpy(np.concatenate([[BOUNDARY], alphabet.encode(prompt)])).to(device)[:, None]  # (T, 1)
    network.eval()
    outputs, state = network.read(read, network.initial_state(1))  # (T, 1, H)
    document = _Document(alphabet, characters)
    forbidden = _forbidden(alphabet)
    for number in _draws(seed, max_ids(alphabet, characters)):
        logits = network.readout(outputs[-1:])[0, 0]  # (V,)
        chosen = choose(logits.cpu().numpy() + forbidden, number, temperature)
        forbidden[:] = 0
        yield from document.take(chosen)
        if document.ended:
            return
        outputs, state = network.read(torch.tensor([[chosen]], device=device), state)


@torch.no_grad()
def sample_documents(
    network: Network, alphabet: Alphabet, *, count: int, max_characters: int, seed: int, temperature: float
) -> list[str]:
    """Returns ``count`` documents, each of at most ``max_characters`` characters, written side by side.

    Document i, counted from 0, is the one that ``sample`` writes after an empty prompt with the seed ``seed + i``
    (modulo 2**64). Leaves ``network`` in evaluation mode. Raises ``SamplingError`` if a number is out of range.
    """
    _check(max_characters, seed, temperature)
    if count < 1:
        raise SamplingError(f"count is {count}; it must be at least 1")
    device = next(network.parameters()).device
    network.eval()
    state = network.initial_state(count)
    documents = [_Document(alphabet, max_characters) for _ in range(count)]
    texts = [""] * count
    ids = [BOUNDARY] * count
    forbidden = _forbidden(alphabet)
    most = max_ids(alphabet, max_characters)
    numbers = np.stack([uniform((seed + row) % 2**64, 0, most) for row in range(count)], axis=1)  # [most, B]
    for of_rows in numbers:
        logits, state = network(torch.tensor([ids], device=device), state)
        scores = logits[0].cpu().numpy() + forbidden  # [B, V]
        forbidden[:] = 0
        for row, document in enumerate(documents):
            if not document.ended:
                ids[row] = choose(scores[row], of_rows[row], temperature)
                texts[row] += document.take(ids[row])
        if all(document.ended for document in documents):
            break
    return texts


class _Document:
    """A text on its way from ids to at most ``characters`` characters."""

    def __init__(self, alphabet: Alphabet, characters: int) -> None:
        self._decoder = Decoder(alphabet)
        self._left = characters
        self.ended = False
        """Whether the text is complete: by the boundary, or because it is as long as it may be."""

    def take(self, id_: int) -> str:
        """Returns the text that ``id_`` finishes."""
        text, _ = self._decoder.flush() if id_ == BOUNDARY else self._decoder.feed([id_])
        text = text[: self._left]
        self._left -= len(text)
        self.ended = id_ == BOUNDARY or self._left == 0
        return text


def _check(characters: int, seed: int, temperature: float) -> None:
    if characters < 0:
        raise SamplingError(f"characters is {characters}; it must be at least 0")
    if not 0 <= seed < 2**64:
        raise SamplingError(f"seed is {seed}; it must be 0 to 2**64 - 1")
    if not 0 <= temperature <= MAX_TEMPERATURE:
        raise SamplingError(f"temperature is {temperature}; it must be 0 to {MAX_TEMPERATURE:g}")


def _draws(seed: int, count: int) -> Iterator[np.float32]:
    """Yields the first ``count`` random numbers of ``seed``, a few at a time: most texts end long before."""
    for first in range(0, count, _DRAWS):
        yield from uniform(seed, first, min(_DRAWS, count - first))


def _forbidden(alphabet: Alphabet) -> NDArray[np.float32]:
    """Returns a summand for the first logits [V]: a text can't begin with the second half of a character."""
    return np.where(continuing(alphabet), -np.inf, 0).astype(np.float32)


def choose(logits: NDArray[np.float32], number: np.float32, temperature: float) -> int:
    """Returns the id that ``number`` in [0, 1) chooses, by the inverse of the cumulative distribution.

    ``logits`` is [V]. With the cumulative sum c of the probabilities in the order of ``draw_order``, it is the
    first id with c > number * c[V - 1].
    """
    if np.float32(temperature) == 0:
        return int(logits.argmax())
    scaled = logits / np.maximum(np.float32(temperature), _COLDEST)
    order = draw_order(len(logits))
    cumulative = np.cumsum(np.exp(scaled - scaled.max())[order], dtype=np.float32)
    return int(order[np.argmax(cumulative > number * cumulative[-1])])
