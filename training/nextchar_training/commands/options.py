"""Options that several verbs share.

``derived`` makes options of the fields of ``Recipe``, ``Sizes`` and ``Rules``: names, types, ranges, help and defaults
stand in those dataclasses only. A derived option that was not given is None, so a verb can fall back on a
checkpoint, and refuse an option that contradicts it. Free of torch: ``--help`` and a mistake are answered fast.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

from annotated_types import Ge, Le
from cyclopts import Group, Parameter, Token, UnknownOptionError, ValidationError
from docstring_parser import parse_from_object
from pydantic import ValidationError as InvalidValue
from pydantic.dataclasses import dataclass

from nextchar_cli.command_line import UsageError
from nextchar_cli.wording import explain

from ..data.rules import Rules, changed
from ..files import obstacle
from ..learning.recipe import TAUGHT, Recipe, Sizes, Teaching
from . import app, command_line

T = TypeVar("T")

CORPUS_GROUP = "How the corpus is read"  # also that of ``Rules``
BUDGET_GROUP = Group("Budget", sort_key=2)
NETWORK_GROUP = Group("Network", sort_key=3)
TRAINING_GROUP = Group("Training", sort_key=4)
TEACHING_GROUP = Group("Teachers", sort_key=5)
MACHINE_GROUP = Group("Machine", sort_key=6)


GRADIENTS = {"sequence_length": 64, "dropout": 0.0, "input_dropout": 0.0}
"""The recipe of ``gradients``, in which it differs from that of ``fit``."""


def derived(source: type, group: Group, *names: str, defaults: Mapping[str, object] | None = None) -> type:
    """Makes a class of options from the fields ``names`` of a dataclass, or from all of them.

    ``defaults`` are shown instead of the dataclass's own.
    """
    hints = get_type_hints(source, include_extras=True)
    helps = {one.arg_name: one.description or "" for one in parse_from_object(source).params}
    fields = []
    for one in dataclasses.fields(source):
        if names and one.name not in names:
            continue
        default = getattr(one.default, "default", one.default)  # of a pydantic field, or of a plain one
        default = (defaults or {}).get(one.name, default)
        parameter = Parameter(
            group=group,
            help=" ".join(helps[one.name].split()),
            show_default=False if default is None or default is False else str(default),
        )
        fields.append((one.name, Annotated[hints[one.name] | None, parameter], dataclasses.field(default=None)))
    # Not the name of a module: cyclopts would read it for docstrings, several times, and there are none.
    namespace = {"__module__": f"{__name__}.derived"}
    made = dataclasses.make_dataclass(f"{source.__name__}Options", fields, frozen=True, namespace=namespace)
    return Parameter(name="*")(dataclass(frozen=True)(made))


def given(options: Options | None) -> dict[str, Any]:
    """Returns the values of derived options that stand on the command line, by field."""
    return {} if options is None else {name: value for name, value in vars(options).items() if value is not None}


if TYPE_CHECKING:  # classes made at runtime are no types
    Options = object
    BudgetOptions = Options
    SizesOptions = Options
    TrainingOptions = Options
    AveragingOptions = Options
    TeachingOptions = Options
    GradientBudgetOptions = Options
    GradientTrainingOptions = Options
else:
    BudgetOptions = derived(Recipe, BUDGET_GROUP, "minutes", "epochs", "patience")
    SizesOptions = derived(Sizes, NETWORK_GROUP)
    TrainingOptions = derived(
        Recipe,
        TRAINING_GROUP,
        *("batch_size", "sequence_length", "learning_rate", "dropout", "input_dropout", "weight_decay", "seed"),
        defaults={field: f"{getattr(Recipe, field):g}; {value:g} with a teacher" for field, value in TAUGHT.items()},
    )
    TeachingOptions = derived(Teaching, TEACHING_GROUP)
    AveragingOptions = derived(Recipe, MACHINE_GROUP, "averaging_period")
    GradientBudgetOptions = derived(Recipe, BUDGET_GROUP, "minutes", "epochs")
    GradientTrainingOptions = derived(
        Recipe, TRAINING_GROUP, "batch_size", "sequence_length", "seed", defaults=GRADIENTS
    )


@Parameter(name="*", group=MACHINE_GROUP)
@dataclass(frozen=True)
class Machine:
    """The processors that train."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Train on the CPU or on GPUs, one per process."""
    processes: Annotated[int, Ge(1), Le(1024)] = 1
    """Processes that share each batch. Two processes of one thread each are faster than one of two threads."""
    threads: Annotated[int, Ge(1), Le(1024)] | None = None
    """Threads per process; by default, the cores divided by the processes."""


def built(kind: type[T], **fields: Any) -> T:
    """Makes a ``kind`` of the options given. Raises ``UsageError`` if they don't go together."""
    try:
        return kind(**fields)
    except InvalidValue as error:
        field, sentence = explain(error)
        raise UsageError(f"{option(field)}: {sentence}" if field else sentence) from error


