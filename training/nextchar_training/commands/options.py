"""The options of ``nextchar-train``: what stands on its command line.

Free of torch, which takes seconds to import, so that ``--help`` and a mistake are answered at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn, get_args

from nextchar_model.alphabet import Kind
from nextchar_model.cell import ROW_BLOCKS

from ..data.dataset import default_cache
from ..data.rules import Documents, HoldOut, Rare
from ..data.split import EVALUATED_CHARACTERS

_EXIT_CODES = """\
exit codes: 0 done; 2 an error, told in one line on standard error; 130 stopped by Ctrl-C or SIGTERM, \
with everything kept that was reached"""

_CORPUS = "a file, a folder, a pattern, - for standard input, or a name: stdlib, tinyshakespeare; .gz is unpacked"


def read(argv: Sequence[str]) -> argparse.Namespace:
    """The options in ``argv``, and these as they stand there; ends the process where they are wrong or ask for help."""
    return _parser().parse_args(argv, argparse.Namespace(argv=argv))


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
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    command = commands.add_parser("fit", help="train a model on a corpus", epilog=_EXIT_CODES)
    command.add_argument("corpus", nargs="+", metavar="CORPUS", help=_CORPUS)
    _add_rules(command, "as one text, but for what is given here")
    command.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for the run")
    command.add_argument("--overwrite", action="store_true", help="replace the run that the folder holds")
    budget = command.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="train for this long")
    budget.add_argument("--epochs", type=int, help="train for this many passes over the text")
    command.add_argument(
        "--cell", choices=tuple(ROW_BLOCKS), default="lstm", help="kind of recurrent layer (%(default)s)"
    )
    command.add_argument("--hidden-size", type=int, default=512, help="units of a layer (%(default)s)")
    command.add_argument("--layers", type=int, default=1, help="recurrent layers (%(default)s)")
    command.add_argument("--embedding-size", type=int, default=128, help="size of an embedding (%(default)s)")
    command.add_argument("--batch-size", type=int, default=64, help="sequences a step (%(default)s)")
    command.add_argument("--sequence-length", type=int, default=32, help="characters a sequence (%(default)s)")
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
    command.add_argument("run_folder", type=Path, metavar="RUN", help="folder of the run")
    _add_cache(command)

    command = commands.add_parser("export", help="turn a checkpoint into a model file", epilog=_EXIT_CODES)
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
    command.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    command.add_argument("--out", type=Path, metavar="FILE", help="draw their loss curves into this file (.png)")

    command = commands.add_parser("gates", help="show what an LSTM's gates and cells do in a text", epilog=_EXIT_CODES)
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint (.pt)")
    command.add_argument("text", nargs="+", metavar="TEXT", help=_CORPUS)
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the pictures")
    command.add_argument("--characters", type=_at_least_1, default=2000, help="how much of the text (%(default)s)")
    command.add_argument("--layer", type=int, default=0, help="layer of the cell that colours the text (%(default)s)")
    command.add_argument("--unit", type=int, help="unit of that cell (one that holds something for long)")

    command = commands.add_parser(
        "gradients", help="show how far back the error of each cell's network reaches", epilog=_EXIT_CODES
    )
    command.add_argument("corpus", nargs="+", metavar="CORPUS", help=_CORPUS)
    command.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for gradients.csv, gradients.png")
    command.add_argument("--overwrite", action="store_true", help="replace what the folder holds of these")
    budget = command.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="train each network for this long")
    budget.add_argument("--epochs", type=int, help="train each network for this many passes over the text")
    command.add_argument(
        "--cell",
        nargs="+",
        choices=tuple(ROW_BLOCKS),
        default=list(ROW_BLOCKS),
        help="kinds of recurrent layer to compare (all)",
    )
    command.add_argument("--hidden-size", type=int, default=128, help="units of the layer (%(default)s)")
    command.add_argument("--batch-size", type=int, default=64, help="sequences a step (%(default)s)")
    command.add_argument("--sequence-length", type=int, default=64, help="characters a sequence (%(default)s)")
    command.add_argument("--seed", type=int, default=1, help="seed of weights and text offsets (%(default)s)")
    command.add_argument("--threads", type=_at_least_1, help="threads of torch (one a core of the machine)")
    _add_rules(command, "as one text, but for what is given here")

    command = commands.add_parser("sample", help="write text with a checkpoint", epilog=_EXIT_CODES)
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


def _at_least_1(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
