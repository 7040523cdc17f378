"""Fit: one training run, from a dataset to a full run folder.

Joins the trainer, which knows no files, with those who want to hear of it: the run folder, TensorBoard, the terminal.

A training starts in one of four ways:

- from random weights;
- from the weights of a checkpoint (``Job.initial``): fine-tuning, on any text that the checkpoint's alphabet spells;
- from a snapshot (``Job.snapshot``): a run that was interrupted continues, bit for bit as if it had not been;
- from the last weights of a finished run (``Job.initial`` and ``Job.earlier``): it trains for longer. Its learning rate
  has fallen to zero, so the schedule starts anew over the added budget, with a new optimizer: a warm restart
  (Loshchilov & Hutter 2017). Steps, epochs and losses count on, and ``best.pt`` stays until it is beaten.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import FrameType

import torch

from nextchar_model.alphabet import Alphabet

from ..data.dataset import Dataset
from ..data.split import Split
from ..learning.evaluation import NetworkScorer, evaluate
from ..learning.network import Network
from ..learning.recipe import Architecture, Recipe
from ..learning.trainer import Trainer
from ..learning.workers import Workers
from .advice import about_best, about_size
from .checkpoint import Checkpoint, CheckpointError, TrainingRecord, load_checkpoint, save_checkpoint
from .curves import draw_losses
from .folder import LossRow, RunFolder
from .ledger import Ledger, Reporter, Update
from .report import evaluated_part, written_report
from .samples import written_sample, written_samples
from .snapshot import Snapshot, save_snapshot
from .terminal import TerminalReporter, evaluating, tell


@dataclass(frozen=True, kw_only=True)
class Job:
    """The training to do: dataset, network, recipe, device, and where it starts (see the module).

    Raises ``CheckpointError`` if ``initial`` has another architecture, or another alphabet than the dataset.
    """

    dataset: Dataset
    architecture: Architecture
    recipe: Recipe
    command: str
    """The command line, for the checkpoint and the report; of a run that trained for longer, all of them."""
    device: torch.device
    tensorboard: bool = False
    initial: Checkpoint | None = None
    """The weights to start from."""
    earlier: Sequence[LossRow] = ()
    """The losses of the finished run that this one continues in the same folder."""
    snapshot: Snapshot | None = None
    """The interrupted run that this one continues in the same folder."""

    def __post_init__(self) -> None:
        if self.initial is not None:
            if self.initial.architecture != self.architecture:
                raise CheckpointError("the network's sizes are not those of the checkpoint to start from")
            if self.initial.alphabet != self.dataset.alphabet:
                raise CheckpointError("the text is not spelled in the alphabet of the checkpoint to start from")

    @property
    def title(self) -> str:
        """The corpus and the network in a few words."""
        architecture = self.architecture
        return f"{self.dataset.corpus.name}, {architecture.cell} {architecture.layers} × {architecture.hidden_size}"

    @property
    def is_new(self) -> bool:
        """Whether the run starts here, so that its folder starts empty."""
        return self.snapshot is None and not self.earlier

    @property
    def given_alphabet(self) -> Alphabet | None:
        """The alphabet of the checkpoint from whose weights the run started, if it did."""
        if self.snapshot is not None:
            return self.snapshot.alphabet
        return None if self.initial is None else self.initial.alphabet

    @property
    def size_advice(self) -> str | None:
        """Advice if the network is far too large for the corpus. None if it started as another run's network."""
        if self.given_alphabet is not None:
            return None
        return about_size(self.dataset.facts.characters, self.architecture.hidden_size)

    @cached_property
    def split(self) -> Split:
        """The text to train on, and the one to evaluate on."""
        return Split.of(self.dataset)

    def trainer(self, workers: Workers) -> tuple[Network, Trainer]:
        """Returns the network, with the weights that it starts from, and its trainer."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed)  # of random weights
        network = Network(self.architecture, dropout=recipe.dropout, input_dropout=recipe.input_dropout)
        start = self.snapshot or self.initial
        if start is not None:
            network.load_state_dict(start.weights)
        network.to(self.device)
        position = None if self.snapshot is None else self.snapshot.position
        return network, Trainer(network, self.split, recipe, position=position, workers=workers)

    def ledger(self) -> Ledger:
        """Returns the losses so far."""
        if self.snapshot is None:
            return Ledger(earlier=self.earlier)
        return Ledger(
            earlier=self.snapshot.earlier, rows=self.snapshot.losses, training_losses=self.snapshot.training_losses
        )


def follow(job: Job, workers: Workers) -> None:
    """Trains beside rank 0, which alone writes files, handles signals and talks to people."""
    _, trainer = job.trainer(workers)
    for progress in trainer.steps(threading.Event()):
        if progress.keep:
            _ = trainer.position  # all ranks gather it together


def fit(job: Job, folder: RunFolder, workers: Workers) -> Checkpoint:
    """Trains as rank 0, fills ``folder``, and returns the best checkpoint.

    SIGINT and SIGTERM stop the training. A stopped run keeps its checkpoints and gets samples and a report. It can be
    resumed, so it is not evaluated on the held-out text, and the record of the checkpoint returned has no such losses.
    """
    network, trainer = job.trainer(workers)
    ledger = job.ledger()
    if job.is_new and job.size_advice is not None:
        tell(job.size_advice)
    with ExitStack() as stack:
        stop = stack.enter_context(_stop_on_signals())
        # The folder comes first: TensorBoard's file is in it, and the terminal tells what is safely written.
        reporters: list[Reporter] = [FolderReporter(folder, job, ledger, trainer, network, workers)]
        if job.tensorboard:
            from .tensorboard import TensorBoardReporter  # takes seconds to import

            reporters.append(stack.enter_context(TensorBoardReporter(folder.path)))
        lines = job.dataset.rules.documents == "line"
        threads = torch.get_num_threads() if job.device.type == "cpu" else 1
        reporters.append(
            stack.enter_context(TerminalReporter(threads=threads, lines=lines, minutes=job.recipe.minutes))
        )
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
    draw_losses({folder.path.name: ledger.all_rows}, folder.curve, job.title)
    folder.samples.write_text(written_samples(best, job.dataset.rules), encoding="utf-8")
    folder.report.write_text(written_report(job, best, ledger, workers), encoding="utf-8")
    if is_complete:
        folder.stopped.unlink(missing_ok=True)
        tell(about_best(ledger.all_rows, job.recipe.patience))
    return best


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
            sources=dataset.corpus.sources,
            corpus_sha256=dataset.facts.sha256,
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
        )
        return Checkpoint(job.architecture, dataset.alphabet, self._network.state_dict(), record)

    def _snapshot(self) -> Snapshot:
        job, dataset = self._job, self._job.dataset
        return Snapshot(
            command=job.command,
            sources=dataset.corpus.sources,
            corpus_sha256=dataset.facts.sha256,
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
