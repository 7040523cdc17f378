"""``nextchar-train fit --teacher``: a network that learns from others, from the command to the run folder."""

from __future__ import annotations

import hashlib
import shutil
import signal
from pathlib import Path

import pytest
import torch

from nextchar_training import TAUGHT, Recipe, Sizes, Teaching
from nextchar_training import fit as fit_in_python
from nextchar_training.learning.distillation import Distillation
from nextchar_training.run.checkpoint import load_checkpoint
from nextchar_training.run.snapshot import load_snapshot
from tests.support.training_processes import TrainingProcess
from tests.support.trainings import SMALL, TEXT, brief, error_of, fit, main, once, training_process

DROPOUT = ["--dropout=0.3", "--input-dropout=0.1"]  # draws random numbers, which a run continues
EPOCHS = 8  # long enough for the signals below to come before the end


@pytest.fixture(scope="module")
def teacher(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a teacher, which has learned more than its students will."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    assert brief(fit(text, out=folder, options=["--epochs=8", "--learning-rate=0.02", *SMALL])) == 0
    return folder


@pytest.fixture(scope="module")
def model(teacher: Path) -> Path:
    """The teacher's model file."""
    assert main(["export", str(teacher), "--out", str(teacher / "model.onnx")]) == 0
    return teacher / "model.onnx"


def same_weights(one: Path, other: Path) -> bool:
    first, second = (load_checkpoint(path).weights for path in (one, other))
    return all(torch.equal(first[name], weight) for name, weight in second.items())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_taught_run_says_who_taught_it_and_a_taught_network_learns_faster(
    text: Path, teacher: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = []
    for name, options in (("alone", []), ("taught", [f"--teacher={model}", "--teacher", str(teacher)])):
        run = tmp_path / name
        capsys.readouterr()
        assert brief(fit(text, out=run, options=["--epochs=2", *options, *SMALL])) == 0
        losses.append(load_checkpoint(run / "best.pt").record.windows_loss)
    output, report = capsys.readouterr().out, (tmp_path / "taught" / "report.md").read_text()
    taught = load_checkpoint(tmp_path / "taught" / "best.pt").record.taught
    assert taught is not None
    assert taught.teaching == Teaching()
    assert [one.name for one in taught.teachers] == [str(model), str(teacher / "best.pt")]
    assert [one.sha256 for one in taught.teachers] == [sha256(model), sha256(teacher / "best.pt")]
    for one in taught.teachers:
        assert one.same_split
        assert f"teacher: {one.name}: windows loss {one.windows_loss:.4f} nats per character on the held-out" in output
        assert f"- taught by `{one.name}`: SHA-256 {one.sha256}, windows loss {one.windows_loss:.4f} nats" in report
    assert taught.teachers[1].windows_loss == pytest.approx(
        load_checkpoint(teacher / "best.pt").record.windows_loss, abs=1e-3
    )
    assert "- teachers' weight 0.8, temperature 1" in report
    assert "- dropout 0, on the input 0; weight decay 0.05\n" in report
    assert "- dropout 0.3, on the input 0.1; weight decay 0.2\n" in (tmp_path / "alone" / "report.md").read_text()
    assert "taught by" not in (tmp_path / "alone" / "report.md").read_text()
    alone, with_teachers = losses
    assert alone is not None
    assert with_teachers is not None
    assert with_teachers < alone
    assert main(["compare", str(tmp_path / "alone"), str(tmp_path / "taught")]) == 0
    digests = [one.sha256[:8] for one in taught.teachers]
    assert ["teachers", "none", *digests] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_two_processes_are_taught_as_one_is(text: Path, model: Path, tmp_path: Path) -> None:
    losses = []
    for processes in (1, 2):
        run = tmp_path / str(processes)
        options = [f"--teacher={model}", f"--processes={processes}", *SMALL]
        assert brief(fit(text, out=run, options=options), evaluations=25) == 0
        losses.append([float(row.split(",")[-1]) for row in (run / "loss.csv").read_text().splitlines()[1:]])
    assert losses[0] == pytest.approx(losses[1], abs=0.01)  # two halves add up in another order, in bfloat16
    assert losses[0][0] - losses[0][-1] > 0.1


@pytest.fixture(scope="module")
def wholes(text: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Path]:
    """Taught runs that were never interrupted, by processes and averaging period."""
    runs = {}
    for processes, period in ((1, 1), (2, 3)):
        runs[processes, period] = run = tmp_path_factory.mktemp("whole") / "run"
        options = [f"--epochs={EPOCHS}", f"--processes={processes}", f"--averaging-period={period}"]
        assert (
            brief(fit(text, out=run, options=[*options, f"--teacher={model}", *DROPOUT, *SMALL]), evaluations=25) == 0
        )
    return runs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "period", "number", "kept"),
    [
        (1, 1, signal.SIGKILL, True),
        (1, 1, signal.SIGKILL, False),
        (2, 3, signal.SIGKILL, True),
        (2, 3, signal.SIGTERM, False),
    ],
)
def test_taught_run_that_was_interrupted_twice_ends_with_the_weights_of_one_that_never_was(
    wholes: dict[tuple[int, int], Path],
    text: Path,
    model: Path,
    tmp_path: Path,
    processes: int,
    period: int,
    number: signal.Signals,
    kept: bool,
) -> None:
    """If the distributions are not ``kept`` in the cache, they are made again from the teacher's file."""
    whole, run, cache = wholes[processes, period], tmp_path / "run", tmp_path / "cache"
    options = [f"--averaging-period={period}", f"--teacher={model}", f"--cache={cache}", *DROPOUT]
    with training_process(text, run, f"--epochs={EPOCHS}", processes, *options) as process:
        process.send_signal(number)
        process.communicate()
    for attempt in range(2):
        assert load_snapshot(run / "stopped.pt").taught is not None
        if not kept:
            shutil.rmtree(cache / "teachers")
        if attempt == 0:
            with TrainingProcess(["resume", str(run), f"--cache={cache}"]) as process:
                once(process, "validation")
                process.send_signal(number)
                process.communicate()
    assert brief(["resume", str(run), f"--cache={cache}"], evaluations=25) == 0
    for name in ("last.pt", "best.pt"):
        assert same_weights(run / name, whole / name)
    assert load_checkpoint(run / "best.pt").record.taught == load_checkpoint(whole / "best.pt").record.taught


