"""The verb ``evaluate``: the loss of a checkpoint or a model file on a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge
from cyclopts import Parameter
from pydantic.dataclasses import dataclass

from nextchar_cli.command_line import UsageError
from nextchar_model.alphabet import Spelling

from ..data.rules import Rules
from . import options
from .options import CORPUS_GROUP, Cache, Model, Sources

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..data.ids import IdFile


@Parameter(name="*", group=CORPUS_GROUP)
@dataclass(frozen=True)
class Evaluated:
    """The part of a text to evaluate."""

    split: Literal["all", "validation", "held-out"] = "all"
    """Evaluate all of the text, the part that fit would watch, or the part that it would hold out (--development)."""
    characters: Annotated[int, Ge(1)] = 2**17
    """Evaluate this many characters at most, from the beginning."""
    unknown: Annotated[
        Literal["error", "skip", "replace"] | None, Parameter(name=["--unknown-characters", "--unknown"])
    ] = None
    """How to treat characters outside the model's alphabet; by default, like those that were rare in training."""


@Parameter(name="*", group="Dynamic evaluation")
@dataclass(frozen=True)
class Dynamic:
    """The forms of dynamic evaluation, each beside the losses of the model as it is."""

    adaptive: Annotated[bool, Parameter(negative="", show_default=False)] = False
    """Also mix the model with an n-gram model that learns along the text: dynamic evaluation."""
    adaptive_training: Annotated[bool, Parameter(negative="", show_default=False)] = False
    """Let the n-gram model first read the part that fit would train on; needs --split validation or held-out."""
    adaptive_gradient: Annotated[bool, Parameter(negative="", show_default=False)] = False
    """Also take gradient steps along the text: dynamic evaluation of a checkpoint; with --adaptive, both together."""


def evaluate(
    model: Model,
    text: Sources,
    /,
    *,
    part: Evaluated | None = None,
    dynamic: Dynamic | None = None,
    rules: Annotated[Rules | None, Parameter(show_default=False)] = None,
    cache: Cache | None = None,
) -> int:
    """Measures a model's loss on a text."""
    from ..learning import evaluation
    from ..learning.adaptive import MOST_LEARNT
    from ..run.models import load_model, origin_of, scorer_of
    from ..run.terminal import preparing
    from .dynamic import network_of, print_dynamic_losses
    from .texts import SKIPPING, excerpt_for, read_dataset_for
    from .training import print_losses

    part, dynamic = part or Evaluated(), dynamic or Dynamic()
    if dynamic.adaptive_training and part.split == "all":
        raise UsageError(
            "--adaptive-training needs --split validation or held-out, so that it learns no text that it evaluates"
        )
    rare: dict[str, Any] = {"rare": "replace"} if part.unknown == "replace" else {}
    loaded = load_model(model)
    network = network_of(loaded) if dynamic.adaptive_gradient else None
    origin = origin_of(loaded, model)
    chosen = options.rules(rules, replace(origin.rules, **rare))
    dataset, unknown = read_dataset_for(text, chosen, trained_on_sha256=origin.sha256, cache=cache)
    unknown = part.unknown or unknown
    if unknown != "error":
        treated = "left out" if unknown == "skip" else f"replaced by {chosen.replacement!r}"
        print(f"characters outside the model's alphabet are {treated}")
    ids, name = _split(dataset, part)
    excerpt = excerpt_for(dataset, ids, origin.alphabet, part.characters, unknown, remedy=SKIPPING)
    documents = excerpt.documents
    scorer = scorer_of(loaded)
    with preparing() as show:
        result = evaluation.evaluate(scorer, documents, progress=lambda fraction: show("evaluating", fraction))
    first = "" if excerpt.is_whole else "the first "
    print(f"{first}{result.characters:,} characters of {name}")
    print_losses(result.stateful, result.windows)
    learned: Sequence[Spelling] | None = [] if dynamic.adaptive else None
    if dynamic.adaptive_training:
        training = excerpt_for(dataset, dataset.training, origin.alphabet, MOST_LEARNT, unknown, remedy=SKIPPING)
        learned = training.documents
    print_dynamic_losses(scorer, network, documents, origin.alphabet, learned)
    return 0


def _split(dataset: Dataset, part: Evaluated) -> tuple[IdFile, str]:
    """Returns the ids of the part of a text to evaluate, and its name."""
    name = dataset.corpus.name
    if part.split == "all":
        return dataset.ids, name
    if part.split == "validation" and dataset.rules.development:
        return dataset.validation, f"the development part of {name}"
    return dataset.held_out, f"the held-out part of {name}"
