"""Fit: one training run, from a corpus to a full run folder.

Joins the trainer, which knows no files, with the checkpoints, the display and the report.
"""

from __future__ import annotations

import os
import platform
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import torch

from nextchar_model.alphabet import Alphabet

from ..data.dataset import Dataset
from ..data.split import EVALUATED_CHARACTERS, Split
from ..data.summary import summarized
from ..learning.evaluation import NetworkScorer, bits, evaluate
from ..learning.network import Network
from ..learning.recipe import Architecture, Recipe
from ..learning.sampling import sample
from ..learning.trainer import Trainer, has_fast_bf16
from ..learning.workers import Workers
from .checkpoint import Checkpoint, TrainingRecord, load_checkpoint, save_checkpoint
from .curves import draw_losses
from .folder import LossRow, RunFolder
from .snapshot import StoppedRun, save_stopped_run
from .tensorboard import Board
from .terminal import SAMPLE_CHARACTERS, Display

_SAMPLE_CHARACTERS = 500
_SAMPLE_TEMPERATURES = (0.5, 0.8, 1.0)


@dataclass(frozen=True)
class Job:
    """What is to be trained, on what, how, and where; ``stopped`` is the run to go on with, where there is one."""

    dataset: Dataset
    architecture: Architecture
    settings: Recipe
    command: str
    device: torch.device
    board: bool = False
    """Whether TensorBoard is to see it."""
    stopped: StoppedRun | None = None

    @property
    def title(self) -> str:
        """What the run is, in a few words."""
        architecture = self.architecture
        return f"{self.dataset.corpus.name}, {architecture.cell} {architecture.layers} x {architecture.hidden_size}"

    def trainer(self, processes: Workers) -> tuple[Network, Trainer]:
        """The network and its trainer, where the stopped run left them or with first weights."""
        torch.manual_seed(self.settings.seed)  # of the first weights
        network = Network(self.architecture, dropout=self.settings.dropout, input_dropout=self.settings.input_dropout)
        if self.stopped is not None:
            network.load_state_dict(self.stopped.weights)
        network.to(self.device)
        position = None if self.stopped is None else self.stopped.position
        return network, Trainer(network, Split.of(self.dataset), self.settings, position=position, workers=processes)


def follow(job: Job, processes: Workers) -> None:
    """Trains beside rank 0, which alone knows of files, signals and people."""
    _, trainer = job.trainer(processes)
    for progress in trainer.steps(threading.Event()):
        if progress.keep:
            _ = trainer.position


def fit(job: Job, folder: RunFolder, processes: Workers) -> Checkpoint:
    """Trains as rank 0 and fills ``folder``; gives the best checkpoint.

    SIGINT and SIGTERM stop the training. A stopped run keeps its checkpoints and gets its samples and its
    report, but not the losses under both protocols, which take a while.
    """
    network, trainer = job.trainer(processes)
    rows: list[LossRow] = []  # of the scheduled evaluations
    recent: list[float] = []  # training losses since the last of them
    if job.stopped is not None:
        rows, recent = list(job.stopped.losses), list(job.stopped.training_losses)
        folder.write_losses(rows)
    last = rows[-1] if rows else None
    started = job.stopped is not None
    with (
        _stop_on_signals() as stop,
        Display() as display,
        Board(folder.path) if job.board else nullcontext() as board,
    ):
        for progress in trainer.steps(stop):
            if not started:
                folder.start()  # now that nothing is wrong with the text and the settings
                started = True
            wants_sample = progress.validation_loss is not None and (job.board or display.wants_sample)
            text = _sample(network, job.dataset.alphabet) if wants_sample else None
            display.show(progress, text)
            if board is not None:
                board.show(progress, text)
            recent.append(progress.training_loss)
            if progress.validation_loss is not None:
                last = LossRow(
                    step=progress.step,
                    epoch=progress.epoch,
                    seconds=progress.seconds,
                    characters=progress.characters,
                    learning_rate=progress.learning_rate,
                    training_loss=sum(recent) / len(recent),
                    validation_loss=progress.validation_loss,
                )
                folder.add_losses(last)
                checkpoint = Checkpoint(
                    job.architecture, job.dataset.alphabet, network.state_dict(), _record(job, last)
                )
                save_checkpoint(checkpoint, folder.last)
                # What a stop brings is not the best of a run that goes on later, which would not have had it.
                if not rows or (progress.scheduled and last.validation_loss < min(r.validation_loss for r in rows)):
                    save_checkpoint(checkpoint, folder.best)
                if progress.scheduled:
                    rows.append(last)
                    recent.clear()
            if progress.keep:
                run = StoppedRun(
                    command=job.command,
                    sources=job.dataset.corpus.sources,
                    corpus_sha256=job.dataset.facts.sha256,
                    rules=job.dataset.rules,
                    device=job.device.type,
                    processes=processes.size,
                    threads=torch.get_num_threads(),
                    architecture=job.architecture,
                    settings=job.settings,
                    weights=network.state_dict(),
                    position=trainer.position,
                    losses=rows,
                    training_losses=recent,
                )
                save_stopped_run(run, folder.stopped)
    assert last is not None
    best = load_checkpoint(folder.best)
    if not stop.is_set():
        best = _evaluated(best, job.dataset)
        save_checkpoint(best, folder.best)
    draw_losses({folder.path.name: rows if last in rows else [*rows, last]}, folder.curve, job.title)
    folder.samples.write_text(_samples(best), encoding="utf-8")
    folder.report.write_text(_report(best, job, processes, last), encoding="utf-8")
    if best.record.stateful_loss is not None:
        folder.stopped.unlink(missing_ok=True)  # the run is complete
    return best


