"""The picture of the map, of made-up points."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.image import imread
from matplotlib.text import Annotation

from benchmarks.map import section
from benchmarks.map.drawing import draw, figure_of, statement
from benchmarks.map.points import Point
from tests.support.map_points import PLAIN, POINTS, TAUGHT


@pytest.fixture(scope="module")
def panels() -> Iterator[list[Axes]]:
    figure = figure_of(POINTS)
    figure.draw_without_rendering()
    yield figure.axes
    pyplot.close(figure)


def labels(axis: Axes) -> list[Annotation]:
    return [text for text in axis.texts if isinstance(text, Annotation)]


def test_each_panel_has_all_points_at_their_times(panels: list[Axes]) -> None:
    for axis, rows in zip(panels, (1, 64), strict=True):
        drawn = {(x, y) for line in axis.lines for x, y in np.asarray(line.get_xydata()).tolist()}
        assert drawn == {(point.microseconds[rows], point.stateful) for point in POINTS}


def test_each_size_of_each_cell_has_one_label_in_each_panel(panels: list[Axes]) -> None:
    sizes = sorted(point.size for point in POINTS if not point.taught)
    assert [sorted(label.get_text() for label in labels(axis)) for axis in panels] == [sizes, sizes]


def test_a_label_belongs_to_a_point_of_its_size(panels: list[Axes]) -> None:
    places = {(point.microseconds[rows], point.stateful): point.size for point in POINTS for rows in (1, 64)}
    assert all(places[label.xy] == label.get_text() for axis in panels for label in labels(axis))


def test_labels_cover_neither_each_other_nor_the_legend_and_stay_in_their_panel(panels: list[Axes]) -> None:
    for axis in panels:
        boxes = [label.get_window_extent() for label in labels(axis)]
        legend = axis.get_legend()
        boxes += [] if legend is None else [legend.get_window_extent()]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        assert all(axis.bbox.x0 <= box.x0 and box.x1 <= axis.bbox.x1 for box in boxes)
        assert all(axis.bbox.y0 <= box.y0 and box.y1 <= axis.bbox.y1 for box in boxes)


def test_taught_models_are_filled_and_cells_have_marks_of_their_own(panels: list[Axes]) -> None:
    legend = panels[-1].get_legend()
    assert legend is not None
    lines = zip(legend.get_texts(), legend.get_lines(), strict=True)
    looks = {text.get_text(): (line.get_marker(), line.get_markerfacecolor() == "white") for text, line in lines}
    assert [looks[name][1] for name in ("LSTM", "LSTM, taught", "GRU", "GRU, taught")] == [True, False, True, False]
    assert looks["LSTM"][0] == looks["LSTM, taught"][0] != looks["GRU"][0] == looks["GRU, taught"][0]


@pytest.mark.parametrize("points", [[PLAIN], [TAUGHT], POINTS[:4], [point for point in POINTS if not point.taught]])
def test_any_subset_gives_a_picture(points: list[Point], tmp_path: Path) -> None:
    draw(points, tmp_path / "map.png")
    assert imread(tmp_path / "map.png").std() > 0.01


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ([PLAIN], "1×128 predicts the text with 1.500 nats per character"),
        ([PLAIN, TAUGHT], "Teachers lower the loss by 0.040 nats, at no cost per character"),
        (
            [PLAIN, TAUGHT, replace(PLAIN, cell="gru"), replace(TAUGHT, cell="gru", stateful=1.51)],
            "Teachers lower the loss of 1 of 2 models, at no cost per character",
        ),
        (
            [PLAIN, replace(PLAIN, hidden_size=256, stateful=1.4, microseconds={1: 30.0, 64: 4.0})],
            "1×256 takes 1.5 times as long as 1×128, for 0.100 nats less",
        ),
    ],
)
def test_the_title_says_what_the_points_show(models: Sequence[Point], expected: str) -> None:
    assert statement(models) == expected


def test_the_section_lists_each_model_and_those_that_are_worth_their_time() -> None:
    text = section((PLAIN, replace(TAUGHT, characters=None)))
    assert "| LSTM 1×128 | 1 | 10.0 M | `--epochs 10` | 1.5000 | 1.5200 | 20.00 | 2.00 | 0.10 |" in text
    assert "| LSTM 1×128, taught | 1 | ? |" in text
    assert "| 1 row | 20.00 | LSTM 1×128, taught | 1.4600 |" in text
    assert "| 1 row | 20.00 | LSTM 1×128 |" not in text
