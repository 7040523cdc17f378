"""``nextchar-train`` from a text to a run folder, in this process, with a tiny network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nextchar_training.run.checkpoint import load_checkpoint
from tests.support.trainings import SMALL, TEXT, brief, error_of, main


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["fit", str(text), "--out", str(folder), "--epochs", "3", "--learning-rate", "0.02", *SMALL]) == 0
    return folder


def test_run_folder_is_complete(run: Path) -> None:
    names = {file.name for file in run.iterdir()}
    assert names == {"best.pt", "last.pt", "held_out.npz", "loss.csv", "loss.png", "samples.txt", "report.md"}


def test_report_holds_the_losses_of_the_best_checkpoint_under_both_protocols(run: Path) -> None:
    record, report = load_checkpoint(run / "best.pt").record, (run / "report.md").read_text()
    assert f"{record.stateful_loss:.4f}" in report
    assert f"{record.windows_loss:.4f}" in report


def test_best_checkpoint_has_the_lowest_loss_of_the_table(run: Path) -> None:
    rows = (run / "loss.csv").read_text().splitlines()[1:]
    assert load_checkpoint(run / "best.pt").record.validation_loss == min(float(row.split(",")[-1]) for row in rows)


def test_same_seed_and_epochs_give_the_same_weights_bit_for_bit(run: Path, text: Path, tmp_path: Path) -> None:
    again = tmp_path / "run"
    assert brief(["fit", str(text), "--out", str(again), "--epochs", "3", "--learning-rate", "0.02", *SMALL]) == 0
    first, second = (load_checkpoint(folder / "last.pt").weights for folder in (run, again))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_processes_take_the_steps_of_one(text: Path, tmp_path: Path) -> None:
    losses = []
    for processes in (1, 2):
        run = tmp_path / str(processes)
        options = ["--epochs=1", f"--processes={processes}", "--dropout=0", "--input-dropout=0", *SMALL]
        assert brief(["fit", str(text), "--out", str(run), *options], evaluations=25) == 0
        losses.append([float(row.split(",")[-1]) for row in (run / "loss.csv").read_text().splitlines()[1:]])
    assert losses[0] == pytest.approx(losses[1], abs=0.01)  # two halves add up in another order, in bfloat16
    assert losses[0][0] - losses[0][-1] > 0.1  # a wrong step would have shown


@pytest.mark.slow
def test_torchrun_trains_as_the_option_does(text: Path, tmp_path: Path) -> None:
    arguments = ["nextchar-train", "fit", str(text), "--epochs=1", *SMALL]
    assert brief([*arguments[1:], "--processes=2", "--out", str(tmp_path / "option")], evaluations=25) == 0
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
    assert brief(["fit", str(text), "--out", str(other), "--epochs", "1", *SMALL]) == 0
    capsys.readouterr()
    assert main(["compare", str(run), str(other), "--out", str(tmp_path / "curves.png")]) == 0
    output = capsys.readouterr().out
    for folder in (run, other):
        record = load_checkpoint(folder / "best.pt").record
        losses = [f"{loss:.4f}" for loss in (record.validation_loss, record.stateful_loss, record.windows_loss) if loss]
        assert any(line.split()[-3:] == losses for line in output.splitlines())
    assert any(
        line.split() == ["budget", "3", "epochs", "1", "epoch"] for line in output.splitlines()
    )  # a setting that differs
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("folders", "message"), [(["text"], "holds no run"), (["run", "run"], "named twice")])
def test_compare_refuses_a_folder_without_a_run_and_a_run_named_twice(
    run: Path, text: Path, folders: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {"run": str(run), "text": str(text.parent)}
    assert message in error_of(["compare", *(paths[name] for name in folders)], capsys)


def test_gates_draws_what_a_network_does_in_a_text(
    run: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gates"
    assert main(["gates", str(run), str(text), "--out", str(out), "--characters", "300"]) == 0
    output = capsys.readouterr().out
    assert "in 300 characters of" in output
    assert "candidate  near -1 (below -0.8)" in output
    assert re.search(r"cell.png shows the cell of unit \d+ in layer 0", output)
    assert {file.name for file in out.iterdir()} == {"gates.csv", "gates.png", "cell.png", "cells.html"}
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
    assert len(rows) == 1 + (2 * 4 + 1) * 101  # before and after; an LSTM has two parts; an RNN with large weights
    losses = (out / "losses.csv").read_text().splitlines()
    assert losses[0] == "cell,characters,seconds,loss"
    assert {row.split(",")[0] for row in losses[1:]} == {"rnn", "gru", "lstm"}
    assert (out / "clipping.csv").read_text().startswith("clipped,step,gradient_norm,loss\nFalse,1,")
    for name in ("gradients.png", "clipping.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    message = error_of(["gradients", str(text), "--out", str(out), *options], capsys)
    assert "already holds gradients.csv, losses.csv, gradients.png, clipping.csv, clipping.png; --overwrite" in message


def test_a_finished_run_trains_on(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    longer = tmp_path / "run"
    shutil.copytree(run, longer)
    assert "the run is complete; --minutes or --epochs train it for longer" in error_of(["resume", str(longer)], capsys)
    assert brief(["resume", str(longer), "--epochs=2"]) == 0
    before, after = (load_checkpoint(folder / "best.pt").record for folder in (run, longer))
    assert after.step > before.step
    assert after.validation_loss < before.validation_loss
    assert after.command == f"{before.command} && nextchar-train resume {longer} --epochs=2"
    rows = (longer / "loss.csv").read_text().splitlines()
    assert rows[: len((run / "loss.csv").read_text().splitlines())] == (run / "loss.csv").read_text().splitlines()


def test_a_row_without_its_weights_does_not_count_when_a_run_trains_on(run: Path, tmp_path: Path) -> None:
    longer = tmp_path / "run"
    shutil.copytree(run, longer)
    step = load_checkpoint(longer / "last.pt").record.step
    with (longer / "loss.csv").open("a") as table:
        table.write(f"{step + 1},9.0,9.0,9,0.001,0.5,0.5\n")
    assert brief(["resume", str(longer), "--epochs=1", "--threads=1"]) == 0
    assert ",9.0,9.0,9," not in (longer / "loss.csv").read_text()


def test_a_run_whose_text_has_changed_does_not_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, run = tmp_path / "text.txt", tmp_path / "run"
    text.write_text(TEXT)
    assert brief(["fit", str(text), "--out", str(run), "--epochs=1", *SMALL]) == 0
    text.write_text(TEXT + "é")  # not in the alphabet either
    assert "is no longer the text that the model was trained on" in error_of(["resume", str(run), "--epochs=1"], capsys)


def test_an_interrupted_run_takes_no_other_budget(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = tmp_path / "run"
    shutil.copytree(run, stopped)
    (stopped / "stopped.pt").touch()
    message = error_of(["resume", str(stopped), "--epochs=2"], capsys)
    assert "was interrupted: resume it first, without other options than --cache" in message


def test_fine_tuning_starts_with_the_weights_and_the_alphabet_of_a_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, tuned = tmp_path / "other.txt", tmp_path / "tuned"
    other.write_text("a line that is other than the text\n" * 60)
    arguments = ["fit", str(other), "--out", str(tuned), "--from", str(run), "--epochs=1", *SMALL[2:]]
    assert main([*arguments, "--learning-rate=1e-9"]) == 0
    old, new = (load_checkpoint(folder / "best.pt") for folder in (run, tuned))
    assert new.alphabet == old.alphabet
    assert all(torch.allclose(new.weights[name], old.weights[name], atol=1e-3) for name in old.weights)
    other.write_text("é" * 2000)
    assert "the model's alphabet lacks 'é' (U+00E9)" in error_of([*arguments, "--overwrite"], capsys)
    message = error_of([*arguments, "--layers=2"], capsys)
    assert "--from keeps the network's sizes: leave out --layers" in message


def test_a_replacement_without_its_rule_is_refused(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["fit", str(text), "--out", str(tmp_path / "run"), "--epochs=1", "--replacement=?", *SMALL]
    assert "--replacement needs --rare replace" in error_of(arguments, capsys)


def test_a_pipe_is_read_once_into_the_named_cache(tmp_path: Path) -> None:
    pipe, cache = tmp_path / "pipe", tmp_path / "cache"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", "/dev/stdin", str(pipe)], stdin=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        writer.stdin.write(TEXT)
        writer.stdin.close()
        arguments = ["fit", str(pipe), "--out", str(tmp_path / "run"), "--epochs=1", "--cache", str(cache), *SMALL]
        assert brief(arguments) == 0
    assert load_checkpoint(tmp_path / "run" / "best.pt").record.characters == len(TEXT)
    assert [path.name for path in (cache / "datasets").glob("*/*.npy")] == ["ids.npy"]
