"""How to generate: the keywords that ``stream`` and ``generate`` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

UnknownCharacters = Literal["error", "skip", "replace"]
"""What happens to characters that the model's alphabet lacks."""


class GenerationOptions(TypedDict, total=False):
    """Keywords of a generation. One that is left out, or None, has the server's default.

    The server checks the ranges and names a parameter that is out of its own.
    """

    model: str
    """Name of the model. Default: the server's default model."""
    max_characters: int | None
    """Most characters to generate, the prompt not counted; at least 1. Default: 256."""
    temperature: float | None
    """Divides the logits, 0 to 100; 0 always takes the most likely character. Default: 1."""
    top_k: int | None
    """Sample among this many most likely characters; 0 is all of them. Default: 0."""
    top_p: float | None
    """Sample among the fewest most likely characters whose probabilities reach this sum, above 0 to 1. Default: 1."""
    min_p: float | None
    """Sample among characters at least this fraction as likely as the likeliest, 0 to 1. Default: 0."""
    seed: int | None
    """Seed of the random numbers, 0 to 2**64 - 1. Default: drawn by the server and given in ``Started``."""
    stop: str | Sequence[str]
    """One text, or several, that end the generation where they first appear in it. Default: none."""
    include_stop_sequence: bool | None
    """Whether the text ends with the stop sequence that ended it, or just before it. Default: before."""
    echo: bool | None
    """Whether the text starts with the prompt. Default: no."""
    top_logprobs: int | None
    """Give the log-probability of each character, and of this many likeliest alternatives, 0 to 20. Default: none."""
    character_bias: Mapping[str, float] | None
    """Added to the logits of characters, in nats, -100 to 100. Default: none."""
    regex: str | None
    """Regular expression that the whole generated text matches. Default: any text."""
    unknown_characters: UnknownCharacters | None
    """What happens to characters of the prompt that the model's alphabet lacks. Default: ``"error"``."""
    replacement_character: str | None
    """Stands in for unknown characters, with ``"replace"``. Default: none."""
    timeout: float | None
    """Seconds that the whole call may take, retries included. Default: the client's."""
