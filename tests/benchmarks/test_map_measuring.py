"""From trainings to points: small runs on a small text."""

import shutil
import signal
from pathlib import Path

import pytest

from benchmarks.map import trainings
from benchmarks.map.measuring import measured, model_files
from benchmarks.map.names import Name
from nextchar_training.api import load_checkpoint
from tests.support.trainings import SMALL, TEXT, brief, fit, training_process

PLAIN, TAUGHT = Name("lstm", 16), Name("gru", 16, taught=True)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """A folder with a plain run, and one that it taught."""
    folder = tmp_path_factory.mktemp("runs")
    plain, taught = folder / str(PLAIN), folder / str(TAUGHT)
    assert brief(fit(text, out=plain, options=[*SMALL, "--seed=3"])) == 0
    assert brief(fit(text, out=taught, options=[*SMALL, "--cell=gru", "--teacher", str(plain)])) == 0
    return folder


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """The same folder, to change."""
    return shutil.copytree(runs, tmp_path / "runs")


def test_a_point_tells_how_its_model_was_trained_and_what_it_costs(folder: Path, text: Path) -> None:
    taught, plain = measured(folder, str(text), seconds=0).points
    assert (plain.cell, plain.hidden_size, plain.taught, plain.seed) == ("lstm", 16, False, 3)
    assert (taught.cell, taught.hidden_size, taught.taught, taught.seed) == ("gru", 16, True, 1)
    assert taught.options == "--epochs 1 --embedding-size 8 --batch-size 8 --sequence-length 16 --teacher lstm-16"
    assert plain.characters == pytest.approx(0.9 * len(TEXT), rel=0.02)
    assert plain.bytes == (folder / "lstm-16.onnx").stat().st_size
    record = load_checkpoint(folder / str(PLAIN)).record
    assert (plain.stateful, plain.windows) == pytest.approx((record.stateful_loss, record.windows_loss), abs=0.02)


def test_a_model_file_without_its_run_is_enough(folder: Path, text: Path) -> None:
    model_files(folder)
    shutil.rmtree(folder / str(PLAIN))
    _, plain = measured(folder, str(text), seconds=0).points
    assert plain.characters is None
    assert plain.options.startswith("--epochs 1 ")


def test_a_run_that_is_not_complete_is_left_out(folder: Path) -> None:
    (folder / str(PLAIN) / "stopped.pt").touch()
    assert list(model_files(folder)) == [TAUGHT]


def test_a_run_that_was_trained_again_is_exported_again(folder: Path, text: Path) -> None:
    before = model_files(folder)[PLAIN].read_bytes()
    assert brief(fit(text, out=folder / str(PLAIN), options=[*SMALL, "--seed=4", "--overwrite"])) == 0
    assert model_files(folder)[PLAIN].read_bytes() != before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("gru-16", "which its name doesn't say"),
        ("lstm-17", "which its name doesn't say"),
        ("lstm-16-taught", "not taught"),
    ],
)
def test_a_name_that_is_not_its_models_is_refused(wrong: str, message: str, folder: Path, text: Path) -> None:
    (folder / str(PLAIN)).rename(folder / wrong)
    with pytest.raises(ValueError, match=message):
        measured(folder, str(text), seconds=0)


def test_a_model_of_another_text_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text(TEXT.replace("line", "word"))
    with pytest.raises(ValueError, match=r"trained on another text than .*other\.txt"):
        measured(folder, str(tmp_path / "other.txt"), seconds=0)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("--alphabet=bytes", "its alphabet isn't the usual one"),
        ("--documents=line", "its alphabet isn't"),
        ("--minimum-count=2", "by rules of its own"),
    ],
)
def test_a_model_whose_losses_do_not_compare_is_refused(rule: str, message: str, tmp_path: Path, text: Path) -> None:
    assert brief(fit(text, out=tmp_path / str(PLAIN), options=[*SMALL, rule])) == 0
    with pytest.raises(ValueError, match=message):
        measured(tmp_path, str(text), seconds=0)


def test_a_student_of_a_teacher_that_may_know_the_held_out_text_is_refused(tmp_path: Path, text: Path) -> None:
    runs, teacher = tmp_path / "runs", tmp_path / "teacher"
    (tmp_path / "other.txt").write_text(TEXT[::-1])
    assert brief(fit(tmp_path / "other.txt", out=teacher)) == 0
    assert brief(fit(text, out=runs / str(TAUGHT), options=[*SMALL, "--cell=gru", f"--teacher={teacher}"])) == 0
    with pytest.raises(ValueError, match="may have learned the held-out text"):
        measured(runs, str(text), seconds=0)


def test_a_teacher_is_a_checkpoint_or_a_model_file_and_complete(folder: Path) -> None:
    run = folder / str(PLAIN)
    assert trainings.teacher_file(PLAIN, folder) == run / "last.pt"
    (run / "stopped.pt").touch()
    with pytest.raises(ValueError, match="no complete training"):
        trainings.teacher_file(PLAIN, folder)
    (run / "stopped.pt").unlink()
    model_files(folder)
    shutil.rmtree(run)
    assert trainings.teacher_file(PLAIN, folder) == folder / "lstm-16.onnx"


def test_checkpoints_without_a_report_are_not_replaced(folder: Path, text: Path) -> None:
    (folder / str(PLAIN) / "report.md").unlink()
    with pytest.raises(ValueError, match="move it away"):
        trainings.train(PLAIN, folder, epochs=1, teachers=[], corpus=str(text))


def test_a_folder_without_models_is_refused_with_the_remedy(tmp_path: Path, text: Path) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(ValueError, match="make bench-map trains them"):
        measured(tmp_path, str(text), seconds=0)


def test_a_complete_run_is_left_alone_and_a_missing_one_trained(folder: Path, text: Path) -> None:
    best = folder / str(PLAIN) / "best.pt"
    before = best.read_bytes()
    student = Name("lstm", 16, taught=True)
    for name in (PLAIN, student):
        trainings.train(name, folder, epochs=1, teachers=[folder / str(PLAIN)], corpus=str(text))
    assert best.read_bytes() == before
    taught = load_checkpoint(folder / str(student)).record.taught
    assert taught is not None
    assert [teacher.name for teacher in taught.teachers] == [str(best)]
    assert student in model_files(folder)


def test_a_stopped_run_continues_as_it_began(tmp_path: Path, text: Path) -> None:
    with training_process(text, tmp_path / str(PLAIN), "--epochs=8") as process:
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert (tmp_path / str(PLAIN) / "stopped.pt").exists()
    trainings.train(PLAIN, tmp_path, epochs=1, teachers=(), corpus="no such corpus")
    recipe = load_checkpoint(tmp_path / str(PLAIN)).record.recipe
    assert recipe is not None
    assert recipe.epochs == 8
    assert trainings.is_there(PLAIN, tmp_path)