def test_a_taught_run_trains_on_with_its_teachers(
    text: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, lessons = tmp_path / "run", []
    assert brief(fit(text, out=run, options=[f"--teacher={model}", "--teacher-weight=0.5", *SMALL])) == 0

    class Watched(Distillation):
        def mixed(self, loss: torch.Tensor, logits: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
            lessons.append(self._weight)
            return super().mixed(loss, logits, places)

    monkeypatch.setattr("nextchar_training.run.teachers.Distillation", Watched)
    assert brief(["resume", str(run), "--epochs=1", "--threads=1"]) == 0
    assert set(lessons) == {0.5}
    assert load_checkpoint(run / "last.pt").record.taught is not None


def test_options_overrule_the_recipe_of_taught_networks(text: Path, model: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--epochs=1", "--dropout=0.3", "--weight-decay=0", f"--teacher={model}", *SMALL]
    assert brief(fit(text, out=run, options=options)) == 0
    recipe = load_checkpoint(run / "last.pt").record.recipe
    assert recipe is not None
    assert (recipe.dropout, recipe.input_dropout, recipe.weight_decay) == (0.3, 0, 0)


def test_teachers_are_given_in_python_too(text: Path, teacher: Path, tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, batch_size=8, sequence_length=16, **TAUGHT)
    checkpoint = fit_in_python(
        text,
        tmp_path / "run",
        recipe=recipe,
        sizes=Sizes(hidden_size=16, embedding_size=8),
        teachers=[teacher],
        teaching=Teaching(teacher_temperature=2),
    )
    assert checkpoint.record.taught is not None
    assert checkpoint.record.taught.teaching.teacher_temperature == 2


def test_a_teacher_that_cannot_teach_is_one_line_of_error(
    text: Path, teacher: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = tmp_path / "run", tmp_path / "other.txt"
    other.write_text(TEXT + "é" * 20)

    def error(*options: str, source: Path = text) -> str:
        return error_of(fit(source, out=run, options=[*options, *SMALL]), capsys)

    assert "missing.onnx: No such file or directory" in error(f"--teacher={tmp_path / 'missing.onnx'}")
    assert "text.txt: not a checkpoint but a text" in error(f"--teacher={text}")
    assert "model.onnx: this teacher's alphabet isn't that of the text: it lacks 'é' (U+00E9), which the text has" in (
        error(f"--teacher={model}", source=other)
    )
    assert "--teacher-weight, --teacher-temperature: name a --teacher" in (
        error("--teacher-weight=0.5", "--teacher-temperature=2")
    )
    for option in ("--teacher-weight=0", "--teacher-weight=1.5", "--teacher-temperature=0"):
        assert option.split("=")[0] in error(f"--teacher={model}", option)
    assert not run.exists()
