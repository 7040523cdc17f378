"""The verbs of ``nextchar-train`` that use a trained model: export, evaluate, sample, each of run folders and files."""

from __future__ import annotations

import shutil
from itertools import takewhile
from pathlib import Path

import pytest

from nextchar_model.alphabet import BOUNDARY
from nextchar_model.decoder import decode
from nextchar_model.runner import Runner
from nextchar_training.run.checkpoint import load_checkpoint
from tests.support.tiny_model import TinyModel
from tests.support.trainings import SMALL, TEXT, brief, error_of, main


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert brief(["fit", str(text), "--out", str(folder), "--epochs", "3", "--learning-rate", "0.02", *SMALL]) == 0
    return folder


def losses(output: str) -> list[float]:
    """Returns the losses in nats per character that a command printed, stateful and windows."""
    return [float(line.split()[1]) for line in output.splitlines() if line.startswith(("stateful", "windows"))]


def test_evaluate_measures_what_fit_reported(run: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run / "best.pt"), str(text), "--split", "validation"]) == 0
    record = load_checkpoint(run / "best.pt").record
    assert losses(capsys.readouterr().out) == pytest.approx([record.stateful_loss, record.windows_loss], abs=1e-4)


def test_evaluate_tells_the_development_part_from_the_held_out_one(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = tmp_path / "run", tmp_path / "model.onnx"
    assert brief(["fit", str(text), "--out", str(run), "--epochs", "1", "--development", *SMALL]) == 0
    assert "evaluating the best checkpoint on the whole development part\n" in capsys.readouterr().out
    assert main(["export", str(run), "--out", str(file), "--precision", "fp32"]) == 0
    record = load_checkpoint(run / "best.pt").record
    for model in (run, file):
        capsys.readouterr()
        assert main(["evaluate", str(model), str(text), "--split", "validation"]) == 0
        output = capsys.readouterr().out
        assert f"characters of the development part of {text}\n" in output
        assert losses(output) == pytest.approx([record.stateful_loss, record.windows_loss], abs=2e-4)
        assert main(["evaluate", str(model), str(text), "--split", "held-out"]) == 0
        output = capsys.readouterr().out
        assert f"characters of the held-out part of {text}\n" in output
        assert losses(output) != pytest.approx([record.stateful_loss, record.windows_loss], abs=2e-4)
    assert main(["evaluate", str(run), str(text), "--split", "validation", "--no-development"]) == 0
    assert f"characters of the held-out part of {text}\n" in capsys.readouterr().out


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_exported_file_loses_next_to_nothing(
    run: Path, text: Path, tmp_path: Path, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.onnx"
    assert main(["export", str(run / "best.pt"), "--out", str(file), "--precision", precision]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(file), str(text), "--split", "validation"]) == 0
    record = load_checkpoint(run / "best.pt").record
    tolerance = 2e-4 if precision == "fp32" else 1e-2
    assert losses(capsys.readouterr().out) == pytest.approx([record.stateful_loss, record.windows_loss], abs=tolerance)


@pytest.mark.parametrize("layers", ["1", "2"])
@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_a_network_of_any_cell_is_trained_sampled_exported_and_evaluated(
    cell: str, layers: str, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = tmp_path / "run", tmp_path / "m.onnx"
    options = ["--cell", cell, "--layers", layers, "--epochs=3", "--learning-rate=0.02", *SMALL]
    assert brief(["fit", str(text), "--out", str(run), *options]) == 0
    assert f"- {cell}, {layers} × 16," in (run / "report.md").read_text()
    checkpoint = load_checkpoint(run / "best.pt")
    assert checkpoint.architecture.cell == cell
    expected = [checkpoint.record.stateful_loss, checkpoint.record.windows_loss]
    for precision, tolerance in (("fp32", 2e-4), ("int8", 1e-2)):
        assert main(["export", str(run / "best.pt"), "--out", str(file), "--precision", precision]) == 0
        capsys.readouterr()
        assert main(["evaluate", str(file), str(text), "--split", "validation"]) == 0
        assert losses(capsys.readouterr().out) == pytest.approx(expected, abs=tolerance)
        assert Runner(file).replay().exact


def test_exported_file_says_how_it_was_trained(run: Path, tmp_path: Path) -> None:
    assert main(["export", str(run / "best.pt"), "--out", str(tmp_path / "m.onnx")]) == 0
    record, training = load_checkpoint(run / "best.pt").record, Runner(tmp_path / "m.onnx").description.training
    assert (training.corpus, training.corpus_characters) == (record.corpus, len(TEXT))
    assert training.command.startswith("nextchar-train fit ")
    assert training.command.endswith(" --threads=1")
    assert training.validation_loss == record.stateful_loss


def test_export_needs_no_corpus(tmp_path: Path) -> None:
    text, file = tmp_path / "text.txt", tmp_path / "m.onnx"
    text.write_text(TEXT)
    assert brief(["fit", str(text), "--out", str(tmp_path / "run"), "--epochs", "1", *SMALL]) == 0
    text.unlink()
    assert main(["export", str(tmp_path / "run"), "--out", str(file)]) == 0
    assert Runner(file).replay().exact


def test_export_of_a_checkpoint_alone_needs_a_text(
    run: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, file = tmp_path / "best.pt", tmp_path / "m.onnx"
    shutil.copy(run / "best.pt", checkpoint)
    message = error_of(["export", str(checkpoint), "--out", str(file)], capsys)
    assert "best.pt: no held-out text (held_out.npz) beside it: name a text with --text" in message
    assert main(["export", str(checkpoint), "--out", str(file), "--text", str(text)]) == 0
    assert Runner(file).replay().exact


def test_export_does_not_check_a_checkpoint_on_the_held_out_text_of_another_run(
    run: Path, names_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(run, mixed)
    shutil.copy(names_run / "best.pt", mixed / "names.pt")
    message = error_of(["export", str(mixed / "names.pt"), "--out", str(tmp_path / "m.onnx")], capsys)
    assert "names.pt: the held-out text beside it is of another run: name a text with --text" in message


def test_export_of_a_model_file_says_that_it_is_one(
    tiny: TinyModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = error_of(["export", str(tiny.int8), "--out", str(tmp_path / "m.onnx")], capsys)
    assert "not a checkpoint but a model file" in message


def test_a_model_is_known_by_its_content(
    run: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, file = tmp_path / "a.onnx", tmp_path / "b.pt"
    shutil.copy(run / "best.pt", checkpoint)
    assert main(["export", str(run), "--out", str(file), "--precision=fp32"]) == 0
    capsys.readouterr()
    outputs = []
    for model in (run, checkpoint, file):
        assert main(["evaluate", str(model), str(text)]) == 0
        outputs.append(losses(capsys.readouterr().out))
    assert outputs[0] == outputs[1] == pytest.approx(outputs[2], abs=2e-4)


def test_sample_writes_as_many_characters_as_asked_for(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(run), "--prompt", "The ", "--characters", "30"]) == 0
    assert len(capsys.readouterr().out) == 30 + 1


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_sample_and_the_exported_file_write_the_same_text(
    cell: str, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert brief(["fit", str(text), "--out", str(run), "--cell", cell, "--epochs=1", *SMALL]) == 0
    assert main(["export", str(run / "best.pt"), "--out", str(tmp_path / "m.onnx"), "--precision", "fp32"]) == 0
    capsys.readouterr()
    outputs = []
    for model in (run, tmp_path / "m.onnx"):
        assert main(["sample", str(model), "--prompt", "The ", "--characters", "50", "--seed", "3"]) == 0
        outputs.append(capsys.readouterr().out[:-1])
    runner = Runner(tmp_path / "m.onnx")
    ids = runner.generate("The ", 3, 50).ids[4:, 0]
    served = decode(runner.description.alphabet, takewhile(lambda id_: id_ != BOUNDARY, ids))
    assert outputs == [served, served]


NAMES = "".join(
    f"{first}{last}\n" for first in ("An", "Bo", "Cla", "Da", "E") for last in ("na", "ra", "sa", "la", "ko", "mi")
)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "names.txt"
    path.write_text(NAMES * 20 + "Zoë\n")
    return path


@pytest.fixture(scope="module")
def names_run(names: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose documents are lines, one of which has two rare characters."""
    folder = tmp_path_factory.mktemp("runs") / "names"
    rules = ["--documents=line", "--minimum-count=2"]
    assert brief(["fit", str(names), "--out", str(folder), "--epochs=20", "--learning-rate=0.02", *rules, *SMALL]) == 0
    return folder


def test_a_model_of_lines_writes_twenty_of_them(
    names: Path, names_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m.onnx"
    assert main(["export", str(names_run), "--out", str(file), "--precision=fp32", "--text", str(names)]) == 0
    capsys.readouterr()
    for model in (names_run, file):
        assert main(["sample", str(model)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 20
        assert len(set(lines)) > 5
        assert max(map(len, lines)) < 20  # each ends where its document ends
    assert main(["sample", str(file), "--count=3"]) == 0
    assert capsys.readouterr().out.splitlines() == lines[:3]


def test_a_model_is_evaluated_by_the_rules_of_its_corpus(
    names: Path, names_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = load_checkpoint(names_run / "best.pt").record
    expected = [record.stateful_loss, record.windows_loss]
    assert main(["evaluate", str(names_run / "best.pt"), str(names), "--split=validation"]) == 0
    assert losses(capsys.readouterr().out) == pytest.approx(expected, abs=1e-4)
    message = error_of(["export", str(names_run), "--out", str(tmp_path / "m.onnx"), "--precision=fp32"], capsys)
    assert "it needs at least 256" in message  # a tenth of the names is little
    arguments = ["export", str(names_run / "best.pt"), "--out", str(tmp_path / "m.onnx"), "--precision=fp32"]
    assert main([*arguments, "--text", str(names)]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "m.onnx"), str(names), "--split=validation"]) == 0
    assert losses(capsys.readouterr().out) == pytest.approx(expected, abs=2e-4)


def test_what_was_rare_is_left_out_of_another_text_too(
    names_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.txt").write_text("Anna\nZoë\n")
    assert main(["evaluate", str(names_run / "best.pt"), str(tmp_path / "other.txt")]) == 0
    output = capsys.readouterr().out
    assert "characters outside the model's alphabet are left out" in output
    assert "5 characters of" in output  # Anna, and the o of Zoë
    (tmp_path / "other.txt").write_text("Ë\n")
    message = error_of(["evaluate", str(names_run), str(tmp_path / "other.txt")], capsys)
    assert "holds no character that the model can spell" in message


def test_a_character_outside_the_alphabet_is_named_with_its_file_or_treated_as_asked(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("line")
    (tmp_path / "b.txt").write_text("line Zine")
    arguments = ["evaluate", str(run), str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]
    message = error_of(arguments, capsys)
    assert "b.txt: character 'Z' (U+005A) at offset 5 is not in the model's alphabet" in message
    assert "--unknown-characters skip" in message
    assert main([*arguments, "--unknown-characters=skip"]) == 0
    assert "13 characters of" in capsys.readouterr().out
    assert main([*arguments, "--unknown-characters=replace", "--replacement=n"]) == 0
    assert "14 characters of" in capsys.readouterr().out
    message = error_of([*arguments, "--unknown-characters=replace"], capsys)
    assert "is not in the model's alphabet: name another --replacement" in message


def test_a_replacement_outside_the_alphabet_is_named(run: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of(["evaluate", str(run), str(text), "--minimum-count=31", "--rare=replace"], capsys)
    assert "is not in the model's alphabet: name another --replacement" in message


def test_a_replacement_needs_no_rule_that_the_model_has_already(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, run, other = tmp_path / "text.txt", tmp_path / "run", tmp_path / "other.txt"
    text.write_text(TEXT + "Zé")
    other.write_text("a line Ü" * 100)
    rules = ["--minimum-count=2", "--rare=replace"]
    assert brief(["fit", str(text), "--out", str(run), "--epochs=1", *rules, *SMALL]) == 0
    assert main(["evaluate", str(run), str(other), "--replacement=n"]) == 0
    assert "are replaced by 'n'" in capsys.readouterr().out
    tuned = ["fit", str(text), "--out", str(tmp_path / "tuned"), "--from", str(run), "--epochs=1", "--threads=1"]
    assert brief([*tuned, "--replacement=n", "--batch-size=8"]) == 0
    assert load_checkpoint(tmp_path / "tuned" / "best.pt").record.rules.replacement == "n"


def test_evaluate_reads_as_much_as_asked_for(run: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run / "best.pt"), str(text), "--characters=300"]) == 0
    assert "the first 300 characters of" in capsys.readouterr().out
    assert main(["evaluate", str(run / "best.pt"), str(text), f"--characters={len(TEXT)}"]) == 0
    output = capsys.readouterr().out
    assert f"{len(TEXT):,} characters of" in output
    assert "the first" not in output
