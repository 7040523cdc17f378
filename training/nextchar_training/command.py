"""The command ``nextchar-train``: fit, resume, export, evaluate, compare, gates and sample.

Thin: it reads the options, calls the library and turns every error that a user can cause into one line.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, get_args

# Threads that spin while they wait for each other starve one another as soon as anything else runs: training with
# two threads on two cores fell to a tenth. OpenMP reads this when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from rich.console import Console

from nextchar_training import gates
from nextchar_training.alphabet import Alphabet, Kind, UnknownCharacterError
from nextchar_training.batches import TextTooShortError
from nextchar_training.cell import GATES
from nextchar_training.checkpoint import Checkpoint, CheckpointError, TrainingRecord, load_checkpoint
from nextchar_training.comparison import read_runs, tabulated
from nextchar_training.corpus import Corpus, CorpusError, read_corpus
from nextchar_training.curves import draw_losses
from nextchar_training.evaluation import NetworkScorer, bits, evaluate, stateful_loss
from nextchar_training.export import ExportError, export
from nextchar_training.fit import EVALUATED_CHARACTERS, Job, fit, follow
from nextchar_training.gates import GatesError
from nextchar_training.model_file import ModelFileError, TrainingSummary
from nextchar_training.network import Architecture, ArchitectureError
from nextchar_training.processes import ProcessesError, joined
from nextchar_training.run_folder import RunFolder, RunFolderError
from nextchar_training.runner import Runner
from nextchar_training.sampling import SamplingError, sample
from nextchar_training.stopped_run import load_stopped_run
from nextchar_training.trainer import Settings, TrainingError

_EXIT_CODES = """\
exit codes: 0 done; 2 an error, told in one line on standard error; 130 stopped by Ctrl-C or SIGTERM, \
with everything kept that was reached"""

_CORPUS = "a file, a folder, - for standard input, or a name: stdlib, tinyshakespeare"

_ERRORS = (
    ArchitectureError,
    CheckpointError,
    CorpusError,
    ExportError,
    GatesError,
    ModelFileError,
    ProcessesError,
    RunFolderError,
    SamplingError,
    TextTooShortError,
    TrainingError,
    UnknownCharacterError,
    OSError,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and gives its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    command_line = shlex.join(["nextchar-train", *argv])
    arguments = _parser().parse_args(argv, argparse.Namespace(command_line=command_line, argv=argv))
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(arguments.run(arguments))
    except _ERRORS as error:
        if _rank() > 0 and isinstance(error, (ProcessesError, TrainingError)):
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"nextchar-train: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="nextchar-train",
        description="Train character-level recurrent models and export them to one ONNX file.",
        epilog=_EXIT_CODES,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("fit", help="train a model on a corpus", epilog=_EXIT_CODES)
    command.set_defaults(run=_fit)
    command.add_argument("corpus", nargs="+", metavar="CORPUS", help=_CORPUS)
    command.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for the run")
    command.add_argument("--overwrite", action="store_true", help="replace the run that the folder holds")
    budget = command.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="train for this long")
    budget.add_argument("--epochs", type=int, help="train for this many passes over the text")
    command.add_argument("--cell", choices=tuple(GATES), default="lstm", help="kind of recurrent layer (%(default)s)")
    command.add_argument(
        "--alphabet",
        choices=get_args(Kind),
        default="characters",
        help="symbols that spell the characters: themselves, decomposed (Hangul: jamo), or UTF-8 (%(default)s)",
    )
    command.add_argument("--hidden-size", type=int, default=512, help="units of a layer (%(default)s)")
    command.add_argument("--layers", type=int, default=1, help="recurrent layers (%(default)s)")
    command.add_argument("--embedding-size", type=int, default=128, help="size of an embedding (%(default)s)")
    command.add_argument("--batch-size", type=int, default=64, help="sequences a step (%(default)s)")
    command.add_argument("--sequence-length", type=int, default=64, help="characters a sequence (%(default)s)")
    command.add_argument("--learning-rate", type=float, default=3e-3, help="highest learning rate (%(default)s)")
    command.add_argument("--dropout", type=float, default=0.3, help="dropout of a layer's output (%(default)s)")
    command.add_argument("--input-dropout", type=float, default=0.1, help="dropout of the embedding (%(default)s)")
    command.add_argument("--seed", type=int, default=1, help="seed of weights, dropout and text offsets (%(default)s)")
    command.add_argument("--patience", type=int, help="end after so many of the 25 evaluations without a better loss")
    command.add_argument(
        "--processes",
        type=_at_least_1,
        default=1,
        help="processes that share each batch; 2 of 1 thread beat 1 of 2 threads (%(default)s)",
    )
    command.add_argument("--threads", type=_at_least_1, help="threads of each process (the cores, divided)")
    command.add_argument("--tensorboard", action="store_true", help="write what TensorBoard shows into the folder too")
    command.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (%(default)s)")

    command = commands.add_parser("resume", help="go on with a run that was stopped or killed", epilog=_EXIT_CODES)
    command.set_defaults(run=_resume)
    command.add_argument("run_folder", type=Path, metavar="RUN", help="folder of the run")

    command = commands.add_parser("export", help="turn a checkpoint into a model file", epilog=_EXIT_CODES)
    command.set_defaults(run=_export)
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint (.pt)")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the model file (.onnx)")
    command.add_argument("--precision", choices=("int8", "fp32"), default="int8", help="of the weights (%(default)s)")
    command.add_argument(
        "--text",
        nargs="+",
        metavar="TEXT",
        help=f"what to check the file on: {_CORPUS} (what fit held out of its corpus, which is read again)",
    )

    command = commands.add_parser("evaluate", help="measure a model's loss on a text", epilog=_EXIT_CODES)
    command.set_defaults(run=_evaluate)
    command.add_argument("model", type=Path, metavar="MODEL", help="a checkpoint (.pt) or a model file (.onnx)")
    command.add_argument("text", nargs="+", metavar="TEXT", help=_CORPUS)
    command.add_argument(
        "--split",
        choices=("all", "validation"),
        default="all",
        help="the whole text, or the last tenth, which fit holds out (%(default)s)",
    )

    command = commands.add_parser("compare", help="put runs side by side", epilog=_EXIT_CODES)
    command.set_defaults(run=_compare)
    command.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    command.add_argument("--out", type=Path, metavar="FILE", help="draw their loss curves into this file (.png)")

    command = commands.add_parser("gates", help="show what an LSTM's gates and cells do in a text", epilog=_EXIT_CODES)
    command.set_defaults(run=_gates)
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint (.pt)")
    command.add_argument("text", nargs="+", metavar="TEXT", help=_CORPUS)
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the pictures")
    command.add_argument("--characters", type=_at_least_1, default=2000, help="how much of the text (%(default)s)")
    command.add_argument("--layer", type=int, default=0, help="layer of the cell that colours the text (%(default)s)")
    command.add_argument("--unit", type=int, help="unit of that cell (one that holds something for long)")

    command = commands.add_parser("sample", help="write text with a checkpoint", epilog=_EXIT_CODES)
    command.set_defaults(run=_sample)
    command.add_argument("model", type=Path, metavar="MODEL", help="a checkpoint (.pt)")
    command.add_argument("--prompt", default="", help="text to go on from (empty)")
    command.add_argument("--characters", type=int, default=500, help="characters to write (%(default)s)")
    command.add_argument("--seed", type=int, default=1, help="seed of the random numbers (%(default)s)")
    command.add_argument("--temperature", type=float, default=1.0, help="0 takes the likeliest (%(default)s)")
    return parser


def _at_least_1(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _fit(arguments: argparse.Namespace) -> int:
    settings = Settings(
        minutes=arguments.minutes,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        sequence_length=arguments.sequence_length,
        learning_rate=arguments.learning_rate,
        dropout=arguments.dropout,
        input_dropout=arguments.input_dropout,
        seed=arguments.seed,
        patience=arguments.patience,
    )
    if arguments.processes > 1 and "-" in arguments.corpus:
        raise CorpusError("standard input is read once, which several processes cannot: write it to a file first")
    folder = RunFolder(arguments.out, overwrite=arguments.overwrite or _rank() > 0)
    device = _device(arguments.device)
    corpus = read_corpus(arguments.corpus)
    alphabet = Alphabet.of(corpus.text, arguments.alphabet)
    architecture = Architecture(
        alphabet_size=alphabet.size,
        hidden_size=arguments.hidden_size,
        layers=arguments.layers,
        embedding_size=arguments.embedding_size,
        cell=arguments.cell,
    )
    torch.set_num_threads(arguments.threads or max(1, torch.get_num_threads() // arguments.processes))
    job = Job(corpus, alphabet, architecture, settings, arguments.command_line, device, arguments.tensorboard)
    return _train(job, folder, arguments)


def _resume(arguments: argparse.Namespace) -> int:
    folder = RunFolder(arguments.run_folder, overwrite=True)
    if not folder.stopped.exists():
        if folder.report.exists():
            raise RunFolderError(f"{folder.path}: the run is complete; there is nothing to go on with")
        raise RunFolderError(f"{folder.path}: holds no stopped run ({folder.stopped.name})")
    stopped = load_stopped_run(folder.stopped)
    corpus = _read_again(stopped.sources, stopped.corpus_sha256, "start anew with fit --overwrite")
    torch.set_num_threads(stopped.threads)
    arguments.processes = stopped.processes
    job = Job(
        corpus,
        Alphabet.of(corpus.text, stopped.alphabet_kind),
        stopped.architecture,
        stopped.settings,
        stopped.command,
        _device(stopped.device),
        bool(folder.boards),
        stopped,
    )
    return _train(job, folder, arguments)


def _train(job: Job, folder: RunFolder, arguments: argparse.Namespace) -> int:
    with joined(arguments.processes, job.device, arguments.argv) as processes:
        if processes.rank > 0:
            follow(job, processes)
            return 0
        best = fit(job, folder, processes)
    return _finish(folder, best)


def _rank() -> int:
    """Which of several processes this one is (see ``processes``)."""
    return int(os.environ.get("RANK", "0"))


def _device(kind: str) -> torch.device:
    """The device to train on. Raises ``TrainingError`` where this machine has none of that kind."""
    if kind == "cpu":
        return torch.device("cpu")
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if not torch.cuda.is_available():
        reason = "finds no GPU" if torch.version.cuda else "is built without CUDA"
        raise TrainingError(f"device cuda cannot be had: torch {torch.__version__} {reason}; --device cpu trains here")
    if number >= torch.cuda.device_count():
        raise TrainingError(
            f"device cuda:{number} cannot be had: there are {torch.cuda.device_count()} GPUs, one a process"
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
    text = _held_out(checkpoint.record) if arguments.text is None else read_corpus(arguments.text).text
    network, record = checkpoint.network(), checkpoint.record
    loss = record.stateful_loss
    if loss is None:  # the training was stopped
        loss = stateful_loss(NetworkScorer(network), checkpoint.alphabet.spell(text[:EVALUATED_CHARACTERS]))
    training = TrainingSummary(
        corpus=record.corpus,
        corpus_characters=record.characters,
        command=record.command,
        steps=record.step,
        seconds=record.seconds,
        seed=record.seed,
        validation_loss=loss,
    )
    export(network, checkpoint.alphabet, training, arguments.out, precision=arguments.precision, text=text, say=print)
    print(arguments.out)
    return 0


def _held_out(record: TrainingRecord) -> str:
    """The validation text of a training, whose corpus must still be what it was."""
    return _read_again(record.sources, record.corpus_sha256, "give a text to check the file on with --text").validation


def _read_again(sources: Sequence[str], sha256: str, remedy: str) -> Corpus:
    """The corpus of a training. Raises ``CorpusError``, with the ``remedy``, where it is no longer what it was."""
    if "-" in sources:
        raise CorpusError(f"the model was trained on standard input, which is gone: {remedy}")
    try:
        corpus = read_corpus(sources)
    except CorpusError as error:
        raise CorpusError(f"the corpus of the training cannot be read again: {error}; {remedy}") from error
    if corpus.sha256 != sha256:
        raise CorpusError(f"{corpus.name} is no longer the text that the model was trained on: {remedy}")
    return corpus


def _evaluate(arguments: argparse.Namespace) -> int:
    corpus = read_corpus(arguments.text)
    text = corpus.text if arguments.split == "all" else corpus.validation
    if arguments.model.suffix == ".onnx":
        runner = Runner(arguments.model)
        result = evaluate(runner, runner.description.alphabet.spell(text))
    else:
        checkpoint = load_checkpoint(arguments.model)
        result = evaluate(NetworkScorer(checkpoint.network()), checkpoint.alphabet.spell(text))
    print(f"{result.characters:,} characters of {corpus.name}")
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
    corpus = read_corpus(arguments.text)
    text = corpus.text[: arguments.characters]
    spelling = checkpoint.alphabet.spell(text)
    reading = gates.read(checkpoint.network(), spelling.ids)
    unit = gates.unit_of(reading, arguments.layer, arguments.unit)
    values = reading.cells[arguments.layer, np.cumsum(spelling.lengths) - 1, unit]  # after each character
    title = f"cell {unit} of layer {arguments.layer} in {corpus.name}"
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    gates.write_saturation(reading, folder / "gates.csv")
    gates.draw_saturation(reading, folder / "gates.png", f"saturation of the gates in {corpus.name}")
    gates.draw_text(text, values, folder / "cell.png", title)
    gates.write_text(text, values, folder / "cell.html", title)
    print(f"mean over all units, in {len(text):,} characters of {corpus.name}")
    for name, shut, open_ in gates.means(reading):
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
