"""The command ``nextchar-train``: fit, resume, export, evaluate, compare, gates, gradients and sample.

Thin: it calls the library with the options and turns every error that a user can cause into one line.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import FrameType
from typing import Any

# Threads that spin while they wait for each other starve one another as soon as anything else runs: training with
# two threads on two cores fell to a tenth. OpenMP reads this when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from rich.console import Console

from nextchar_model.alphabet import Unknown, UnknownCharacterError
from nextchar_model.description import ModelFileError, TrainingSummary
from nextchar_model.runner import Runner

from ..data.batches import TextTooShortError
from ..data.corpus import CorpusError
from ..data.dataset import Dataset, prepare
from ..data.rules import DatasetError, Rules
from ..data.sources import find_corpus
from ..data.split import EVALUATED_CHARACTERS, Split
from ..export.exporter import MAX_CHARACTERS, ExportError, export
from ..insight import gates, gradients
from ..insight.gates import GatesError
from ..learning.allocator import keep_freed_memory
from ..learning.evaluation import NetworkScorer, Scorer, bits, evaluate, stateful_loss
from ..learning.recipe import Architecture, Recipe, TrainingError
from ..learning.sampling import SamplingError, sample
from ..learning.workers import WorkersError, joined
from ..run.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from ..run.comparison import read_runs, tabulated
from ..run.curves import draw_losses
from ..run.fit import Job, fit, follow
from ..run.folder import RunFolder, RunFolderError
from ..run.snapshot import load_stopped_run
from ..run.terminal import preparing, show_summary

_ERRORS = (
    CheckpointError,
    CorpusError,
    DatasetError,
    ExportError,
    GatesError,
    ModelFileError,
    WorkersError,
    RunFolderError,
    SamplingError,
    TextTooShortError,
    TrainingError,
    UnknownCharacterError,
    OSError,
)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command that ``options.read`` read, and gives its exit code."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _COMMANDS[arguments.command](arguments)
    except _ERRORS as error:
        if _rank() > 0 and isinstance(error, (WorkersError, TrainingError)):
            return 2  # which rank 0 tells
        message = str(error)
        if isinstance(error, OSError) and error.filename is not None:
            message = f"{error.filename}: {error.strerror}"
        print(f"nextchar-train: error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _rules(arguments: argparse.Namespace, usual: Rules) -> Rules:
    """The rules that the options give, ``usual`` where they say nothing."""
    given = {each.name: getattr(arguments, each.name) for each in fields(Rules)}
    rules = replace(usual, **{name: value for name, value in given.items() if value is not None})
    if arguments.replacement is not None and rules.rare != "replace":
        raise DatasetError("--replacement takes --rare replace")
    return rules


def _rules_of(model: Path, training: TrainingSummary) -> Rules:
    """The rules by which the corpus of a model file became a dataset."""
    try:
        return Rules(**training.rules)
    except TypeError as error:
        raise ModelFileError(f"{model}: its rules are not known to this version: {error}") from error


def _dataset(arguments: argparse.Namespace, sources: Sequence[str], rules: Rules) -> Dataset:
    """The dataset of ``sources``."""
    with preparing() as show:
        corpus = find_corpus(sources, skip_undecodable=rules.skip_undecodable, scratch=arguments.cache)
        return prepare(corpus, rules, arguments.cache, show)


def _dataset_for(
    arguments: argparse.Namespace, sources: Sequence[str], rules: Rules, sha256: str
) -> tuple[Dataset, Unknown]:
    """The dataset of a text for a model that learnt by ``rules`` from the text of ``sha256``.

    Also says what happens to what the model cannot spell: in another text, that is what counts as rare.
    """
    unknown: Unknown = "error"
    with preparing() as show:
        corpus = find_corpus(sources, skip_undecodable=rules.skip_undecodable, scratch=arguments.cache)
        if rules.minimum_count > 1 and corpus.sha256() != sha256:
            unknown = "skip" if rules.rare == "drop" else "replace"
            what = "left out" if rules.rare == "drop" else f"replaced by {rules.replacement!r}"
            print(f"characters that the model cannot spell are {what}, as rare ones were")
            rules = replace(rules, minimum_count=1)
        return prepare(corpus, rules, arguments.cache, show), unknown


def _fit(arguments: argparse.Namespace) -> int:
    settings = Recipe(
        minutes=arguments.minutes,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        sequence_length=arguments.sequence_length,
        learning_rate=arguments.learning_rate,
        dropout=arguments.dropout,
        input_dropout=arguments.input_dropout,
        weight_decay=arguments.weight_decay,
        seed=arguments.seed,
        averaging_period=arguments.averaging_period,
        patience=arguments.patience,
    )
    if arguments.processes > 1:
        for source in arguments.corpus:
            if source == "-" or Path(source).is_fifo():
                name = "standard input" if source == "-" else source
                raise CorpusError(f"{name} is read once, which several processes cannot: write it to a file first")
    folder = RunFolder(arguments.out, overwrite=arguments.overwrite or _rank() > 0)
    device = _device(arguments.device, arguments.processes)
    dataset = _dataset(arguments, arguments.corpus, _rules(arguments, Rules()))
    architecture = Architecture(
        alphabet_size=dataset.alphabet.size,
        hidden_size=arguments.hidden_size,
        layers=arguments.layers,
        embedding_size=arguments.embedding_size,
        cell=arguments.cell,
    )
    torch.set_num_threads(arguments.threads or max(1, torch.get_num_threads() // arguments.processes))
    if _rank() == 0:
        show_summary(dataset)
    job = Job(
        dataset, architecture, settings, shlex.join(["nextchar-train", *arguments.argv]), device, arguments.tensorboard
    )
    return _train(job, folder, arguments)


def _resume(arguments: argparse.Namespace) -> int:
    folder = RunFolder(arguments.run_folder, overwrite=True)
    if not folder.stopped.exists():
        if folder.report.exists():
            raise RunFolderError(f"{folder.path}: the run is complete; there is nothing to go on with")
        raise RunFolderError(f"{folder.path}: holds no stopped run ({folder.stopped.name})")
    stopped = load_stopped_run(folder.stopped)
    remedy = "start anew with fit --overwrite"
    dataset = _dataset_again(arguments, stopped.sources, stopped.rules, stopped.corpus_sha256, remedy)
    torch.set_num_threads(stopped.threads)
    arguments.processes = stopped.processes
    job = Job(
        dataset,
        stopped.architecture,
        stopped.settings,
        stopped.command,
        _device(stopped.device, stopped.processes),
        bool(folder.boards),
        stopped,
    )
    return _train(job, folder, arguments)


def _train(job: Job, folder: RunFolder, arguments: argparse.Namespace) -> int:
    keep_freed_memory()
    with joined(arguments.processes, job.device, arguments.argv) as processes:
        if job.stopped is not None and processes.size != job.stopped.processes:
            raise WorkersError(f"the run had {job.stopped.processes} processes; it goes on with as many")
        if processes.rank > 0:
            follow(job, processes)
            return 0
        best = fit(job, folder, processes)
    return _finish(folder, best)


def _rank() -> int:
    """Which of several processes this one is (see ``processes``)."""
    return int(os.environ.get("RANK", "0"))


def _device(kind: str, processes: int) -> torch.device:
    """The device of this one of ``processes``. Raises ``TrainingError`` where this machine has none of that kind."""
    if kind == "cpu":
        return torch.device("cpu")
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if not torch.cuda.is_available():
        reason = "finds no GPU" if torch.version.cuda else "is built without CUDA"
        raise TrainingError(f"device cuda cannot be had: torch {torch.__version__} {reason}; --device cpu trains here")
    last = max(number, processes - 1)  # rank 0 says it before it waits for the others
    if last >= torch.cuda.device_count():
        raise TrainingError(
            f"device cuda:{last} cannot be had: there are {torch.cuda.device_count()} GPUs, one a process"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def _finish(folder: RunFolder, best: Checkpoint) -> int:
    print(folder.report)
    if best.record.stateful_loss is None or best.record.windows_loss is None:
        print(f"stopped before the end; nextchar-train resume {shlex.quote(str(folder.path))} goes on")
        return 130
    _print_loss("stateful", best.record.stateful_loss)
    _print_loss("windows", best.record.windows_loss)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    checkpoint = load_checkpoint(arguments.checkpoint)
    network, record, alphabet = checkpoint.network(), checkpoint.record, checkpoint.alphabet
    unknown: Unknown = "error"
    if arguments.text is not None:
        dataset, unknown = _dataset_for(arguments, arguments.text, record.rules, record.corpus_sha256)
        part = dataset.ids
    else:
        remedy = "give a text to check the file on with --text"
        dataset = _dataset_again(arguments, record.sources, record.rules, record.corpus_sha256, remedy)
        part = dataset.validation
    loss = record.stateful_loss
    if loss is None:  # the training was stopped
        evaluated = dataset.documents(part, alphabet, EVALUATED_CHARACTERS, unknown)
        loss = stateful_loss(NetworkScorer(network), evaluated)
    training = TrainingSummary(
        corpus=record.corpus,
        corpus_characters=record.characters,
        command=record.command,
        steps=record.step,
        seconds=record.seconds,
        seed=record.seed,
        validation_loss=loss,
        corpus_sha256=record.corpus_sha256,
        rules={name: value for name, value in asdict(record.rules).items() if value != getattr(Rules(), name)},
    )
    documents = dataset.documents(part, alphabet, MAX_CHARACTERS, unknown)
    export(network, alphabet, training, arguments.out, precision=arguments.precision, text=documents, say=print)
    print(arguments.out)
    return 0


def _dataset_again(
    arguments: argparse.Namespace, sources: Sequence[str], rules: Rules, sha256: str, remedy: str
) -> Dataset:
    """The dataset of a training. Raises ``CorpusError``, with the ``remedy``, where it is no longer what it was."""
    if "-" in sources:
        raise CorpusError(f"the model was trained on standard input, which is gone: {remedy}")
    try:
        dataset = _dataset(arguments, sources, rules)
    except (CorpusError, DatasetError) as error:
        raise CorpusError(f"the corpus of the training cannot be read again: {error}; {remedy}") from error
    if dataset.facts.sha256 != sha256:
        raise CorpusError(f"{dataset.corpus.name} is no longer the text that the model was trained on: {remedy}")
    return dataset


def _evaluate(arguments: argparse.Namespace) -> int:
    scorer: Scorer[Any]
    if arguments.model.suffix == ".onnx":
        runner = Runner(arguments.model)
        scorer, alphabet, training = runner, runner.description.alphabet, runner.description.training
        usual, sha256 = _rules_of(arguments.model, training), training.corpus_sha256
    else:
        checkpoint = load_checkpoint(arguments.model)
        scorer, alphabet = NetworkScorer(checkpoint.network()), checkpoint.alphabet
        usual, sha256 = checkpoint.record.rules, checkpoint.record.corpus_sha256
    dataset, unknown = _dataset_for(arguments, arguments.text, _rules(arguments, usual), sha256)
    part = dataset.ids if arguments.split == "all" else dataset.validation
    documents = dataset.documents(part, alphabet, arguments.characters, unknown)
    if not documents:
        raise DatasetError(f"{dataset.corpus.name}: holds no character that the model can spell")
    result = evaluate(scorer, documents)
    first = "the first " if result.characters == arguments.characters else ""
    print(f"{first}{result.characters:,} characters of {dataset.corpus.name}")
    _print_loss("stateful", result.stateful)
    _print_loss("windows", result.windows)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    runs = read_runs(arguments.runs)
    Console(highlight=False).print(tabulated(arguments.runs, runs))
    if arguments.out is not None:
        draw_losses(runs, arguments.out, "loss curves")
        print(arguments.out)
    return 0


def _gates(arguments: argparse.Namespace) -> int:
    checkpoint = load_checkpoint(arguments.checkpoint)
    corpus = find_corpus(arguments.text)
    text = corpus.head(arguments.characters)
    spelling = checkpoint.alphabet.spell(text)
    trace = gates.trace(checkpoint.network(), spelling.ids)
    unit = gates.unit_of(trace, arguments.layer, arguments.unit)
    values = trace.cells[arguments.layer, np.cumsum(spelling.lengths) - 1, unit]  # after each character
    title = f"cell {unit} of layer {arguments.layer} in {corpus.name}"
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    gates.write_saturation(trace, folder / "gates.csv")
    gates.draw_saturation(trace, folder / "gates.png", f"saturation of the gates in {corpus.name}")
    gates.draw_text(text, values, folder / "cell.png", title)
    gates.write_text(text, values, folder / "cell.html", title)
    print(f"mean over all units, in {len(text):,} characters of {corpus.name}")
    for name, shut, open_ in gates.means(trace):
        print(f"{name:9}  shut {shut:4.0%} of the text, open {open_:4.0%}")
    print("\n".join(str(folder / name) for name in ("gates.csv", "gates.png", "cell.png", "cell.html")))
    return 0


def _print_loss(protocol: str, nats: float) -> None:
    print(f"{protocol:8}  {nats:.4f} nats  {bits(nats):.4f} bits a character")


def _sample(arguments: argparse.Namespace) -> int:
    checkpoint = load_checkpoint(arguments.model)
    for character in sample(
        checkpoint.network(),
        checkpoint.alphabet,
        arguments.prompt,
        characters=arguments.characters,
        seed=arguments.seed,
        temperature=arguments.temperature,
    ):
        print(character, end="", flush=True)
    print()
    return 0


def _gradients(arguments: argparse.Namespace) -> int:
    table, picture = (arguments.out / f"gradients.{suffix}" for suffix in ("csv", "png"))
    if not arguments.overwrite and (held := [file.name for file in (table, picture) if file.exists()]):
        raise RunFolderError(f"{arguments.out}: already holds {', '.join(held)}; --overwrite replaces it")
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    settings = Recipe(
        minutes=arguments.minutes,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        sequence_length=arguments.sequence_length,
        dropout=0.0,
        input_dropout=0.0,
        seed=arguments.seed,
    )
    dataset = _dataset(arguments, arguments.corpus, _rules(arguments, Rules()))
    keep_freed_memory()
    lesson = Split.of(dataset)
    rows: list[gradients.GradientRow] = []
    for cell in dict.fromkeys(arguments.cell):
        print(f"{cell}: training, then measuring", flush=True)
        architecture = Architecture(alphabet_size=dataset.alphabet.size, hidden_size=arguments.hidden_size, cell=cell)
        rows += gradients.measure(lesson, architecture, settings)
    arguments.out.mkdir(parents=True, exist_ok=True)
    gradients.write(rows, table)
    setting = f"{dataset.corpus.name}, {arguments.hidden_size} units, {settings.budget} of training each"
    gradients.draw(rows, picture, setting)
    Console(highlight=False).print(gradients.table(rows))
    print(table, picture, sep="\n")
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "fit": _fit,
    "resume": _resume,
    "export": _export,
    "evaluate": _evaluate,
    "compare": _compare,
    "gates": _gates,
    "gradients": _gradients,
    "sample": _sample,
}
