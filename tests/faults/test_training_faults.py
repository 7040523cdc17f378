"""Faults around a training: bad input, a full disk, a signal, a lost process."""

import hashlib
import resource
import signal
from pathlib import Path

import pytest

from nextchar_training.run.checkpoint import load_checkpoint
from tests.support.training_processes import TrainingProcess
from tests.support.trainings import SMALL, TEXT, brief, error_of, fit, once, training_command, training_process


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_missing_corpus_is_named_and_no_folder_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing.txt" in error_of(fit(tmp_path / "missing.txt", out=tmp_path / "run"), capsys)
    assert not (tmp_path / "run").exists()


def test_empty_corpus_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.txt").touch()
    assert "empty.txt: empty" in error_of(fit(tmp_path / "empty.txt", out=tmp_path / "run"), capsys)


def test_corpus_that_is_not_utf8_is_named_with_the_byte_offset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "latin.txt").write_bytes(TEXT.encode() + b"caf\xe9")
    message = error_of(fit(tmp_path / "latin.txt", out=tmp_path / "run"), capsys)
    assert f"latin.txt: not UTF-8: byte 0xe9 at offset {len(TEXT) + 3}" in message


def test_corpus_shorter_than_a_batch_is_refused_and_the_run_in_its_place_stays(
    tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert brief(fit(text, out=tmp_path / "run")) == 0
    capsys.readouterr()
    (tmp_path / "short.txt").write_text("too short")
    message = error_of([*fit(tmp_path / "short.txt", out=tmp_path / "run"), "--overwrite"], capsys)
    assert "fewer than one batch of 8 x 16 = 128" in message
    load_checkpoint(tmp_path / "run" / "best.pt")


def test_run_is_never_lost_to_a_second_one(tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert brief(fit(text, out=tmp_path / "run")) == 0
    capsys.readouterr()
    before = (tmp_path / "run" / "best.pt").read_bytes()
    assert "already holds a run" in error_of(fit(text, out=tmp_path / "run"), capsys)
    assert (tmp_path / "run" / "best.pt").read_bytes() == before


@pytest.mark.parametrize(
    "option",
    [
        "--hidden-size=0",
        "--layers=-1",
        "--layers=one",
        "--embedding-size=0",
        "--batch-size=0",
        "--sequence-length=0",
        "--learning-rate=nan",
        "--dropout=1",
        "--seed=-1",
        "--threads=0",
        "--minutes=5",
    ],
)
def test_impossible_option_is_one_line_of_error(
    tmp_path: Path, text: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = error_of(fit(text, out=tmp_path / "run", options=[option]), capsys)
    assert option.split("=")[0].strip("-").replace("-", "_") in message.replace("-", "_")


@pytest.mark.parametrize("verb", [["evaluate", "{}", "{}"], ["sample", "{}"], ["export", "{}", "--out", "m.onnx"]])
def test_text_in_the_place_of_a_model_is_named(text: Path, verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "text.txt: not a checkpoint but a text" in error_of([part.format(text) for part in verb], capsys)


def test_missing_checkpoint_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing.pt: No such file or directory" in error_of(["sample", "missing.pt"], capsys)


def test_text_in_the_place_of_a_model_file_is_named(
    tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.onnx").write_text("no model")
    assert "m.onnx" in error_of(["evaluate", str(tmp_path / "m.onnx"), str(text)], capsys)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_training_keeps_both_checkpoints_and_writes_its_report(
    text: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    with training_command(text, run) as process:
        process.send_signal(number)
        output, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")
    assert "stopped before the end" in output
    best, last = load_checkpoint(run / "best.pt"), load_checkpoint(run / "last.pt")
    assert best.record.step <= last.record.step
    assert "was stopped" in (run / "report.md").read_text()
    assert (run / "samples.txt").read_text()
    assert (run / "loss.png").stat().st_size > 0


@pytest.mark.slow
def test_full_disk_during_training_is_one_line_of_error_and_leaves_the_last_good_checkpoints(
    text: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with training_process(text, run) as process:
        # No file may grow beyond this from now on: smaller than a checkpoint, larger than the other files.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (10_000, 10_000))
        _, errors = process.communicate()
    assert process.returncode == 2
    assert errors.startswith("nextchar-train: error: ")
    assert ".pt: the checkpoint was not written: File too large" in errors
    assert errors.count("\n") == 1
    assert load_checkpoint(run / "best.pt").record.step > 0
    assert load_checkpoint(run / "last.pt").record.step > 0
    assert not list(run.glob("*.partial"))


# Resuming.

EPOCHS = 8  # long enough for the signals below to come before the end


def digest(path: Path) -> str:
    """Returns the SHA-256 of all weights of a checkpoint."""
    weights = load_checkpoint(path).weights
    return hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest()


def losses_of(run: Path) -> list[list[str]]:
    """Returns the lines of ``loss.csv`` without the seconds."""
    return [line.split(",")[:2] + line.split(",")[3:] for line in (run / "loss.csv").read_text().split()]


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Path]:
    """Runs that were never interrupted, by processes and averaging period, each with its text beside it."""
    folders = {}
    for processes, period in ((1, 1), (2, 1), (2, 3)):
        folder = folders[processes, period] = tmp_path_factory.mktemp("whole")
        (folder / "text.txt").write_text(TEXT)
        options = [f"--epochs={EPOCHS}", f"--processes={processes}", f"--averaging-period={period}", *SMALL]
        assert brief(fit(folder / "text.txt", out=folder / "run", options=options), evaluations=25) == 0
    return folders


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "period", "number", "evaluations"),
    [
        (1, 1, signal.SIGKILL, 0),
        (1, 1, signal.SIGTERM, 1),
        (1, 1, signal.SIGINT, 3),
        (2, 1, signal.SIGKILL, 1),
        (2, 3, signal.SIGKILL, 3),
        (2, 3, signal.SIGTERM, 0),
    ],
)
def test_run_that_was_interrupted_twice_ends_with_the_weights_of_one_that_never_was(
    wholes: dict[tuple[int, int], Path],
    tmp_path: Path,
    processes: int,
    period: int,
    number: signal.Signals,
    evaluations: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = wholes[processes, period]
    text, run = whole / "text.txt", tmp_path / "run"
    with training_process(text, run, f"--epochs={EPOCHS}", processes, f"--averaging-period={period}") as process:
        for _ in range(evaluations):
            once(process, "validation")
        process.send_signal(number)
        process.communicate()
    assert process.returncode == (-number if number is signal.SIGKILL else 130)
    steps = [load_checkpoint(run / "last.pt").record.step]
    with TrainingProcess(["resume", str(run)]) as process:
        once(process, "validation")
        process.send_signal(number)
        process.communicate()
    steps.append(load_checkpoint(run / "last.pt").record.step)
    # Killed between a checkpoint and its snapshot, a run is resumed at the evaluation before.
    assert steps[0] <= steps[1] < load_checkpoint(whole / "run" / "last.pt").record.step
    assert brief(["resume", str(run)], evaluations=25) == 0
    for name in ("last.pt", "best.pt"):
        assert digest(run / name) == digest(whole / "run" / name)
    assert losses_of(run) == losses_of(whole / "run")
    assert "the run is complete" in error_of(["resume", str(run)], capsys)


def test_stopped_run_is_not_resumed_on_another_text(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with training_process(text, run) as process:
        process.kill()
        process.communicate()
    text.write_text(TEXT + "more")
    assert "is no longer the text that the model was trained on" in error_of(["resume", str(run)], capsys)
    text.unlink()
    assert "text.txt" in error_of(["resume", str(run)], capsys)
    assert "nextchar-train resume" in error_of(fit(run / "loss.csv", out=run), capsys)  # beside --overwrite


def test_path_without_a_stopped_run_is_named(tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing" in error_of(["resume", str(tmp_path / "missing")], capsys)
    assert "text.txt: not a folder" in error_of(["resume", str(text)], capsys)
    (tmp_path / "stopped.pt").write_text("no run")
    assert "stopped.pt: not a stopped run but a text" in error_of(["resume", str(tmp_path)], capsys)
