"""Names of files and folders are data: whatever they hold, a training ends with its report, is resumed and exported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from nextchar_model.runner import Runner
from nextchar_training.picture import new_figure
from nextchar_training.run import curves
from nextchar_training.run.checkpoint import load_checkpoint
from nextchar_training.run.folder import LossRow
from tests.support.trainings import TEXT, brief, fit, main

NAMES = [
    "$x_{$ \\frac{",
    "[bold]x[end] :smile: %s{}%(x)s{0} q'\"",
    "a|b`c``*d_e*<i>#",
    "new\nline \x1b[31mred",
    "-dash 한글 😀",
    "caf\udce9 $\udcff$",
    "x" * 240,
]
"""Lone surrogates are the bytes of names that aren't UTF-8, as Python passes them on."""


@pytest.mark.parametrize("name", NAMES)
def test_a_training_ends_with_its_report_and_is_exported_whatever_its_text_and_its_folder_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(os.fsencode(name).decode("utf-8", "surrogateescape")).write_text(TEXT)
    run = tmp_path / "runs" / name
    assert main(fit(f"./{name}", out=run)) == 0
    assert main(["export", str(run), "--out", str(tmp_path / f"{name}.onnx"[-240:])]) == 0
    errors = capsys.readouterr().err
    assert errors == ""
    assert all((run / file).stat().st_size for file in ("report.md", "samples.txt", "loss.png", "best.pt"))
    assert Runner(tmp_path / f"{name}.onnx"[-240:]).description.training.corpus_characters == len(TEXT)


@pytest.mark.parametrize("name", ["a$b$c", "caf\udce9", "new\nline", "[bold]"])
def test_a_training_is_continued_whatever_its_text_and_its_folder_are_called(tmp_path: Path, name: str) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / name).write_text(TEXT)
    run = tmp_path / name
    assert brief(fit(tmp_path / "texts" / name, out=run)) == 0
    assert brief(["resume", str(run), "--epochs=1"]) == 0
    record = load_checkpoint(run / "last.pt").record
    assert record.epoch == 2.0
    assert [os.fsdecode(source) for source in record.sources] == [str(tmp_path / "texts" / name)]


def test_names_in_a_report_are_code_and_the_command_is_one_line_that_a_shell_reads_back(tmp_path: Path) -> None:
    text = tmp_path / "a`b|*c*\n\udcff"
    text.write_text(TEXT)
    run = tmp_path / "run"
    assert brief(fit(text, out=run)) == 0
    report = (run / "report.md").read_text(encoding="utf-8")
    assert f"- corpus: ``{tmp_path}/a`b|*c*\\n\\xff``: 1 file" in report
    (command,) = [line for line in report.splitlines() if line.startswith("    nextchar-train fit ")]
    assert f"$'{tmp_path}/a`b|*c*\\x0a\\xff'" in command


def test_tables_show_the_names_of_runs_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text(TEXT)
    names = ["[red]a[end]", ":smile:", "_b$c$"]
    for name in names:
        assert brief(fit(tmp_path / "text", out=tmp_path / name)) == 0
    capsys.readouterr()
    assert main(["compare", *(str(tmp_path / name) for name in names), "--out", str(tmp_path / "c.png")]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    assert all(name in output for name in names)


def test_the_loss_curves_of_a_run_whose_name_begins_with_an_underscore_are_named(tmp_path: Path) -> None:
    drawn: list[Figure] = []

    def kept(width: float, height: float) -> Figure:
        drawn.append(new_figure(width, height))
        return drawn[-1]

    row = LossRow(1, 1.0, 1.0, 10, 0.1, 2.0, 2.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "new_figure", kept)
        curves.draw_losses({"_run": [row]}, tmp_path / "loss.png", "title")
    (legend,) = [legend for axes in drawn[0].axes if (legend := axes.get_legend()) is not None]
    assert len(legend.get_texts()) == 2
