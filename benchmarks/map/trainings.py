"""Trainings of the map: ``python -m benchmarks.map.trainings [MODEL ...]``, which ``make bench-map`` runs first.

Each is ``nextchar-train fit`` with one thread, into ``runs/map/MODEL``. A run that was stopped or killed continues; one
that is complete is left alone, and so is a model that is there as ``MODEL.onnx``. So several of these commands, with
other models each, may run side by side, and runs that were trained elsewhere may be put beside them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.map.names import RUNS, Name
from benchmarks.training import CORPUS
from nextchar_training.run.folder import RunFolder

_WIDE = ("--learning-rate=0.005", "--weight-decay=0.3", "--dropout=0.5")
RECIPES: dict[int, Sequence[str]] = {
    128: ("--learning-rate=0.01", "--dropout=0", "--input-dropout=0"),
    256: ("--dropout=0.1",),
    512: ("--dropout=0.4",),
    768: _WIDE,
    1024: _WIDE,
}
"""Options by hidden size; other sizes are trained with the defaults."""

TEACHERS = (Name("lstm", 1024), Name("gru", 1024))
MODELS = [Name(cell, size, taught) for taught in (False, True) for size in sorted(RECIPES) for cell in ("lstm", "gru")]
"""Plain models first, because the taught ones learn from some of them."""


def main() -> None:
    """Trains the models that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.map.trainings", description=__doc__)
    parser.add_argument("models", nargs="*", type=_name, metavar="MODEL", help="such as lstm-256 or gru-1024-taught-2")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the text (default 10)")
    parser.add_argument("--teacher", action="append", type=Path, help=f"instead of {' and '.join(map(str, TEACHERS))}")
    given = parser.parse_args()
    teachers = given.teacher or [RUNS / str(teacher) for teacher in TEACHERS]
    try:
        for name in given.models or MODELS:
            train(name, RUNS, epochs=given.epochs, teachers=teachers)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


def train(name: Name, runs: Path, *, epochs: int, teachers: Sequence[Path], corpus: str = CORPUS) -> None:
    """Trains a model into its folder in ``runs``, or continues its training, unless it is there already.

    Raises ``subprocess.CalledProcessError`` if that fails.
    """
    if is_there(name, runs):
        print(f"{name}: there already", flush=True)
        return
    folder = RunFolder(runs / str(name), overwrite=True)
    if folder.stopped.exists():
        arguments = ["resume", str(folder.path)]
    else:
        of_name = ["--cell", name.cell, "--hidden-size", str(name.hidden_size), "--seed", str(name.seed)]
        taught_by = [f"--teacher={teacher}" for teacher in teachers] if name.taught else []
        options = [*RECIPES.get(name.hidden_size, ()), *taught_by, f"--epochs={epochs}", "--threads=1", "--overwrite"]
        arguments = ["fit", corpus, "--out", str(folder.path), *of_name, *options]
    print(f"{name}: nextchar-train {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "nextchar_training", *arguments], check=True)


def is_there(name: Name, runs: Path) -> bool:
    """Whether ``runs`` holds the model, as a complete run or as a model file."""
    folder = RunFolder(runs / str(name), overwrite=True)
    complete = folder.report.exists() and not folder.stopped.exists()
    return complete or (not folder.path.exists() and (runs / f"{name}.onnx").exists())


def _name(text: str) -> Name:
    if (name := Name.of(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a model such as lstm-256 or gru-1024-taught")
    return name


if __name__ == "__main__":
    main()
