"""The verb ``fit``: a new training run, from a corpus to a full run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from nextchar_cli.command_line import UsageError

from ..data.rules import Rules
from ..learning.recipe import TAUGHT, Sizes, Teaching
from . import options, rank
from .options import (
    TEACHING_GROUP,
    AveragingOptions,
    BudgetOptions,
    Cache,
    Flag,
    Machine,
    PathArgument,
    SizesOptions,
    Sources,
    TeachingOptions,
    TrainingOptions,
    is_pipe,
)

if TYPE_CHECKING:
    from ..run.checkpoint import Checkpoint

Start = Annotated[
    PathArgument,
    Parameter(
        name="--from",
        help="Fine-tune: start with the weights of a checkpoint (.pt) or of a run folder (its best.pt). The "
        "network keeps its sizes and its alphabet, which must spell every character of the corpus. The corpus is "
        "read as the checkpoint's was, unless options say otherwise.",
    ),
]

TeacherOption = Annotated[
    list[PathArgument],
    Parameter(
        name="--teacher",
        help="Also learn the distributions of a model with the same alphabet: a model file (.onnx), a checkpoint (.pt) "
        "or a run folder. Repeat it for several, whose mean is learned.",
        group=TEACHING_GROUP,
        metavar="MODEL",
    ),
]


def fit(
    corpus: Sources,
    /,
    *,
    out: Annotated[PathArgument, Parameter(help="Folder for the run.")],
    overwrite: Annotated[Flag, Parameter(help="Replace the run that the folder holds.")] = False,
    start: Start | None = None,
    tensorboard: Annotated[Flag, Parameter(help="Also write TensorBoard's file into the folder.")] = False,
    budget: BudgetOptions | None = None,
    sizes: SizesOptions | None = None,
    training: TrainingOptions | None = None,
    teacher: TeacherOption | None = None,
    teaching: TeachingOptions | None = None,
    machine: Machine | None = None,
    averaging: AveragingOptions | None = None,
    rules: Rules | None = None,
    cache: Cache | None = None,
) -> int:
    """Trains a model on a corpus."""
    machine = machine or Machine()
    recipe = options.recipe(budget, training, averaging, **(TAUGHT if teacher else {}))
    chosen_sizes = options.built(Sizes, **options.given(sizes))
    chosen_teaching = _teaching(teacher, teaching)
    if start is None:
        chosen = options.rules(rules)
    elif options.given(sizes):
        raise UsageError(f"--from keeps the network's sizes: leave out {options.names(sizes)}")
    _check_pipes(corpus, machine)
    # From here on torch is needed.
    from ..run.fit import Job
    from ..run.folder import RunFolder
    from ..run.terminal import show_summary
    from ..teaching.teachers import open_teacher
    from .lessons import read_lessons
    from .texts import read_dataset
    from .training import command, device_of, set_threads, train

    folder = RunFolder(out, overwrite=overwrite or rank() > 0)
    folder.check_writable()
    device = device_of(machine.device, machine.processes)
    initial = None
    if start is not None:
        initial, chosen = _initial(start, rules)
    teachers = [open_teacher(path) for path in teacher or []]
    dataset = read_dataset(corpus, chosen, cache, alphabet=None if initial is None else initial.alphabet)
    lessons = read_lessons(teachers, chosen_teaching, dataset, cache)
    set_threads(machine.threads, machine.processes)
    if rank() == 0:
        show_summary(dataset, lessons)
    job = Job(
        dataset=dataset,
        architecture=chosen_sizes.architecture(dataset.alphabet.size) if initial is None else initial.architecture,
        recipe=recipe,
        command=command(),
        device=device,
        tensorboard=tensorboard,
        initial=initial,
        lessons=lessons,
    )
    return train(job, folder, machine.processes)


def _teaching(teachers: list[Path] | None, teaching: TeachingOptions | None) -> Teaching:
    """Returns how to learn from teachers. Raises ``UsageError`` if options say so and there are none."""
    if not teachers and options.given(teaching):
        raise UsageError(f"{options.names(teaching)}: name a --teacher")
    return options.built(Teaching, **options.given(teaching))


def _check_pipes(corpus: list[str], machine: Machine) -> None:
    """Raises ``UsageError`` if several processes would have to read a source that can be read once."""
    if machine.processes > 1 and (pipes := [source for source in corpus if is_pipe(source)]):
        name = "standard input" if pipes[0] == "-" else pipes[0]
        raise UsageError(f"{name} can be read only once, but each process reads it: write it to a file first")


def _initial(start: Path, rules: Rules | None) -> tuple[Checkpoint, Rules]:
    """Returns the checkpoint to start from, and the rules of the corpus: its own, changed by the options."""
    from ..run.checkpoint import find_checkpoint, load_checkpoint

    initial = load_checkpoint(find_checkpoint(start))
    chosen = options.rules(rules, initial.record.rules)
    if chosen.alphabet != initial.alphabet.kind:
        raise UsageError(f"--from keeps the network's alphabet, {initial.alphabet.kind}: leave out --alphabet")
    return initial, chosen