def names(options: Options | None) -> str:
    """Returns the derived options that stand on the command line, as they are written there."""
    return ", ".join(map(option, given(options)))


def check_file(out: Path, option: str = "--out") -> None:
    """Raises ``UsageError`` if the file that ``option`` names can't be written."""
    if out.is_dir():
        raise UsageError(f"{option}: {out} is a folder; name a file in it")
    if out.exists() and not out.is_file():
        raise UsageError(f"{option}: {out} is not a regular file")
    if not out.parent.is_dir():
        raise UsageError(f"{option}: there is no folder {out.parent}")
    if not os.access(out if out.exists() else out.parent, os.W_OK):
        raise UsageError(f"{option}: {out} is not writable")


def check_folder(out: Path) -> None:
    """Raises ``UsageError`` if no file can be written into the folder that --out names."""
    if (reason := obstacle(out)) is not None:
        raise UsageError(f"--out: {reason}")


def is_pipe(source: str) -> bool:
    """Whether ``source`` can be read only once."""
    return source == "-" or Path(source).is_fifo()


def option(field: str) -> str:
    """Returns the option of a field: ``--hidden-size`` of ``hidden_size``."""
    return f"--{field.replace('_', '-')}"


def recipe(budget: Options | None, *others: Options | None, **fields: object) -> Recipe:
    """Returns the recipe that the options make, with ``fields`` for those not given. Raises ``UsageError``."""
    check_budget(budget)
    if not {"minutes", "epochs"} & given(budget).keys():
        raise UsageError("--minutes or --epochs is required")
    for options in (budget, *others):
        fields |= given(options)
    return built(Recipe, **fields)


def check_budget(budget: Options | None) -> None:
    """Raises ``UsageError`` if minutes and epochs are given."""
    if {"minutes", "epochs"} <= given(budget).keys():
        raise UsageError("--minutes and --epochs exclude each other: give one of them")


def rules(options: Rules | None, usual: Rules | None = None) -> Rules:
    """Returns the rules that the options make, with the ``usual`` ones for the rest. Raises ``UsageError``."""
    try:
        return changed(usual or Rules(), options)
    except InvalidValue as error:
        raise UsageError(explain(error)[1]) from error
    except ValueError as error:
        raise UsageError(str(error)) from error


def _path(hint: Any, tokens: Sequence[Token]) -> Path:
    if not tokens[0].value:
        raise ValidationError(exception_message="'' is invalid; it must not be empty")
    return Path(tokens[0].value)


def _source(hint: Any, tokens: Sequence[Token]) -> str:
    """Refuses a misspelt option, which a parameter that takes ``-`` would take for a source."""
    (token,) = tokens
    if token.value.startswith("-") and token.value != "-":
        _, apps, _ = app.parse_commands(command_line.get())
        raise UnknownOptionError(token=token, argument_collection=apps[-1].assemble_argument_collection())
    return token.value


PathArgument = Annotated[Path, Parameter(converter=_path, n_tokens=1)]

Flag = Annotated[bool, Parameter(show_default=False)]

Sources = Annotated[
    list[Annotated[str, Parameter(converter=_source, n_tokens=1)]],
    Parameter(
        help="Files, folders, patterns, - for standard input, or the names stdlib and tinyshakespeare. "
        "Files that end in .gz are unpacked.",
        allow_leading_hyphen=True,
    ),
]

MovedCorpus = Annotated[
    list[Annotated[str, Parameter(converter=_source, n_tokens=1)]],
    Parameter(
        help="The text of the run, if it isn't in its old place any more, named as fit takes it.",
        group=CORPUS_GROUP,
        consume_multiple=1,
        metavar="CORPUS",
    ),
]

AgainstOption = Annotated[
    list[Annotated[str, Parameter(converter=_source, n_tokens=1)]],
    Parameter(
        help="The corpus that the model learned from, named as fit takes it.",
        group=CORPUS_GROUP,
        consume_multiple=1,
        metavar="CORPUS",
    ),
]

TextOption = Annotated[
    list[Annotated[str, Parameter(converter=_source, n_tokens=1)]],
    Parameter(
        help="Texts to check the file on, named like a corpus, instead of the one that fit held out; --text=- is "
        "standard input.",
        consume_multiple=1,
        metavar="TEXT",
    ),
]

UnknownOption = Annotated[
    Literal["error", "skip"],
    Parameter(
        name=["--unknown-characters", "--unknown"],
        help="How to treat characters of that text outside the model's alphabet.",
        group=CORPUS_GROUP,
    ),
]

Model = Annotated[
    PathArgument, Parameter(help="A checkpoint (.pt), a run folder (its best.pt) or a model file (.onnx).")
]

TrainedModel = Annotated[PathArgument, Parameter(help="A checkpoint (.pt) or a run folder (its best.pt).")]

Cache = Annotated[
    PathArgument,
    Parameter(
        help="Folder in which texts are kept as ids, so that a text is read once.",
        group=CORPUS_GROUP,
        show_default="NEXTCHAR_CACHE_DIR, or nextchar in the user's cache folder",
    ),
]
