"""Trainings of the map.

Each is ``nextchar-train fit`` with one thread, into ``runs/map/MODEL``. A run that was stopped or killed continues; one
that is complete is left alone, and so is a model that is there as ``MODEL.onnx``. So several processes, with other
models each, may train side by side, and runs that were trained elsewhere may be put beside them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.map.names import Name
from benchmarks.training import CORPUS
from nextchar_training.run.folder import RunFolder

_WIDE = ("--learning-rate=0.005", "--weight-decay=0.3", "--dropout=0.5")
PLAIN: dict[int, Sequence[str]] = {
    128: ("--learning-rate=0.01", "--dropout=0", "--input-dropout=0"),
    256: ("--dropout=0",),
    512: ("--dropout=0.4",),
    768: _WIDE,
    1024: _WIDE,
}
"""Options by hidden size of networks without teachers; other sizes are trained with the defaults."""

TAUGHT: dict[int, Sequence[str]] = {
    128: ("--learning-rate=0.01",),
    256: ("--learning-rate=0.009",),
    768: ("--learning-rate=0.005",),
    1024: ("--learning-rate=0.005",),
}
"""The same of networks with teachers, which need no dropout."""

TEACHERS = (*(Name("lstm", 768, seed=seed) for seed in (2, 3, 4)), Name("gru", 768, seed=5))
"""Those of the packaged model, which ``make train`` trains with the same options."""

MODELS = [
    *TEACHERS,
    *(Name(cell, size) for size in sorted({*PLAIN} - {768}) for cell in ("lstm", "gru")),
    *(Name(cell, size, taught=True) for size in sorted(PLAIN) for cell in ("lstm", "gru")),
]
"""Teachers first. They are the plain models of their size."""


def train(name: Name, runs: Path, *, epochs: int, teachers: Sequence[Path], corpus: str = CORPUS) -> None:
    """Trains a model into its folder in ``runs``, or continues its training, unless it is there already.

    Raises ``subprocess.CalledProcessError`` if that fails, ``ValueError`` if the folder holds checkpoints of a run that
    neither is complete nor can continue.
    """
    if is_there(name, runs):
        print(f"{name}: there already", flush=True)
        return
    folder = RunFolder(runs / str(name), overwrite=True)
    if folder.stopped.exists():
        arguments = ["resume", str(folder.path)]
    elif folder.last.exists():
        raise ValueError(f"{folder.path}: has checkpoints, but neither a report nor a run to resume; move it away")
    else:
        of_name = ["--cell", name.cell, "--hidden-size", str(name.hidden_size), "--seed", str(name.seed)]
        taught_by = [f"--teacher={teacher}" for teacher in teachers] if name.taught else []
        recipe = (TAUGHT if name.taught else PLAIN).get(name.hidden_size, ())
        options = [*recipe, *taught_by, f"--epochs={epochs}", "--threads=1", "--overwrite"]
        arguments = ["fit", corpus, "--out", str(folder.path), *of_name, *options]
    print(f"{name}: nextchar-train {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", "nextchar_training", *arguments], check=True)


def teacher_file(name: Name, runs: Path) -> Path:
    """Returns the last checkpoint of a teacher, or its model file.

    Raises ``ValueError`` if it isn't there as a whole.
    """
    if not is_there(name, runs):
        raise ValueError(f"{runs / str(name)}: no complete training; taught models need it first")
    last = RunFolder(runs / str(name), overwrite=True).last
    return last if last.exists() else runs / f"{name}.onnx"


def is_there(name: Name, runs: Path) -> bool:
    """Whether ``runs`` holds the model, as a complete run or as a model file."""
    folder = RunFolder(runs / str(name), overwrite=True)
    complete = folder.report.exists() and not folder.stopped.exists()
    return complete or (not folder.path.exists() and (runs / f"{name}.onnx").exists())
