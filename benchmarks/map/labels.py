"""Labels: names beside the points of a panel, placed so that they cover neither each other nor the curves.

All sides of a label's points are tried at several distances, and the cheapest place is taken. Then each label looks for
a better place among the others, some times over.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

_DISTANCES = (7, 12, 18, 26)  # points
_DIRECTIONS = ((-1, -1), (0, -1), (1, 0), (1, 1), (-1, 0), (1, -1), (0, 1), (-1, 1))
_HORIZONTAL = {-1: "right", 0: "center", 1: "left"}
_VERTICAL = {-1: "top", 0: "center", 1: "bottom"}
_MARGIN = 3  # pixels around a label that stay free
_COVERED, _ASTRAY = 1000, 100  # a covered label, and one nearer to another point, in pixels of covered curve
_ROUNDS = 2


@dataclass(frozen=True)
class Label:
    """A text, its colour, and the points of which one is to have it."""

    text: str
    colour: str
    points: Sequence[tuple[float, float]]


def write(axis: Axes, labels: Sequence[Label]) -> list[Annotation]:
    """Writes each label beside one of its points. The panel must be laid out."""
    axis.set(xlim=axis.get_xlim(), ylim=axis.get_ylim())
    lines = [axis.transData.transform(np.asarray(line.get_xydata())) for line in axis.lines]
    points, curves = np.concatenate(lines), np.concatenate([_dense(line) for line in lines])  # [N, 2] in pixels
    legend = axis.get_legend()
    fixed = [] if legend is None else [legend.get_window_extent()]
    written = [
        axis.annotate(label.text, label.points[0], (0, 0), textcoords="offset points", color=label.colour, fontsize=8)
        for label in labels
    ]
    boxes: dict[Annotation, Bbox] = {}
    for _ in range(_ROUNDS):
        for label, one in zip(labels, written, strict=True):
            others = [*fixed, *(box for other, box in boxes.items() if other is not one)]
            places = list(product(_DISTANCES, label.points, _DIRECTIONS))
            costs = []
            for distance, point, direction in places:
                box = _moved(one, distance, point, direction)
                own = axis.transData.transform(point)
                astray = _ASTRAY * _is_astray(box, own, points)
                costs.append(distance + astray + _covered(box, axis.bbox, curves, others))
            boxes[one] = _moved(one, *places[int(np.argmin(costs))])
    for one in written:
        one.set_in_layout(False)
    return written


def _moved(written: Annotation, distance: float, point: tuple[float, float], direction: tuple[int, int]) -> Bbox:
    """Moves a label to a side of a point, and returns the pixels that it covers."""
    dx, dy = direction
    shrunk = distance / np.hypot(dx, dy)
    written.xy = point
    written.set(position=(dx * shrunk, dy * shrunk), ha=_HORIZONTAL[dx], va=_VERTICAL[dy])
    return written.get_window_extent().padded(_MARGIN)


def _covered(box: Bbox, panel: Bbox, curves: NDArray[np.float64], others: Collection[Bbox]) -> int:
    """Returns the cost of a place, by the labels, the edge and the pixels of curves that are covered there."""
    outside = int(box.x0 < panel.x0 or box.x1 > panel.x1 or box.y0 < panel.y0 or box.y1 > panel.y1)
    pixels = int(((curves >= box.min) & (curves <= box.max)).all(axis=1).sum())
    return _COVERED * (sum(bool(box.overlaps(other)) for other in others) + outside) + pixels


def _is_astray(box: Bbox, own: NDArray[np.float64], points: NDArray[np.float64]) -> bool:
    """Whether a label is nearer to another point than to its ``own``."""
    distances = np.hypot(*(points - np.clip(points, box.min, box.max)).T)
    return bool(np.hypot(*(own - np.clip(own, box.min, box.max))) > distances.min())


def _dense(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns points along a line, [N, 2], about a pixel apart."""
    pieces = [corners]
    for start, end in pairwise(corners):
        pieces.append(np.linspace(start, end, max(2, int(np.hypot(*(end - start))))))
    return np.concatenate(pieces)
