"""The verb ``resume``: continues a run that was interrupted, or trains a finished one for longer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from nextchar_cli.command_line import UsageError

from . import options, rank
from .options import BudgetOptions, Cache, Machine, MovedCorpus, PathArgument

if TYPE_CHECKING:
    from ..run.folder import RunFolder


class Texts(NamedTuple):
    """The places of the texts of a run."""

    corpus: list[str] | None
    """The sources that hold its text now, if they are others."""
    cache: Path | None


def resume(
    run: Annotated[PathArgument, Parameter(help="Folder of the run.")],
    /,
    *,
    budget: BudgetOptions | None = None,
    machine: Machine | None = None,
    corpus: MovedCorpus | None = None,
    cache: Cache | None = None,
) -> int:
    """Continues a run."""
    options.check_budget(budget)
    from ..run.folder import RunFolder, RunFolderError

    folder = RunFolder(run, overwrite=True)
    texts = Texts(corpus, cache)
    if folder.stopped.exists():
        if options.given(budget) or machine is not None:
            raise UsageError(f"{run} was interrupted: resume it first, without other options than --cache and --corpus")
        return _continue(folder, texts)
    if not folder.last.exists():
        raise RunFolderError(f"{run}: holds no run to resume ({folder.stopped.name} or {folder.last.name})")
    if not {"minutes", "epochs"} & options.given(budget).keys():
        raise RunFolderError(f"{run}: the run is complete; --minutes or --epochs train it for longer")
    return _extend(folder, options.given(budget), machine or Machine(), texts)


def _continue(folder: RunFolder, texts: Texts) -> int:
    """Continues an interrupted run as it was started."""
    from ..run.fit import Job
    from ..run.snapshot import load_snapshot
    from .lessons import read_lessons_again
    from .texts import read_dataset_again
    from .training import device_of, set_threads, train

    snapshot = load_snapshot(folder.stopped)
    folder.check_writable()
    dataset = read_dataset_again(snapshot, snapshot.alphabet, texts.cache, moved_to=texts.corpus)
    lessons = read_lessons_again(snapshot.taught, dataset, texts.cache)
    set_threads(snapshot.threads, snapshot.processes)
    job = Job(
        dataset=dataset,
        architecture=snapshot.architecture,
        recipe=snapshot.recipe,
        command=snapshot.command,
        device=device_of(snapshot.device, snapshot.processes),
        tensorboard=bool(folder.event_files),
        snapshot=snapshot,
        lessons=lessons,
    )
    return train(job, folder, snapshot.processes)


def _extend(folder: RunFolder, budget: dict[str, Any], machine: Machine, texts: Texts) -> int:
    """Trains a finished run for longer."""
    from ..run.checkpoint import THEN, CheckpointError, load_checkpoint
    from ..run.fit import Job
    from ..run.terminal import show_summary
    from .lessons import read_lessons_again
    from .texts import read_dataset_again
    from .training import command, device_of, set_threads, train

    last = load_checkpoint(folder.last)
    record = last.record
    if record.recipe is None:
        raise CheckpointError(f"{folder.last}: an earlier release wrote it, without its recipe: use fit --from")
    folder.check_writable()
    dataset = read_dataset_again(record, last.alphabet, texts.cache, moved_to=texts.corpus)
    lessons = read_lessons_again(record.taught, dataset, texts.cache)
    set_threads(machine.threads, machine.processes)
    if rank() == 0:
        show_summary(dataset, lessons)
    job = Job(
        dataset=dataset,
        architecture=last.architecture,
        recipe=dataclasses.replace(record.recipe, **{"minutes": None, "epochs": None, **budget}),
        command=f"{record.command}{THEN}{command()}",
        device=device_of(machine.device, machine.processes),
        tensorboard=bool(folder.event_files),
        initial=last,
        # Without a row that was written just before a kill, and whose weights were not.
        earlier=[row for row in folder.read_losses() if row.step <= last.record.step],
        lessons=lessons,
    )
    return train(job, folder, machine.processes)
