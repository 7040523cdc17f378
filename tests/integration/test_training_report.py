"""The verb ``report`` of ``nextchar-train``: a model file's text, judged against its corpus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.trainings import SMALL, brief, error_of, main

NAMES = "".join(f"{first}{last}\n" for first in ("An", "Bel", "Cor", "Da", "El") for last in ("na", "ton", "vin") * 50)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of lines, and the run and the model file of a model that learned from it."""
    folder = tmp_path_factory.mktemp("judged")
    (folder / "names.txt").write_text(NAMES)
    fit = ["fit", str(folder / "names.txt"), "--out", str(folder / "run"), "--documents", "line", "--epochs", "8"]
    assert brief([*fit, "--learning-rate", "0.02", *SMALL]) == 0
    assert main(["export", str(folder / "run"), "--out", str(folder / "names.onnx")]) == 0
    return folder


def report(folder: Path, *options: str) -> list[str]:
    return ["report", str(folder / "names.onnx"), "--against", str(folder / "names.txt"), *options]


def judged(folder: Path, *options: str) -> Any:
    assert main(report(folder, "--json", str(folder / "figures.json"), *options)) == 0
    return json.loads((folder / "figures.json").read_text())


def test_the_figures_are_those_of_the_generated_and_of_the_held_out_text(folder: Path) -> None:
    figures = judged(folder, "--samples", "200", "--characters", "30")
    assert figures["training"]["is_own"]
    generated, held_out = figures["generated"], figures["held_out"]
    assert (generated["texts"], held_out["copied"]["longest_text"] + "\n" in NAMES) == (200, True)
    assert held_out["lines"]["copied"] == 1.0  # every name is in the list many times
    assert 0 < generated["lines"]["copied"] <= 1
    assert generated["lines"]["distinct"] < 1
    assert [one["order"] for one in generated["distances"]] == [1, 2, 3]
    assert figures["held_out_loss"]["characters"] == held_out["characters"]


def test_the_same_seed_gives_the_same_figures_and_another_one_others(folder: Path) -> None:
    first = judged(folder, "--samples", "50", "--seed", "7")
    assert judged(folder, "--samples", "50", "--seed", "7") == first
    assert judged(folder, "--samples", "50", "--seed", "8")["generated"] != first["generated"]


def test_the_table_and_the_page_show_the_figures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(report(folder, "--samples", "20", "--out", str(folder / "report.html"))) == 0
    output, page = capsys.readouterr().out, (folder / "report.html").read_text()
    for name in ("copied lines", "longest copied stretch", "distinct texts", "distance of triples of characters"):
        assert name in output
        assert name in page
    assert page.count("data:image/png;base64,") == 3
    assert "http:" not in page  # nothing else is loaded
    assert "https:" not in page
    assert "default-src 'none'" in page


def test_a_corpus_that_is_not_the_models_own_is_a_warning(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "other.txt").write_text(NAMES[::-1].strip() + "\n")
    assert main(["report", str(folder / "names.onnx"), "--against", str(folder / "other.txt"), "--samples", "5"]) == 0
    assert "warning: the model was not trained on" in capsys.readouterr().out


def test_a_checkpoint_is_refused_with_the_remedy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["report", str(folder / "run"), "--against", str(folder / "names.txt")]
    assert "nextchar-train export makes a model file of it" in error_of(arguments, capsys)


def test_a_file_that_cannot_be_written_is_refused_before_any_work(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--json: there is no folder" in error_of(report(folder, "--json", str(folder / "none" / "f.json")), capsys)
