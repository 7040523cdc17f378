"""The verb ``sample``: text that a checkpoint or a model file writes."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Le, Lt
from cyclopts import Parameter
from pydantic import AllowInfNan
from pydantic.dataclasses import dataclass

from nextchar_cli.command_line import utf8

from .options import Model

if TYPE_CHECKING:
    from nextchar_model.runner import Runner

_LINES = 20  # texts of a model that learned from lines, of which one says little
_STEPS = 32  # ids per call of the runner


@Parameter(name="*")
@dataclass(frozen=True)
class Writing:
    """The text to write."""

    prompt: Annotated[str, Parameter(converter=utf8, n_tokens=1, show_default=False, allow_leading_hyphen=True)] = ""
    """Text to continue. It is not printed."""
    characters: Annotated[int, Ge(1)] = 500
    """Most characters of a text. Its document may end before."""
    count: Annotated[int, Ge(1)] | None = None
    """Texts to write; each has the next seed. By default 20 if the model learned from lines, else 1."""
    seed: Annotated[int, Ge(0), Lt(2**64)] = 1
    """Seed of the random numbers. From the same model file and seed, a server writes the same text."""
    temperature: Annotated[float, Ge(0), Le(100), AllowInfNan(False)] = 1.0
    """Randomness; 0 always takes the likeliest character."""


def sample(model: Model, /, *, writing: Writing | None = None) -> int:
    """Writes text with a model."""
    from nextchar_model.runner import Runner

    from ..learning.sampling import sample as sample_network
    from ..run.models import load_model, origin_of

    writing = writing or Writing()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # the text as it is, whatever the locale
    loaded = load_model(model)
    is_lines = origin_of(loaded, model).rules.documents == "line"
    network = None if isinstance(loaded, Runner) else loaded.network()
    for n in range(writing.count or (_LINES if is_lines else 1)):
        if n > 0 and not is_lines:
            print()
        seed = (writing.seed + n) % 2**64
        if isinstance(loaded, Runner):
            text = _written(loaded, writing, seed)
        else:
            assert network is not None
            text = sample_network(
                network,
                loaded.alphabet,
                writing.prompt,
                characters=writing.characters,
                seed=seed,
                temperature=writing.temperature,
            )
        for piece in text:
            print(piece, end="", flush=True)
        print()
    return 0


def _written(runner: Runner, writing: Writing, seed: int) -> Iterator[str]:
    """Yields the text that a server would generate for the same prompt, seed and temperature."""
    import numpy as np

    from nextchar_model.alphabet import BOUNDARY
    from nextchar_model.batch import SAMPLE, SamplingSettings
    from nextchar_model.decoder import Decoder
    from nextchar_model.draws import uniform

    alphabet = runner.description.alphabet
    batch = runner.start([SamplingSettings(temperature=writing.temperature)])
    if len(prompt := alphabet.encode(writing.prompt)):
        runner.advance(batch, prompt[:, None], np.zeros((len(prompt), 1), np.float32))
    decoder, left, position = Decoder(alphabet), writing.characters, 0
    while left > 0:
        draws = uniform(seed, position, _STEPS)[:, None]
        ids = runner.advance(batch, np.full((_STEPS, 1), SAMPLE), draws).ids[:, 0].tolist()
        position += _STEPS
        ended = BOUNDARY in ids
        text, _ = decoder.feed(ids[: ids.index(BOUNDARY)] if ended else ids)
        text += decoder.flush()[0] if ended else ""
        yield text[:left]
        left = 0 if ended else left - len(text)
