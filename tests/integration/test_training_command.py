"""``nextchar-train`` from a text to an exported file, in this process, with a tiny network."""

import os
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
import torch

from nextchar_model.alphabet import BOUNDARY
from nextchar_model.decoder import decode
from nextchar_model.runner import Runner
from nextchar_training.commands.command import run as run_command
from nextchar_training.commands.options import read
from nextchar_training.run.checkpoint import load_checkpoint

TEXT = "".join(f"The {n}th line of a text that repeats itself.\n" for n in range(200))
SMALL = ["--hidden-size=16", "--embedding-size=8", "--batch-size=8", "--sequence-length=16", "--threads=1"]


def main(argv: list[str]) -> int:
    """What ``nextchar-train`` does, in this process."""
    return run_command(read(argv))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["fit", str(text), "--out", str(folder), "--epochs", "3", "--learning-rate", "0.02", *SMALL]) == 0
    return folder


def losses(output: str) -> list[float]:
    """The losses in nats that a command printed, stateful and windows."""
    return [float(line.split()[1]) for line in output.splitlines() if line.startswith(("stateful", "windows"))]


def test_run_folder_is_complete(run: Path) -> None:
    names = {file.name for file in run.iterdir()}
    assert names == {"best.pt", "last.pt", "loss.csv", "loss.png", "samples.txt", "report.md"}


def test_report_holds_the_losses_of_the_best_checkpoint_under_both_protocols(run: Path) -> None:
    record, report = load_checkpoint(run / "best.pt").record, (run / "report.md").read_text()
    assert f"{record.stateful_loss:.4f}" in report
    assert f"{record.windows_loss:.4f}" in report


def test_best_checkpoint_has_the_lowest_loss_of_the_table(run: Path) -> None:
    rows = (run / "loss.csv").read_text().splitlines()[1:]
    assert load_checkpoint(run / "best.pt").record.validation_loss == min(float(row.split(",")[-1]) for row in rows)


