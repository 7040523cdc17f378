"""The verbs of the map: ``python -m benchmarks.map train`` and ``draw``. ``make bench-map`` also measures."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.map.drawing import PICTURE, draw
from benchmarks.map.names import RUNS, Name
from benchmarks.map.points import POINTS, read_points
from benchmarks.map.trainings import MODELS, TEACHERS, teacher_file, train


def main() -> None:
    """Trains or draws, as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.map", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    training = verbs.add_parser("train", help=f"train models into {RUNS}, unless they are there")
    training.add_argument("models", nargs="*", type=_name, metavar="MODEL", help="such as lstm-256 or gru-1024-taught")
    training.add_argument("--epochs", type=int, default=14, help="passes over the text (default 14)")
    training.add_argument("--teacher", action="append", type=Path, help=f"default {', '.join(map(str, TEACHERS))}")
    drawing = verbs.add_parser("draw", help="draw the points of a measurement")
    drawing.add_argument("points", nargs="?", type=Path, default=POINTS)
    drawing.add_argument("picture", nargs="?", type=Path, default=PICTURE)
    given = parser.parse_args()
    if given.verb == "draw":
        draw(read_points(given.points).points, given.picture)
        return
    try:
        for name in given.models or MODELS:
            teachers = given.teacher or [teacher_file(one, RUNS) for one in TEACHERS if name.taught]
            train(name, RUNS, epochs=given.epochs, teachers=teachers)
    except ValueError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


def _name(text: str) -> Name:
    if (name := Name.of(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a model such as lstm-256 or gru-1024-taught")
    return name


if __name__ == "__main__":
    main()
