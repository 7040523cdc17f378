"""Sampling: the text that a checkpoint's network writes, one character at a time.

For a look at a training run, and the reference of what the exported graph does: the same random numbers
and the same choice, so that a text differs from the served one only where float32 sums do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Alphabet
from nextchar_model.decoder import Decoder, continuing, max_ids
from nextchar_model.draws import draw_order, uniform

from .network import Network


class SamplingError(ValueError):
    """A text cannot be sampled with these settings."""


@torch.no_grad()
def sample(
    network: Network, alphabet: Alphabet, prompt: str, *, characters: int, seed: int, temperature: float
) -> Iterator[str]:
    """The characters that follow ``prompt``, at most ``characters``; the boundary ends the text.

    The n-th id, from 0, is chosen by ``uniform(seed, n)``. Temperature 0 takes the likeliest.
    Raises ``UnknownCharacterError`` for a prompt that the alphabet lacks, ``SamplingError`` for a number that
    cannot be.
    """
    if characters < 0:
        raise SamplingError(f"characters is {characters}; it must be at least 0")
    if not 0 <= seed < 2**64:
        raise SamplingError(f"seed is {seed}; it must be 0 to 2**64 - 1")
    if not 0 <= temperature < math.inf:
        raise SamplingError(f"temperature is {temperature}; it must be at least 0")
    device = next(network.parameters()).device
    read = torch.from_numpy(np.concatenate([[BOUNDARY], alphabet.encode(prompt)])).to(device)[:, None]  # (T, 1)
    network.eval()
    logits, state = network(read, network.initial_state(1))
    decoder = Decoder(alphabet)
    forbidden = np.where(continuing(alphabet), -np.inf, 0).astype(np.float32)  # by the prompt's last character
    left = characters
    for number in uniform(seed, 0, max_ids(alphabet, characters)):
        chosen = choose(logits[-1, 0].cpu().numpy() + forbidden, number, temperature)
        forbidden[:] = 0
        text, _ = decoder.flush() if chosen == BOUNDARY else decoder.feed([chosen])
        yield from text[:left]
        left -= len(text)
        if chosen == BOUNDARY or left <= 0:
            return
        logits, state = network(torch.tensor([[chosen]], device=device), state)


def choose(logits: NDArray[np.float32], number: np.float32, temperature: float) -> int:
    """The id that ``number`` in [0, 1) chooses, by the inverse of the cumulative distribution.

    ``logits`` is [V]. With the cumulative sum c of the probabilities in the order of ``draw_order``, it is the
    first id with c > number * c[V - 1].
    """
    if temperature == 0:
        return int(logits.argmax())
    scaled = logits / np.float32(temperature)
    order = draw_order(len(logits))
    cumulative = np.cumsum(np.exp(scaled - scaled.max())[order], dtype=np.float32)
    return int(order[np.argmax(cumulative > number * cumulative[-1])])
