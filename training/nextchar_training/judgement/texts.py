"""The generated texts of a judgement, written by a model file as a server would write them."""

from __future__ import annotations

from pathlib import Path

from nextchar_model.generator import Generator
from nextchar_model.parameters import Parameters

from .judgement import Generation, Show, Text


def generated(model: Path, generation: Generation, show: Show) -> list[Text]:
    """Returns the texts that ``generation`` describes: the samples of one request without a prompt.

    Raises ``ModelFileError`` if the file can't be used.
    """
    parameters = Parameters(max_characters=generation.max_characters, temperature=generation.temperature)
    texts = []
    samples = Generator(model).samples(seed=generation.seed, count=generation.samples, parameters=parameters)
    for number, one in enumerate(samples, start=1):
        texts.append((one.text, one.finish_reason != "end_of_document"))
        show("generating", number / generation.samples)
    return texts
