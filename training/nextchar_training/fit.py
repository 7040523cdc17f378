"""Fit: one training run, from a corpus to a full run folder.

Joins the trainer, which knows no files, with the checkpoints, the display and the report.
"""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import torch

from nextchar_training.alphabet import Alphabet
from nextchar_training.checkpoint import Checkpoint, TrainingRecord, load_checkpoint, save_checkpoint
from nextchar_training.corpus import Corpus
from nextchar_training.display import Display
from nextchar_training.evaluation import NetworkScorer, bits, evaluate
from nextchar_training.network import Architecture, Network
from nextchar_training.run_folder import LossRow, RunFolder, draw_losses
from nextchar_training.sampling import sample
from nextchar_training.stopped_run import StoppedRun, save_stopped_run
from nextchar_training.trainer import Settings, Trainer, has_fast_bf16

EVALUATED_CHARACTERS = 2**17
"""Held-out characters that the final figures are of, at most: character by character takes a while."""

_SECONDS_AT_RISK = 60.0
"""Most work that a killed run has to do again."""

_SAMPLE_CHARACTERS = 500
_SAMPLE_TEMPERATURES = (0.5, 0.8, 1.0)


def fit(
    corpus: Corpus,
    alphabet: Alphabet,
    architecture: Architecture,
    settings: Settings,
    folder: RunFolder,
    command: str,
    stopped: StoppedRun | None = None,
) -> Checkpoint:
    """Trains and fills ``folder``; gives the best checkpoint. Goes on from ``stopped`` where one is given.

    SIGINT and SIGTERM stop the training. A stopped run keeps its checkpoints and gets its samples and its
    report, but not the losses under both protocols, which take a while.
    """
    torch.manual_seed(settings.seed)  # of the first weights
    network = Network(architecture, dropout=settings.dropout, input_dropout=settings.input_dropout)
    corpus_sha256 = corpus.sha256
    rows: list[LossRow] = []  # of the scheduled evaluations
    recent: list[float] = []  # training losses since the last of them
    position = None
    if stopped is not None:
        network.load_state_dict(stopped.weights)
        rows, recent, position = list(stopped.losses), list(stopped.training_losses), stopped.position
        folder.write_losses(rows)
    trainer = Trainer(network, corpus, alphabet, settings, position)
    last = rows[-1] if rows else None
    saved = 0.0  # when the run was last written, by ``time.monotonic``
    with _stop_on_signals() as stop, Display() as display:
        for progress in trainer.steps(stop):
            if progress.step == 1:
                folder.start()  # now that nothing is wrong with the text and the settings
            display.show(progress)
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
                record = TrainingRecord(
                    corpus=corpus.name,
                    sources=corpus.sources,
                    corpus_sha256=corpus_sha256,
                    characters=len(corpus.text),
                    command=command,
                    seed=settings.seed,
                    step=last.step,
                    epoch=last.epoch,
                    seconds=last.seconds,
                    training_loss=last.training_loss,
                    validation_loss=last.validation_loss,
                )
                checkpoint = Checkpoint(architecture, alphabet, network.state_dict(), record)
                save_checkpoint(checkpoint, folder.last)
                # What a stop brings is not the best of a run that goes on later, which would not have had it.
                if not rows or (progress.scheduled and last.validation_loss < min(r.validation_loss for r in rows)):
                    save_checkpoint(checkpoint, folder.best)
                if progress.scheduled:
                    rows.append(last)
                    recent.clear()
            if progress.validation_loss is not None or time.monotonic() > saved + _SECONDS_AT_RISK:
                run = StoppedRun(
                    command,
                    corpus.sources,
                    corpus_sha256,
                    torch.get_num_threads(),
                    architecture,
                    settings,
                    network.state_dict(),
                    trainer.position,
                    rows,
                    recent,
                )
                save_stopped_run(run, folder.stopped)
                saved = time.monotonic()
    assert last is not None
    best = load_checkpoint(folder.best)
    if not stop.is_set():
        print(f"evaluating the best checkpoint on {_held_out(corpus)} characters", flush=True)
        with suppress(KeyboardInterrupt):
            held_out = alphabet.encode(corpus.validation[:EVALUATED_CHARACTERS])
            evaluation = evaluate(NetworkScorer(best.network()), held_out)
            record = replace(best.record, stateful_loss=evaluation.stateful, windows_loss=evaluation.windows)
            best = replace(best, record=record)
            save_checkpoint(best, folder.best)
    draw_losses(
        rows if last in rows else [*rows, last],
        folder.curve,
        f"{corpus.name}, {architecture.layers} x {architecture.hidden_size}",
    )
    folder.samples.write_text(_samples(best), encoding="utf-8")
    folder.report.write_text(_report(best, corpus, settings, last), encoding="utf-8")
    if best.record.stateful_loss is not None:
        folder.stopped.unlink(missing_ok=True)  # the run is complete
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


def _samples(checkpoint: Checkpoint) -> str:
    network = checkpoint.network()
    texts = []
    for temperature in _SAMPLE_TEMPERATURES:
        text = "".join(
            sample(network, checkpoint.alphabet, "", characters=_SAMPLE_CHARACTERS, seed=1, temperature=temperature)
        )
        texts.append(f"--- temperature {temperature}, seed 1 ---\n{text}\n")
    return "\n".join(texts)


def _held_out(corpus: Corpus) -> str:
    if len(corpus.validation) <= EVALUATED_CHARACTERS:
        return f"the {len(corpus.validation):,} held-out"
    return f"the first {EVALUATED_CHARACTERS:,} of {len(corpus.validation):,} held-out"


def _report(best: Checkpoint, corpus: Corpus, settings: Settings, last: LossRow) -> str:
    architecture, record = best.architecture, best.record
    parameters = sum(weight.numel() for weight in best.weights.values())
    budget = f"{settings.minutes:g} minutes" if settings.epochs is None else f"{settings.epochs} epochs"
    precision = "bfloat16 autocast" if has_fast_bf16() else "float32 (this CPU has neither AMX nor AVX512-BF16)"
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

## Loss of the best checkpoint on {_held_out(corpus)} characters

{losses}
Watched during training, on the first part of them: {record.validation_loss:.4f} nats at step {record.step:,}, \
the best of the run; {last.validation_loss:.4f} at the last step, {last.step:,}.

![The losses along the way](loss.png)

## Corpus

- {record.corpus}: {record.characters:,} characters, of which the first {len(corpus.training):,} were trained on
- SHA-256 of the text: {record.corpus_sha256}
- alphabet: {len(best.alphabet.symbols)} {best.alphabet.kind} and the document boundary

## Network and training

- {architecture.cell}, {architecture.layers} x {architecture.hidden_size}, embedding {architecture.embedding_size}: \
{parameters:,} parameters
- budget {budget}; batch {settings.batch_size} x {settings.sequence_length} characters; \
learning rate {settings.learning_rate:g}; dropout {settings.dropout:g}, on the input {settings.input_dropout:g}; \
seed {settings.seed}
- {last.step:,} steps, {last.epoch:.1f} epochs, {last.characters:,} characters in {last.seconds:,.0f} s: \
{last.characters / last.seconds:,.0f} characters/s, evaluations included
- precision: {precision}; the losses above are in float32

## Machine

- {_processor()}, {os.cpu_count()} processors seen, {torch.get_num_threads()} threads used
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