def test_same_seed_and_epochs_give_the_same_weights_bit_for_bit(run: Path, text: Path, tmp_path: Path) -> None:
    again = tmp_path / "run"
    assert main(["fit", str(text), "--out", str(again), "--epochs", "3", "--learning-rate", "0.02", *SMALL]) == 0
    first, second = (load_checkpoint(folder / "last.pt").weights for folder in (run, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_processes_take_the_steps_of_one(text: Path, tmp_path: Path) -> None:
    losses = []
    for processes in (1, 2):
        run = tmp_path / str(processes)
        options = ["--epochs=1", f"--processes={processes}", "--dropout=0", "--input-dropout=0", *SMALL]
        assert main(["fit", str(text), "--out", str(run), *options]) == 0
        losses.append([float(row.split(",")[-1]) for row in (run / "loss.csv").read_text().splitlines()[1:]])
    assert losses[0] == pytest.approx(losses[1], abs=0.01)  # two halves add up in another order, in bfloat16
    assert losses[0][0] - losses[0][-1] > 0.1  # a wrong step would have shown


def test_torchrun_trains_as_the_option_does(text: Path, tmp_path: Path) -> None:
    arguments = ["nextchar-train", "fit", str(text), "--epochs=1", *SMALL]
    assert main([*arguments[1:], "--processes=2", "--out", str(tmp_path / "option")]) == 0
    torchrun = ["torchrun", "--standalone", "--nproc-per-node=2", "--no-python"]
    subprocess.run([*torchrun, *arguments, "--out", str(tmp_path / "torchrun")], env=environment(), check=True)
    first, second = (load_checkpoint(tmp_path / name / "last.pt").weights for name in ("option", "torchrun"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def environment() -> dict[str, str]:
    """An environment in which the commands of this Python's packages are found."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_compare_puts_runs_side_by_side(
    run: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    assert main(["fit", str(text), "--out", str(other), "--epochs", "1", *SMALL]) == 0
    capsys.readouterr()
    assert main(["compare", str(run), str(other), "--out", str(tmp_path / "curves.png")]) == 0
    output = capsys.readouterr().out
    for folder in (run, other):
        record = load_checkpoint(folder / "best.pt").record
        assert any(
            f"{record.validation_loss:.4f} │   {record.stateful_loss:.4f} │  {record.windows_loss:.4f}" in line
            for line in output.splitlines()
        )
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("folders", "message"), [(["text"], "holds no run"), (["run", "run"], "named twice")])
def test_compare_says_what_is_no_run(
    run: Path, text: Path, folders: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {"run": str(run), "text": str(text.parent)}
    assert main(["compare", *(paths[name] for name in folders)]) == 2
    assert message in capsys.readouterr().err


def test_gates_draws_what_a_network_does_in_a_text(
    run: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gates"
    assert main(["gates", str(run / "best.pt"), str(text), "--out", str(out), "--characters", "300"]) == 0
    output = capsys.readouterr().out
    assert "in 300 characters of" in output
    assert {file.name for file in out.iterdir()} == {"gates.csv", "gates.png", "cell.png", "cell.html"}
    assert len((out / "gates.csv").read_text().splitlines()) == 1 + 4 * 16
    for name in ("gates.png", "cell.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert main(["gates", str(run / "best.pt"), str(text), "--out", str(out), "--unit", "16"]) == 2
    assert "there is no unit 16: each layer has units 0 to 15" in capsys.readouterr().err


def test_gradients_compares_the_cells(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gradients"
    options = ["--epochs=1", "--hidden-size=8", "--batch-size=8", "--sequence-length=16"]
    assert main(["gradients", str(text), "--out", str(out), *options]) == 0
    output = capsys.readouterr().out
    assert all(cell in output for cell in ("RNN", "GRU", "LSTM"))
    rows = (out / "gradients.csv").read_text().splitlines()
    assert rows[0] == "cell,weights,state,k,norm"
    assert len(rows) == 1 + 2 * 4 * 101  # before and after; an LSTM has two parts
    assert (out / "gradients.png").read_bytes().startswith(b"\x89PNG")
    assert main(["gradients", str(text), "--out", str(out), *options]) == 2
    assert "already holds gradients.csv, gradients.png; --overwrite replaces it" in capsys.readouterr().err


def test_evaluate_measures_what_fit_reported(run: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run / "best.pt"), str(text), "--split", "validation"]) == 0
    record = load_checkpoint(run / "best.pt").record
    assert losses(capsys.readouterr().out) == pytest.approx([record.stateful_loss, record.windows_loss], abs=1e-4)


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
    assert main(["fit", str(text), "--out", str(run), *options]) == 0
    assert f"- {cell}, {layers} x 16," in (run / "report.md").read_text()
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


def test_export_refuses_a_corpus_that_is_no_longer_the_one_of_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    assert main(["fit", str(text), "--out", str(tmp_path / "run"), "--epochs", "1", *SMALL]) == 0
    text.write_text(TEXT[1:])
    checkpoint, file = str(tmp_path / "run" / "best.pt"), tmp_path / "m.onnx"
    assert main(["export", checkpoint, "--out", str(file)]) == 2
    assert "no longer the text that the model was trained on: give a text" in capsys.readouterr().err
    assert not file.exists()
    assert main(["export", checkpoint, "--out", str(file), "--text", str(text)]) == 0


def test_sample_writes_as_many_characters_as_asked_for(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(run / "best.pt"), "--prompt", "The ", "--characters", "30"]) == 0
    assert len(capsys.readouterr().out) == 30 + 1


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_sample_and_the_exported_file_write_the_same_text(
    cell: str, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["fit", str(text), "--out", str(run), "--cell", cell, "--epochs=1", *SMALL]) == 0
    assert main(["export", str(run / "best.pt"), "--out", str(tmp_path / "m.onnx"), "--precision", "fp32"]) == 0
    capsys.readouterr()
    assert main(["sample", str(run / "best.pt"), "--prompt", "The ", "--characters", "50", "--seed", "3"]) == 0
    written = capsys.readouterr().out[:-1]
    runner = Runner(tmp_path / "m.onnx")
    ids = runner.generate("The ", 3, 50).ids[4:, 0]
    assert written == decode(runner.description.alphabet, takewhile(lambda id_: id_ != BOUNDARY, ids))


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
    assert main(["fit", str(names), "--out", str(folder), "--epochs=20", "--learning-rate=0.02", *rules, *SMALL]) == 0
    return folder


def test_what_a_model_writes_ends_where_documents_end(names_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(names_run / "best.pt"), "--characters=100", "--seed=2"]) == 0
    assert 1 < len(capsys.readouterr().out) < 20


def test_a_model_is_evaluated_by_the_rules_of_its_corpus(
    names: Path, names_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = load_checkpoint(names_run / "best.pt").record
    expected = [record.stateful_loss, record.windows_loss]
    assert main(["evaluate", str(names_run / "best.pt"), str(names), "--split=validation"]) == 0
    assert losses(capsys.readouterr().out) == pytest.approx(expected, abs=1e-4)
    assert main(["export", str(names_run / "best.pt"), "--out", str(tmp_path / "m.onnx"), "--precision=fp32"]) == 2
    assert "it takes at least 256" in capsys.readouterr().err  # a tenth of the names is little
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
    assert "characters that the model cannot spell are left out, as rare ones were" in output
    assert "5 characters of" in output  # Anna, and the o of Zoë
    (tmp_path / "other.txt").write_text("Ë\n")
    assert main(["evaluate", str(names_run / "best.pt"), str(tmp_path / "other.txt")]) == 2
    assert "holds no character that the model can spell" in capsys.readouterr().err


def test_evaluate_reads_as_much_as_asked_for(run: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run / "best.pt"), str(text), "--characters=300"]) == 0
    assert "the first 300 characters of" in capsys.readouterr().out


def test_a_replacement_without_its_rule_is_refused(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["fit", str(text), "--out", str(tmp_path / "run"), "--epochs=1", "--replacement=?", *SMALL]
    assert main(arguments) == 2
    assert "--replacement takes --rare replace" in capsys.readouterr().err


def test_a_pipe_is_read_once_into_the_named_cache(tmp_path: Path) -> None:
    pipe, cache = tmp_path / "pipe", tmp_path / "cache"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", "/dev/stdin", str(pipe)], stdin=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        writer.stdin.write(TEXT)
        writer.stdin.close()
        arguments = ["fit", str(pipe), "--out", str(tmp_path / "run"), "--epochs=1", "--cache", str(cache), *SMALL]
        assert main(arguments) == 0
    assert load_checkpoint(tmp_path / "run" / "best.pt").record.characters == len(TEXT)
    assert [path.name for path in (cache / "datasets").glob("*/*.npy")] == ["ids.npy"]
