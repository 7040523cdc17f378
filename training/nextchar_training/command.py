"""The command ``nextchar-train``: fit, resume, export, evaluate, compare, gates, gradients and sample.

Thin: it reads the options, calls the library and turns every error that a user can cause into one line.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, get_args

# Threads that spin while they wait for each other starve one another as soon as anything else runs: training with
# two threads on two cores fell to a tenth. OpenMP reads this when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from rich.console import Console

from nextchar_training import gates, gradients
from nextchar_training.alphabet import Kind, Unknown, UnknownCharacterError
from nextchar_training.batches import TextTooShortError
from nextchar_training.cell import GATES
from nextchar_training.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from nextchar_training.comparison import read_runs, tabulated
from nextchar_training.corpus import CorpusError, read_corpus
from nextchar_training.curves import draw_losses
from nextchar_training.dataset import (
    Dataset,
    DatasetError,
    Documents,
    HoldOut,
    Rare,
    Rules,
    default_cache,
    prepare,
)
from nextchar_training.display import preparing, show_summary
from nextchar_training.evaluation import (
    EVALUATED_CHARACTERS,
    NetworkScorer,
    Scorer,
    bits,
    evaluate,
    stateful_loss,
)
from nextchar_training.export import MAX_CHARACTERS, ExportError, export
from nextchar_training.fit import Job, fit, follow
from nextchar_training.gates import GatesError
from nextchar_training.memory import keep_freed_memory
from nextchar_training.model_file import ModelFileError, TrainingSummary
from nextchar_training.network import Architecture, ArchitectureError
from nextchar_training.processes import ProcessesError, joined
from nextchar_training.run_folder import RunFolder, RunFolderError
from nextchar_training.runner import Runner
from nextchar_training.sampling import SamplingError, sample
from nextchar_training.stopped_run import load_stopped_run
from nextchar_training.trainer import Lesson, Settings, TrainingError

_EXIT_CODES = """\
exit codes: 0 done; 2 an error, told in one line on standard error; 130 stopped by Ctrl-C or SIGTERM, \
with everything kept that was reached"""

_CORPUS = "a file, a folder, a pattern, - for standard input, or a name: stdlib, tinyshakespeare; .gz is unpacked"

_ERRORS = (
    ArchitectureError,
    CheckpointError,
    CorpusError,
    DatasetError,
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
    parser.add_argument("--version", action="version", version=f"nextchar {version('nextchar')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("fit", help="train a model on a corpus", epilog=_EXIT_CODES)
    command.set_defaults(run=_fit)
    command.add_argument("corpus", nargs="+", metavar="CORPUS", help=_CORPUS)
    _add_rules(command, "as one text, but for what is given here")
    command.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for the run")
    command.add_argument("--overwrite", action="store_true", help="replace the run that the folder holds")
    budget = command.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="train for this long")
    budget.add_argument("--epochs", type=int, help="train for this many passes over the text")
    command.add_argument("--cell", choices=tuple(GATES), default="lstm", help="kind of recurrent layer (%(default)s)")
    command.add_argument("--hidden-size", type=int, default=512, help="units of a layer (%(default)s)")
    command.add_argument("--layers", type=int, default=1, help="recurrent layers (%(default)s)")
    command.add_argument("--embedding-size", type=int, default=128, help="size of an embedding (%(default)s)")
    command.add_argument("--batch-size", type=int, default=64, help="sequences a step (%(default)s)")
    command.add_argument("--sequence-length", type=int, default=64, help="characters a sequence (%(default)s)")
    command.add_argument("--learning-rate", type=float, default=6e-3, help="highest learning rate (%(default)s)")
    command.add_argument("--dropout", type=float, default=0.3, help="dropout of a layer's output (%(default)s)")
    command.add_argument("--input-dropout", type=float, default=0.1, help="dropout of the embedding (%(default)s)")
    command.add_argument("--weight-decay", type=float, default=0.2, help="weight decay of matrices (%(default)s)")
    command.add_argument("--seed", type=int, default=1, help="seed of weights, dropout and text offsets (%(default)s)")
    command.add_argument("--patience", type=int, help="end after so many evaluations without a better loss")
    command.add_argument(
        "--processes",
        type=_at_least_1,
        default=1,
        help="processes that share each batch; 2 of 1 thread beat 1 of 2 threads (%(default)s)",
    )
    command.add_argument(
        "--averaging-period",
        type=int,
        default=1,
        metavar="STEPS",
        help="steps that each process takes for itself before their weights are averaged; 1: every step is shared, as "
        "if there was one process (%(default)s)",
    )
    command.add_argument("--threads", type=_at_least_1, help="threads of each process (the cores, divided)")
    command.add_argument("--tensorboard", action="store_true", help="write what TensorBoard shows into the folder too")
    command.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (%(default)s)")

    command = commands.add_parser("resume", help="go on with a run that was stopped or killed", epilog=_EXIT_CODES)
    command.set_defaults(run=_resume)
    command.add_argument("run_folder", type=Path, metavar="RUN", help="folder of the run")
    _add_cache(command)

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
    _add_cache(command)

    command = commands.add_parser("evaluate", help="measure a model's loss on a text", epilog=_EXIT_CODES)
    command.set_defaults(run=_evaluate)
    command.add_argument("model", type=Path, metavar="MODEL", help="a checkpoint (.pt) or a model file (.onnx)")
    command.add_argument("text", nargs="+", metavar="TEXT", help=_CORPUS)
    command.add_argument(
        "--split",
        choices=("all", "validation"),
        default="all",
        help="all of it, or what fit holds out by the same rules (%(default)s)",
    )
    command.add_argument(
        "--characters",
        type=_at_least_1,
        default=EVALUATED_CHARACTERS,
        metavar="N",
        help="how much of it, at most, from the beginning (%(default)s)",
    )
    _add_rules(command, "as the model's own corpus was, but for what is given here")

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

    command = commands.add_parser(
        "gradients", help="show how far back the error of each cell's network reaches", epilog=_EXIT_CODES
    )
    command.set_defaults(run=_gradients)
    command.add_argument("corpus", nargs="+", metavar="CORPUS", help=_CORPUS)
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for gradients.csv, gradients.png")
    command.add_argument("--overwrite", action="store_true", help="replace what the folder holds of these")
    budget = command.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="train each network for this long")
    budget.add_argument("--epochs", type=int, help="train each network for this many passes over the text")
    command.add_argument(
        "--cell",
        nargs="+",
        choices=tuple(GATES),
        default=list(GATES),
        help="kinds of recurrent layer to compare (all)",
    )
    command.add_argument("--hidden-size", type=int, default=128, help="units of the layer (%(default)s)")
    command.add_argument("--batch-size", type=int, default=64, help="sequences a step (%(default)s)")
    command.add_argument("--sequence-length", type=int, default=64, help="characters a sequence (%(default)s)")
    command.add_argument("--seed", type=int, default=1, help="seed of weights and text offsets (%(default)s)")
    command.add_argument("--threads", type=_at_least_1, help="threads of torch (one a core of the machine)")
    _add_rules(command, "as one text, but for what is given here")

    command = commands.add_parser("sample", help="write text with a checkpoint", epilog=_EXIT_CODES)
    command.set_defaults(run=_sample)
    command.add_argument("model", type=Path, metavar="MODEL", help="a checkpoint (.pt)")
    command.add_argument("--prompt", default="", help="text to go on from (empty)")
    command.add_argument("--characters", type=int, default=500, help="characters to write (%(default)s)")
    command.add_argument("--seed", type=int, default=1, help="seed of the random numbers (%(default)s)")
    command.add_argument("--temperature", type=float, default=1.0, help="0 takes the likeliest (%(default)s)")
    return parser


def _add_rules(command: argparse.ArgumentParser, usual: str) -> None:
    """Adds the options that say how a corpus becomes a dataset; ``usual`` is how, where one is not given."""
    group = command.add_argument_group("how the corpus is read", usual)
    group.add_argument(
        "--alphabet",
        choices=get_args(Kind),
        help="symbols that spell the characters: themselves (usual), decomposed (Hangul: jamo), or UTF-8",
    )
    group.add_argument(
        "--documents",
        choices=get_args(Documents),
        help="what is a document, with a beginning and an end: all of it (usual), a file or a line",
    )
    group.add_argument(
        "--hold-out",
        choices=get_args(HoldOut),
        help="what is never trained on: the last tenth, or one of every ten documents (where there are several)",
    )
    group.add_argument(
        "--minimum-count", type=_at_least_1, metavar="N", help="characters that occur less often are rare (1: none)"
    )
    group.add_argument(
        "--rare", choices=get_args(Rare), help="leave rare characters out (usual), or put --replacement in their place"
    )
    group.add_argument("--replacement", metavar="C", help="what stands for rare ones with --rare replace (U+FFFD)")
    group.add_argument(
        "--skip-undecodable", action="store_true", default=None, help="leave files out that are not UTF-8"
    )
    _add_cache(group)


def _add_cache(command: argparse._ActionsContainer) -> None:
    command.add_argument("--cache", type=Path, default=default_cache(), metavar="DIR", help="for ids (%(default)s)")


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
        corpus = read_corpus(sources, skip_undecodable=rules.skip_undecodable, scratch=arguments.cache)
        return prepare(corpus, rules, arguments.cache, show)


def _dataset_for(
    arguments: argparse.Namespace, sources: Sequence[str], rules: Rules, sha256: str
) -> tuple[Dataset, Unknown]:
    """The dataset of a text for a model that learnt by ``rules`` from the text of ``sha256``.

    Also says what happens to what the model cannot spell: in another text, that is what counts as rare.
    """
    unknown: Unknown = "error"
    with preparing() as show:
        corpus = read_corpus(sources, skip_undecodable=rules.skip_undecodable, scratch=arguments.cache)
        if rules.minimum_count > 1 and corpus.sha256() != sha256:
            unknown = "skip" if rules.rare == "drop" else "replace"
            what = "left out" if rules.rare == "drop" else f"replaced by {rules.replacement!r}"
            print(f"characters that the model cannot spell are {what}, as rare ones were")
            rules = replace(rules, minimum_count=1)
        return prepare(corpus, rules, arguments.cache, show), unknown


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
    job = Job(dataset, architecture, settings, arguments.command_line, device, arguments.tensorboard)
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
            raise ProcessesError(f"the run had {job.stopped.processes} processes; it goes on with as many")
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
    corpus = read_corpus(arguments.text)
    text = corpus.head(arguments.characters)
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


def _gradients(arguments: argparse.Namespace) -> int:
    table, picture = (arguments.out / f"gradients.{suffix}" for suffix in ("csv", "png"))
    if not arguments.overwrite and (held := [file.name for file in (table, picture) if file.exists()]):
        raise RunFolderError(f"{arguments.out}: already holds {', '.join(held)}; --overwrite replaces it")
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    settings = Settings(
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
    lesson = Lesson.of(dataset)
    rows: list[gradients.GradientRow] = []
    for cell in dict.fromkeys(arguments.cell):
        print(f"{cell}: training, then measuring", flush=True)
        architecture = Architecture(dataset.alphabet.size, arguments.hidden_size, cell=cell)
        rows += gradients.measure(lesson, architecture, settings)
    arguments.out.mkdir(parents=True, exist_ok=True)
    gradients.write(rows, table)
    setting = f"{dataset.corpus.name}, {arguments.hidden_size} units, {settings.budget} of training each"
    gradients.draw(rows, picture, setting)
    Console(highlight=False).print(gradients.table(rows))
    print(table, picture, sep="\n")
    return 0
