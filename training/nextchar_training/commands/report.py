"""The verb ``report``: the copies in generated text, its variety, and its distance from held-out text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Le, Lt
from cyclopts import Parameter
from pydantic import AllowInfNan
from pydantic.dataclasses import dataclass

from nextchar_cli.command_line import UsageError

from .options import AgainstOption, Cache, PathArgument, UnknownOption, check_file

if TYPE_CHECKING:
    from nextchar_model.alphabet import Unknown

    from ..judgement.judgement import Judgement

_LINES, _TEXTS = 1000, 100  # by default, of a model that learned from lines and of another


@Parameter(name="*")
@dataclass(frozen=True)
class Written:
    """The texts to generate and judge."""

    samples: Annotated[int, Ge(1), Le(10**6)] | None = None
    """Texts to generate. By default 1,000 if the model learned from lines, else 100."""
    characters: Annotated[int, Ge(1), Le(10**5)] = 1000
    """Most characters of a text. Its document may end before."""
    seed: Annotated[int, Ge(0), Lt(2**64)] = 1
    """Seed of the first text. A server's samples of the same seed are the same texts."""
    temperature: Annotated[float, Ge(0), Le(100), AllowInfNan(False)] = 1.0
    """Randomness; 0 always takes the likeliest character."""


def report(
    model: Annotated[PathArgument, Parameter(help="A model file (.onnx).")],
    /,
    *,
    against: AgainstOption,
    written: Written | None = None,
    out: Annotated[PathArgument, Parameter(help="HTML file for the figures with plots and examples.")] | None = None,
    json_file: Annotated[PathArgument, Parameter(name="--json", help="JSON file for the figures.")] | None = None,
    unknown: UnknownOption = "error",
    cache: Cache | None = None,
) -> int:
    """Judges generated text."""
    for option, path in (("--out", out), ("--json", json_file)):
        if path is not None:
            check_file(path, option)
    from ..files import write_text
    from ..judgement import table
    from ..judgement.page import to_json, written_page
    from ..run.terminal import plain_console

    judgement, examples = _judged(model, against, written or Written(), unknown, cache)
    table.show(judgement, plain_console())
    if out is not None:
        write_text(out, written_page(judgement, examples), kind="page")
    if json_file is not None:
        write_text(json_file, to_json(judgement), kind="figures")
    return 0


def _judged(
    model: Path, against: Sequence[str], written: Written, unknown: Unknown, cache: Path | None
) -> tuple[Judgement, list[str]]:
    """Returns the judgement, and the generated texts."""
    from nextchar_model.runner import Runner

    from ..data.split import EVALUATED_CHARACTERS
    from ..judgement.judgement import Generation, held_out_texts, judge, loss_on
    from ..judgement.texts import generated
    from ..run.models import load_model, origin_of
    from ..run.terminal import preparing
    from .texts import SKIPPING, excerpt_for, read_dataset_for

    loaded = load_model(model)
    if not isinstance(loaded, Runner):
        raise UsageError(
            f"{model} is a checkpoint; nextchar-train export makes a model file of it, which can be judged"
        )
    origin = origin_of(loaded, model)
    dataset, usual = read_dataset_for(against, origin.rules, trained_on_sha256=origin.sha256, cache=cache)
    unknown = unknown if usual == "error" else usual
    excerpt = excerpt_for(dataset, dataset.validation, origin.alphabet, EVALUATED_CHARACTERS, unknown, remedy=SKIPPING)
    generation = Generation(
        model_sha256=loaded.digest,
        samples=written.samples or (_LINES if origin.rules.documents == "line" else _TEXTS),
        max_characters=written.characters,
        temperature=written.temperature,
        seed=written.seed,
    )
    with preparing() as show:
        texts = generated(model, generation, show)
        characters = max(1, sum(len(text) for text, _ in texts))
        held_out = held_out_texts(dataset.documents(dataset.validation, dataset.alphabet, characters))
        show("evaluating", 0.0)
        loss = loss_on(loaded, excerpt.documents)
        judgement = judge(
            texts, held_out, dataset, generation=generation, loss=loss, trained_on_sha256=origin.sha256, show=show
        )
    return judgement, [text for text, _ in texts]
