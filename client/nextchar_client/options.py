"""How to generate: the keywords that ``stream`` and ``generate`` share.

The docstrings here are also the help of the options of ``nextchar generate`` and ``nextchar score``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

UnknownCharacters = Literal["error", "skip", "replace"]
"""How to treat characters outside the model's alphabet."""


class GenerationOptions(TypedDict, total=False):
    """Keywords of a generation. One that is left out, or None, has the server's default.

    The server checks the ranges; its error names the parameter.
    """

    model: str
    """Name of the model. Default: the server's default model."""
    max_characters: int | None
    """Most characters to generate, not counting the prompt; at least 1. Default: 256."""
    temperature: float | None
    """Divides the logits, 0 to 100; 0 always takes the most likely character. Default: 1."""
    top_k: int | None
    """Sample among this many most likely characters; 0 means all. Default: 0."""
    top_p: float | None
    """Sample among the fewest most likely characters whose probabilities reach this sum, above 0 to 1. Default: 1."""
    min_p: float | None
    """Sample among characters at least this fraction as likely as the most likely one, 0 to 1. Default: 0."""
    seed: int | None
    """Seed of the random numbers, 0 to 2**64 - 1. Default: drawn by the server, which returns it."""
    stop: str | Sequence[str]
    """One text, or several, that end the generation as soon as they appear in it. Default: none."""
    include_stop_sequence: bool | None
    """End the text after the stop text, not just before it. Default: no."""
    echo: bool | None
    """Start the text with the prompt. Default: no."""
    top_logprobs: int | None
    """Return each character's log-probability, and this many most likely alternatives, 0 to 20. Default: none."""
    character_bias: Mapping[str, float] | None
    """Added to the logits of characters, in nats, -100 to 100. Default: none."""
    regex: str | None
    """Regular expression that the whole generated text matches, in the regular part of Python's syntax. Default: any
    text."""
    choices: Sequence[str] | None
    """The generated text is one of these. Default: any text."""
    min_characters: int | None
    """Fewest characters before the model may end the document. Default: 0."""
    ignore_end_of_document: bool | None
    """Never end the document. Default: whether the model was trained on one document."""
    allow_malformed: bool | None
    """Allow bytes that aren't UTF-8 and jamo without their initial. Default: no."""
    unknown_characters: UnknownCharacters | None
    """How to treat characters of the prompt, or of a scored text, outside the model's alphabet. Default: ``error``."""
    replacement_character: str | None
    """The character that takes the place of unknown ones, with ``replace``. Default: none."""
    resume_interval: int | None
    """Most characters between two resume tokens of a stream, with which another server continues it at once; 0: as many
    as possible. Default: only the end has one."""
    resume_token: bytes | None
    """Token of an earlier text, to continue it from there; in place of a prompt. Default: none."""
    timeout: float | None
    """Time limit of the whole call in seconds, retries included. Default: none, unless the client has one."""
