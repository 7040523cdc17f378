"""Points of a map that nobody measured: five sizes of two cells, each plain and taught."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.map.points import Point
from nextchar_model.cell import Cell

PLAIN = Point(
    cell="lstm",
    hidden_size=128,
    taught=False,
    seed=1,
    characters=10_000_000,
    options="--epochs 10",
    stateful=1.5,
    windows=1.52,
    microseconds={1: 20.0, 64: 2.0},
    bytes=100_000,
)
TAUGHT = replace(PLAIN, taught=True, stateful=1.46)


def points_of(cell: Cell, faster: float, worse: float) -> list[Point]:
    """Points of one cell, which takes ``faster`` times less time than an LSTM, for a loss higher by ``worse``."""
    found = []
    for step, (size, loss) in enumerate({128: 1.55, 256: 1.46, 512: 1.41, 768: 1.395, 1024: 1.39}.items()):
        times = {1: 18 * 1.5**step / faster, 64: 1.6 * 2**step / faster}
        plain = replace(PLAIN, cell=cell, hidden_size=size, stateful=loss + worse, microseconds=times)
        found += [plain, replace(plain, taught=True, stateful=loss + worse - 0.03 + 0.003 * step)]
    return found


POINTS = [*points_of("lstm", 1, 0), *points_of("gru", 1.25, 0.012)]
