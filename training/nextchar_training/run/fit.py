"""Fit: one training run, from a dataset to a full run folder.

Joins the trainer, which knows no files, with those who want to hear of it: the run folder, TensorBoard, the terminal.
Invariant: a run that has trained keeps its checkpoints and its exit code, whatever happens to a picture or a report.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from types import FrameType

import torch

from nextchar_cli.printable import printable

from ..data.sources import stored
from ..learning.evaluation import NetworkScorer, evaluate
from ..learning.network import Network
from ..learning.trainer import Trainer
from ..learning.workers import Workers
from .advice import about_best
from .checkpoint import Checkpoint, TrainingRecord, load_checkpoint, save_checkpoint
from .curves import draw_losses
from .extras import ExtraReporter, extra
from .folder import LossRow, RunFolder
from .job import Job as Job
from .ledger import Ledger, Reporter, Update
from .report import evaluated_part, written_report
from .samples import written_sample, written_samples
from .snapshot import Snapshot, save_snapshot
from .terminal import TerminalReporter, evaluating, tell


def follow(job: Job, workers: Workers) -> None:
    """Trains beside rank 0, which alone writes files, handles signals and talks to people."""
    _, trainer = job.trainer(workers)
    for progress in trainer.steps(threading.Event()):
        if progress.keep:
            _ = trainer.position  # all ranks gather it together


def fit(job: Job, folder: RunFolder, workers: Workers) -> Checkpoint:
    """Trains as rank 0, fills ``folder``, and returns the best checkpoint.

    Pictures, samples, the report, TensorBoard and the terminal are extras: one that fails is a warning. SIGINT and
    SIGTERM stop the training. A stopped run keeps its checkpoints and gets samples and a report. It can be
    resumed, so it is not evaluated on the held-out text, and the record of the checkpoint returned has no such losses.
    """
    folder.check_writable()
    network, trainer = job.trainer(workers)
    ledger = job.ledger()
    if job.is_new:
        for advice in job.advice:
            tell(advice)
    with ExitStack() as stack:
        stop = stack.enter_context(_stop_on_signals())
        # The folder comes first: TensorBoard's file is in it, and the terminal tells what is safely written.
        reporters: list[Reporter] = [FolderReporter(folder, job, ledger, trainer, network, workers)]
        reporters += [stack.enter_context(reporter) for reporter in _extra_reporters(job, folder)]
        for progress in trainer.steps(stop):
            update = ledger.add(progress, partial(written_sample, network, job.dataset))
            for reporter in reporters:
                reporter.report(update)
    if not folder.held_out.exists():  # no step was left of a run that an earlier release began
        folder.write_held_out(job.split.validation)
    best = with_losses(load_checkpoint(folder.best), None, None)
    if not stop.is_set():
        best = _evaluated(best, job)
    is_complete = best.record.stateful_loss is not None
    if is_complete:
        save_checkpoint(best, folder.best)
    with extra(folder.curve.name):
        draw_losses({printable(folder.path.name): ledger.all_rows}, folder.curve, job.title)
    with extra(folder.samples.name):
        folder.write_samples(written_samples(best, job.dataset.rules))
    with extra(folder.report.name):
        folder.write_report(written_report(job, best, ledger, workers))
    if is_complete:
        folder.stopped.unlink(missing_ok=True)
        with extra("the terminal"):
            tell(about_best(ledger.all_rows, job.recipe.patience))
    return best


def _extra_reporters(job: Job, folder: RunFolder) -> Iterator[ExtraReporter]:
    """Returns the reporters that the training doesn't depend on."""
    if job.tensorboard:
        with extra("TensorBoard's file"):
            from .tensorboard import TensorBoardReporter  # takes seconds to import

            yield ExtraReporter("TensorBoard's file", TensorBoardReporter(folder.path))
    lines = job.dataset.rules.documents == "line"
    threads = torch.get_num_threads() if job.device.type == "cpu" else 1
    yield ExtraReporter("the terminal", TerminalReporter(threads=threads, lines=lines, minutes=job.recipe.minutes))


