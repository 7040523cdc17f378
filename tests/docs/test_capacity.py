"""The figures of docs/capacity.md are those of the benchmarks, and its tables follow from them by its formulas."""

from __future__ import annotations

import math
import re

import pytest

from tests.support.pages import ROOT

PAGE = (ROOT / "docs" / "capacity.md").read_text()
RESULTS = (ROOT / "benchmarks" / "results" / "results.md").read_text()
NUMBER = re.compile(r"(?<![\w.,×])\d+(?:,\d{3})*(?:\.\d+)?")
SHARE = 0.7
PACE, LENGTH = 20, 400


def rows(head: str) -> list[list[str]]:
    """The rows of the table whose first line begins like ``head``."""
    _, _, rest = PAGE.partition(f"\n| {head}")
    lines = rest.split("\n\n")[0].split("\n")[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


MEASURED = {name: value for name, value, *_ in rows("figure")}
(RATE,) = numbers(next(value for name, value in MEASURED.items() if name.startswith("R,")))


@pytest.mark.parametrize("value", list(MEASURED.values()), ids=list(MEASURED))
def test_a_measured_figure_is_that_of_the_last_benchmark(value: str) -> None:
    assert numbers(value)
    assert set(numbers(value)) <= set(numbers(RESULTS.replace("%", " ")))


@pytest.mark.parametrize("row", rows("readers"), ids=lambda row: row[0])
def test_a_row_of_the_sizing_table_follows_from_the_formulas(row: list[str]) -> None:
    readers, characters, texts, cores, pods, memory, grpc, http = (value for cell in row for value in numbers(cell))
    assert characters == readers * PACE
    assert texts == characters / LENGTH
    assert cores == pytest.approx(characters / (SHARE * RATE), abs=0.05)
    assert pods == max(3, math.ceil(cores))
    assert memory == pytest.approx(pods * 768 / 1024, abs=0.06)
    for cell, name in ((grpc, "bytes per character down"), (http, "the same over HTTP")):
        per_character = numbers(next(value for figure, value in MEASURED.items() if figure.startswith(name)))[0]
        assert cell == pytest.approx(characters * per_character * 8 / 1e6, abs=0.5)


@pytest.mark.parametrize("row", rows("model"), ids=lambda row: row[0])
def test_a_row_of_other_models_follows_from_the_kernels_time(row: list[str]) -> None:
    kernel, whole, rate = (value for cell in row[1:] for value in numbers(cell))
    assert row[1] in RESULTS
    assert whole == pytest.approx(kernel + 1e6 / RATE - 8.1, abs=0.1)
    assert rate == pytest.approx(1e6 / whole, rel=0.01)