def _record(job: Job, row: LossRow) -> TrainingRecord:
    dataset = job.dataset
    return TrainingRecord(
        corpus=dataset.corpus.name,
        sources=dataset.corpus.sources,
        corpus_sha256=dataset.facts.sha256,
        rules=dataset.rules,
        characters=dataset.facts.characters,
        command=job.command,
        seed=job.settings.seed,
        step=row.step,
        epoch=row.epoch,
        seconds=row.seconds,
        training_loss=row.training_loss,
        validation_loss=row.validation_loss,
    )


def _evaluated(best: Checkpoint, dataset: Dataset) -> Checkpoint:
    """``best`` with its losses under both protocols, or without them where Ctrl-C ends the wait."""
    documents = dataset.documents(dataset.validation, best.alphabet, EVALUATED_CHARACTERS)
    print(f"evaluating the best checkpoint on {_evaluated_part(dataset)}", flush=True)
    with suppress(KeyboardInterrupt):
        evaluation = evaluate(NetworkScorer(best.network()), documents)
        return replace(
            best, record=replace(best.record, stateful_loss=evaluation.stateful, windows_loss=evaluation.windows)
        )
    return best


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """SIGINT and SIGTERM set the event; the second one interrupts at once."""
    stop = threading.Event()

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


def _sample(network: Network, alphabet: Alphabet) -> str:
    """What ``network``, in the middle of its training, writes: always with the same random numbers."""
    text = "".join(sample(network, alphabet, "", characters=SAMPLE_CHARACTERS, seed=1, temperature=0.8))
    network.train()
    return text


def _samples(checkpoint: Checkpoint) -> str:
    network = checkpoint.network()
    texts = []
    for temperature in _SAMPLE_TEMPERATURES:
        text = "".join(
            sample(network, checkpoint.alphabet, "", characters=_SAMPLE_CHARACTERS, seed=1, temperature=temperature)
        )
        texts.append(f"--- temperature {temperature}, seed 1 ---\n{text}\n")
    return "\n".join(texts)


def _evaluated_part(dataset: Dataset) -> str:
    """What the final figures are of, in words."""
    characters = round(len(dataset.validation) * dataset.characters_an_id)
    if characters <= EVALUATED_CHARACTERS:
        return "all that was held out"
    return f"the first {EVALUATED_CHARACTERS:,} held-out characters"


def _report(best: Checkpoint, job: Job, processes: Workers, last: LossRow) -> str:
    architecture, record = best.architecture, best.record
    dataset, settings = job.dataset, job.settings
    parameters = sum(weight.numel() for weight in best.weights.values())
    precision = "bfloat16 autocast" if has_fast_bf16(job.device) else "float32 (no bfloat16 here)"
    summary = "\n".join(f"- {name}: {value}" for name, value in summarized(dataset))
    threads = torch.get_num_threads()
    together = f"{processes.size} process{'' if processes.size == 1 else 'es'}"
    used = f"{together} of {threads} thread{'' if threads == 1 else 's'}"
    if job.device.type == "cuda":
        used = f"{processes.size} x {torch.cuda.get_device_name(job.device)}, {used}"
    if record.stateful_loss is None or record.windows_loss is None:
        losses = (
            "The run was stopped, so it was not evaluated: "
            "`nextchar-train resume` goes on with it, "
            "`nextchar-train evaluate best.pt CORPUS --split validation` evaluates it as it is.\n"
        )
    else:
        losses = (
            "| protocol | nats per character | bits per character |\n|---|---|---|\n"
            f"| stateful: the state carried from the first character to the last | {record.stateful_loss:.4f} "
            f"| {bits(record.stateful_loss):.4f} |\n"
            f"| windows of 256 characters, each from state zero | {record.windows_loss:.4f} "
            f"| {bits(record.windows_loss):.4f} |\n"
        )
    return f"""# Training run

    {record.command}

## Loss of the best checkpoint on {_evaluated_part(dataset)}

{losses}
Watched during training, on windows from all over them: {record.validation_loss:.4f} nats at step {record.step:,}, \
the best of the run; {last.validation_loss:.4f} at the last step, {last.step:,}.

![The losses along the way](loss.png)

## Corpus

{summary}
- SHA-256 of the text: {record.corpus_sha256}

## Network and training

- {architecture.cell}, {architecture.layers} x {architecture.hidden_size}, embedding {architecture.embedding_size}: \
{parameters:,} parameters
- budget {settings.budget}; batch {settings.batch_size} x {settings.sequence_length} characters; \
learning rate {settings.learning_rate:g}; seed {settings.seed}
- dropout {settings.dropout:g}, on the input {settings.input_dropout:g}; weight decay {settings.weight_decay:g}
- {last.step:,} steps, {last.epoch:.1f} epochs, {last.characters:,} characters in {last.seconds:,.0f} s: \
{last.characters / last.seconds:,.0f} characters/s, evaluations included
- precision: {precision}; the losses above are in float32

## Machine

- {_processor()}, {os.cpu_count()} processors seen, {used}
- Python {platform.python_version()}, torch {torch.__version__}, nextchar {version("nextchar")}, \
{platform.system()} {platform.machine()}
"""


def _processor() -> str:
    """The processor's name; Python's own answer is empty on Linux."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