class FolderReporter:
    """Writes losses, checkpoints and snapshots into the run folder."""

    def __init__(
        self, folder: RunFolder, job: Job, ledger: Ledger, trainer: Trainer, network: Network, workers: Workers
    ) -> None:
        self._folder, self._job, self._ledger = folder, job, ledger
        self._trainer, self._network, self._workers = trainer, network, workers
        self._rows_before = ledger.all_rows
        self._is_started = False

    def report(self, update: Update) -> None:
        """Writes whatever is new, and the held-out text at the first step."""
        if not self._is_started:  # after a step, nothing is wrong with the text and the recipe
            self._start()
        if update.row is not None:
            self._folder.add_losses(update.row)
            checkpoint = self._checkpoint(update.row)
            save_checkpoint(checkpoint, self._folder.last)
            if update.is_best:
                save_checkpoint(checkpoint, self._folder.best)
        if update.progress.keep:
            save_snapshot(self._snapshot(), self._folder.stopped)

    def _start(self) -> None:
        if self._job.is_new:
            self._folder.start()
        else:  # without rows that a killed run wrote after its snapshot
            self._folder.write_losses(self._rows_before)
        self._folder.write_held_out(self._job.split.validation)
        self._is_started = True

    def _checkpoint(self, row: LossRow) -> Checkpoint:
        job, dataset = self._job, self._job.dataset
        record = TrainingRecord(
            corpus=dataset.corpus.name,
            sources=tuple(map(stored, dataset.corpus.sources)),
            folder=stored(dataset.corpus.folder),
            corpus_sha256=dataset.facts.sha256,
            files_sha256=dataset.facts.files_sha256,
            rules=dataset.rules,
            characters=dataset.facts.characters,
            command=job.command,
            seed=job.recipe.seed,
            step=row.step,
            epoch=row.epoch,
            seconds=row.seconds,
            training_loss=row.training_loss,
            validation_loss=row.validation_loss,
            recipe=job.recipe,
            taught=job.taught,
            start=job.start,
        )
        return Checkpoint(job.architecture, dataset.alphabet, self._network.state_dict(), record)

    def _snapshot(self) -> Snapshot:
        job, dataset = self._job, self._job.dataset
        return Snapshot(
            command=job.command,
            sources=tuple(map(stored, dataset.corpus.sources)),
            folder=stored(dataset.corpus.folder),
            corpus_sha256=dataset.facts.sha256,
            files_sha256=dataset.facts.files_sha256,
            rules=dataset.rules,
            device=job.device.type,
            processes=self._workers.size,
            threads=torch.get_num_threads(),
            architecture=job.architecture,
            recipe=job.recipe,
            weights=self._network.state_dict(),
            position=self._trainer.position,
            losses=self._ledger.rows,
            training_losses=self._ledger.training_losses,
            earlier=self._ledger.earlier,
            alphabet=job.given_alphabet,
            taught=job.taught,
            start=job.start,
        )


def with_losses(checkpoint: Checkpoint, stateful: float | None, windows: float | None) -> Checkpoint:
    """Returns ``checkpoint`` with other losses on the held-out text."""
    record = replace(checkpoint.record, stateful_loss=stateful, windows_loss=windows)
    return replace(checkpoint, record=record)


def _evaluated(best: Checkpoint, job: Job) -> Checkpoint:
    """``best`` with its losses under both protocols, or without them if Ctrl-C ends the wait."""
    with suppress(KeyboardInterrupt), evaluating(evaluated_part(job)) as show:
        evaluation = evaluate(NetworkScorer(best.network()), job.split.validation, progress=show)
        return with_losses(best, evaluation.stateful, evaluation.windows)
    return best


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM set the event; the second one interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # which alone hears of signals
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
