"""The judgement: generated text and held-out text, each compared with the training text.

Held-out text of the same length is the yardstick: it is by the corpus's own author and copies nothing on purpose, and a
short text's distances from a long one are never 0. Generated text that is no closer to the training text than that has
learned the language and not the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nextchar_model.alphabet import BOUNDARY, Spelling

from ..data.dataset import Dataset
from ..learning.evaluation import Scorer, bits, stateful_loss
from .characters import Characters, joined
from .grams import Distance, distances, frequencies
from .lines import Lines, compared, lines_of, read_source
from .stretches import Copied, copied

MOST_FREQUENT = 100
"""Characters whose shares a judgement has at most."""

Text = tuple[str, bool]
"""A text, and whether it is cut off before its document's end."""

Show = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How the judged texts were generated."""

    model_sha256: str
    samples: int
    max_characters: int
    temperature: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Loss:
    """How well the model predicts the held-out text, the state carried through each document."""

    characters: int
    nats_per_character: float
    bits_per_character: float


@dataclass(frozen=True)
class Judged:
    """A text, compared with the training text."""

    characters: int
    texts: int
    distinct_texts: float
    """Share of the texts that differ from all before them."""
    cut_texts: float
    """Share of the texts that are cut off before their document's end."""
    copied: Copied
    lines: Lines
    distances: tuple[Distance, ...]
    frequencies: dict[str, float]
    """The share of each of the training text's ``MOST_FREQUENT`` characters."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The training text."""

    name: str
    sha256: str
    """Of the whole corpus."""
    is_own: bool
    """Whether the model was trained on it."""
    part: str
    """The name of the part that was not trained on: the held-out text, or the development part."""
    line_lengths: tuple[int, ...]
    frequencies: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The figures of generated text, beside those of held-out text."""

    generation: Generation
    training: Reference
    held_out_loss: Loss
    generated: Judged
    held_out: Judged


def held_out_texts(documents: Sequence[Spelling]) -> list[Text]:
    """Returns the texts of held-out documents."""
    return [(one.text, not len(one.ids) or int(one.ids[-1]) != BOUNDARY) for one in documents]


def loss_on(scorer: Scorer[Any], documents: Sequence[Spelling]) -> Loss:
    """Returns the loss of a model on held-out ``documents``."""
    nats = stateful_loss(scorer, documents)
    characters = sum(len(one.text) for one in documents)
    return Loss(characters=characters, nats_per_character=nats, bits_per_character=bits(nats))


def judge(
    generated: Sequence[Text],
    held_out: Sequence[Text],
    dataset: Dataset,
    *,
    generation: Generation,
    loss: Loss,
    trained_on_sha256: str,
    show: Show = lambda activity, fraction: None,
) -> Judgement:
    """Compares both texts with the part of ``dataset`` to train on, which is read some thirty times, piece by piece.

    Takes memory for the two texts and for a piece, whatever the size of the dataset.
    """
    source = Characters(dataset.training, dataset.alphabet)
    both = (generated, held_out)
    codes = [joined(text for text, _ in texts) for texts in both]
    lines = [lines_of(texts) for texts in both]
    show("comparing lines", 0.05)
    of_source = read_source(source, [*lines[0], *lines[1]])
    show("comparing distributions", 0.1)
    apart = distances(codes, source)
    usual = frequencies(source)
    stretches = []
    for n, text in enumerate(codes):
        show("looking for copied stretches", 0.2 + 0.4 * n)
        stretches.append(copied(text, source))
    judged = []
    for n, texts in enumerate(both):
        shares = frequencies([codes[n]])
        judged.append(
            Judged(
                characters=sum(len(text) for text, _ in texts),
                texts=len(texts),
                distinct_texts=len({text for text, _ in texts}) / len(texts),
                cut_texts=sum(is_cut for _, is_cut in texts) / len(texts),
                copied=stretches[n],
                lines=compared(lines[n], of_source),
                distances=apart[n],
                frequencies={one: shares.get(one, 0.0) for one in _first(usual)},
            )
        )
    reference = Reference(
        name=dataset.corpus.name,
        sha256=dataset.facts.sha256,
        is_own=dataset.facts.sha256 == trained_on_sha256,
        part=dataset.rules.validation_name,
        line_lengths=tuple(of_source.lengths.tolist()),
        frequencies={one: usual[one] for one in _first(usual)},
    )
    return Judgement(
        generation=generation, training=reference, held_out_loss=loss, generated=judged[0], held_out=judged[1]
    )


def _first(usual: dict[str, float]) -> list[str]:
    return list(usual)[:MOST_FREQUENT]
