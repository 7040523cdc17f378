import doctest
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

import nextchar_training
from nextchar_model.runner import Runner
from nextchar_training import Checkpoint, Evaluation, Recipe, Sizes, api
from nextchar_training.data.corpus import CorpusError
from nextchar_training.export.exporter import ExportError
from nextchar_training.run.folder import RunFolder, RunFolderError
from nextchar_training.run.snapshot import load_snapshot, save_snapshot

COMPATIBILITY = Path(__file__).parents[1] / "compatibility"

TEXT = "".join(f"The {n}th line of The text to measure the loss on.\n" for n in range(300))
RECIPE = Recipe(epochs=1, batch_size=8, sequence_length=16)
SIZES = Sizes(hidden_size=16, embedding_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``text.txt``, and its run in ``run``."""
    path = tmp_path_factory.mktemp("api")
    (path / "text.txt").write_text(TEXT)
    api.fit(path / "text.txt", path / "run", recipe=RECIPE, sizes=SIZES)
    return path


@pytest.mark.slow
def test_example_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    examples = doctest.DocTestParser().get_examples(api.__doc__ or "")
    assert len(examples) == 5
    for example in examples:
        exec(compile(example.source, "example", "single"), names)
    assert (tmp_path / "model.onnx").exists()


def test_package_is_imported_without_torch() -> None:
    code = "import sys, nextchar_training; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ)).returncode == 0


def test_all_public_names_are_there() -> None:
    assert set(nextchar_training.__all__) <= set(dir(nextchar_training))
    assert all(getattr(nextchar_training, name) for name in nextchar_training.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = nextchar_training.missing


def test_run_folder_means_its_best_checkpoint(folder: Path) -> None:
    checkpoint = api.load_checkpoint(folder / "run")
    assert isinstance(checkpoint, Checkpoint)
    assert api.sample(folder / "run", "The ", characters=20) == api.sample(checkpoint, "The ", characters=20)


def test_loss_is_that_of_a_document(folder: Path) -> None:
    evaluation = api.evaluate(folder / "run", "The 1st line")
    assert isinstance(evaluation, Evaluation)
    assert evaluation.characters == 12
    assert evaluation.stateful == evaluation.windows  # shorter than a window


def test_run_is_exported_without_its_corpus(folder: Path, tmp_path: Path) -> None:
    (folder / "text.txt").rename(tmp_path / "gone.txt")
    try:
        description = api.export_model(folder / "run", tmp_path / "model.onnx")
    finally:
        (tmp_path / "gone.txt").rename(folder / "text.txt")
    assert Runner(tmp_path / "model.onnx").description == description


def test_checkpoint_in_memory_is_exported_with_a_text(folder: Path, tmp_path: Path) -> None:
    checkpoint = api.load_checkpoint(folder / "run")
    api.export_model(checkpoint, tmp_path / "model.onnx", text=TEXT[:1000])
    with pytest.raises(RunFolderError, match="has no held-out text: give text"):
        api.export_model(checkpoint, tmp_path / "model.onnx")


def test_fine_tuning_keeps_sizes_and_alphabet(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("The loss on The text.\n" * 50)
    tuned = api.fit(tmp_path / "other.txt", tmp_path / "run", recipe=RECIPE, initial=folder / "run")
    first = api.load_checkpoint(folder / "run")
    assert (tuned.architecture, tuned.alphabet) == (first.architecture, first.alphabet)


def test_complete_run_is_not_resumed(folder: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no stopped run"):
        api.resume(folder / "run")


def test_model_file_is_evaluated_like_its_checkpoint(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    api.export_model(folder / "run", file, precision="fp32")
    assert api.evaluate(file, TEXT).stateful == pytest.approx(api.evaluate(folder / "run", TEXT).stateful, abs=1e-4)


def test_text_without_a_known_character_is_not_evaluated(folder: Path) -> None:
    with pytest.raises(ValueError, match="holds no character that the model can spell"):
        api.evaluate(folder / "run", "é", unknown="skip")


def test_checkpoint_is_not_checked_on_the_held_out_text_of_another_run(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("The loss on The text.\n" * 50)
    api.fit(tmp_path / "other.txt", tmp_path / "run", recipe=RECIPE, sizes=SIZES)
    shutil.copy(folder / "run" / "best.pt", tmp_path / "run" / "guest.pt")
    with pytest.raises(RunFolderError, match="is of another run"):
        api.export_model(tmp_path / "run" / "guest.pt", tmp_path / "model.onnx")


def test_unknown_precision_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="precision is 'int4'; it must be int8 or fp32"):
        api.export_model(folder / "run", tmp_path / "model.onnx", precision=cast("Any", "int4"))


def test_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no source is given"):
        api.fit([], tmp_path / "run", recipe=RECIPE)


def test_run_on_standard_input_is_not_resumed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    shutil.copy(COMPATIBILITY / "stopped.pt", run.stopped)
    snapshot = replace(load_snapshot(run.stopped), sources=("-",))
    save_snapshot(snapshot, run.stopped)
    with pytest.raises(CorpusError, match="standard input, which can't be read again"):
        api.resume(tmp_path)
