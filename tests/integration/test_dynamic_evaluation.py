"""The forms of dynamic evaluation on the command line: ``nextchar-train evaluate --adaptive`` and its siblings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.trainings import SMALL, brief, main


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert brief(["fit", str(text), "--out", str(folder), "--epochs", "1", *SMALL]) == 0
    return folder


@pytest.mark.parametrize(
    ("options", "forms"),
    [
        (["--adaptive"], ["mixed with an n-gram model of the text so far"]),
        (["--adaptive-training"], ["mixed with an n-gram model of the training text and the text so far"]),
        (["--adaptive-gradient"], ["gradient steps on the text so far"]),
        (
            ["--adaptive", "--adaptive-gradient"],
            [
                "mixed with an n-gram model of the text so far",
                "gradient steps on the text so far",
                "gradient steps on the text so far, mixed with an n-gram model of the text so far",
            ],
        ),
    ],
)
def test_evaluate_names_each_form_of_dynamic_evaluation(
    run: Path, text: Path, options: list[str], forms: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run / "best.pt"), str(text), "--split", "validation", *options]) == 0
    _, stateful, windows, *adaptive = capsys.readouterr().out.splitlines()
    assert [line.partition("(")[2] for line in adaptive] == [f"dynamic evaluation: {form})" for form in forms]
    assert all(line.startswith("adaptive ") for line in adaptive)
    assert "dynamic" not in stateful + windows


def test_a_model_file_takes_no_gradient_steps(
    run: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.onnx"
    assert main(["export", str(run), "--out", str(file)]) == 0
    assert main(["evaluate", str(file), str(text), "--adaptive-gradient"]) == 2
    assert "--adaptive-gradient needs a checkpoint (.pt) or a run folder" in capsys.readouterr().err
