"""Points of the map: each model's loss and time per character, and the file that keeps them for the picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import mean

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from benchmarks.report import RESULTS
from nextchar_model.cell import Cell

POINTS = RESULTS.with_name("map.json")


ROWS = (1, 64)

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Point:
    """A model of one layer in int8. Losses are those of its file on the held-out text, in nats per character."""

    cell: Cell
    hidden_size: int
    taught: bool
    seed: int
    characters: int | None
    """Characters that the training read, or None if only the model file was there."""
    options: str
    """Options of the training."""
    stateful: float
    windows: float
    microseconds: dict[int, float]
    """Time per character on one core, by the rows of a batch."""
    bytes: int
    """Size of the file."""

    @property
    def size(self) -> str:
        """Layers × hidden size."""
        return f"1×{self.hidden_size}"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Points:
    """All models, measured together."""

    corpus: str
    processor: str
    points: tuple[Point, ...]


_POINTS = TypeAdapter(Points)


def read_points(path: Path) -> Points:
    """Reads the points. Raises ``pydantic.ValidationError`` if they are invalid, ``OSError`` if there is no file."""
    return _POINTS.validate_json(path.read_bytes())


def write_points(points: Points, path: Path) -> None:
    """Writes the points as JSON."""
    path.write_bytes(_POINTS.dump_json(points, indent=1) + b"\n")


def over_seeds(points: Iterable[Point]) -> list[Point]:
    """Returns a point per model, narrow ones first, whose losses are the means over its seeds."""
    models: dict[tuple[int, Cell, bool], list[Point]] = {}
    for point in points:
        models.setdefault((point.hidden_size, point.cell, point.taught), []).append(point)
    return [
        replace(seeds[0], stateful=mean(one.stateful for one in seeds), windows=mean(one.windows for one in seeds))
        for _, seeds in sorted(models.items())
    ]


def worth_their_time(points: Iterable[Point], rows: int) -> list[Point]:
    """Returns the models that predict better than all that take less time, the fastest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.microseconds[rows], point.stateful)):
        if not best or point.stateful < best[-1].stateful:
            best.append(point)
    return best


def gains(points: Iterable[Point]) -> list[float]:
    """Returns by how many nats teachers lowered the stateful loss of each model that is there with and without them."""
    losses: dict[tuple[Cell, int], dict[bool, float]] = {}
    for point in points:
        losses.setdefault((point.cell, point.hidden_size), {})[point.taught] = point.stateful
    return [of[False] - of[True] for of in losses.values() if len(of) == 2]
