import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nextchar_training.data.dataset import Dataset, prepare
from nextchar_training.data.respelling import respelled
from nextchar_training.data.rules import Rules
from nextchar_training.data.sources import find_corpus
from nextchar_training.learning.evaluation import NetworkScorer, stateful_loss
from nextchar_training.learning.recipe import Recipe, Sizes, Teaching
from nextchar_training.learning.workers import Workers
from nextchar_training.run import fit as fit_module
from nextchar_training.run.ancestry import Start
from nextchar_training.run.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from nextchar_training.run.fit import Job, fit
from nextchar_training.run.folder import RunFolder
from nextchar_training.run.snapshot import Snapshot, load_snapshot, save_snapshot
from nextchar_training.run.teachers import Taught, Teacher
from tests.support.trainings import abridged

TEXT = "".join(f"The {n}th line of a text that repeats itself.\n" for n in range(60))
RECIPE = Recipe(epochs=1, batch_size=8, sequence_length=16)


@pytest.fixture(autouse=True)
def one_thread_and_few_extras() -> Iterator[None]:
    torch.set_num_threads(1)
    with abridged():
        yield


def dataset_of(text: str, folder: Path, rules: Rules | None = None) -> Dataset:
    folder.mkdir(exist_ok=True)
    (folder / "text.txt").write_text(text)
    return prepare(find_corpus([str(folder / "text.txt")]), rules or Rules(), folder / "cache")


def job_of(dataset: Dataset, **options: Any) -> Job:
    architecture = Sizes(hidden_size=16, embedding_size=8).architecture(dataset.alphabet.size)
    usual = {"architecture": architecture, "recipe": RECIPE, "command": "fit", "device": torch.device("cpu")}
    return Job(dataset=dataset, **{**usual, **options})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_of(TEXT, tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run; do not write into it."""
    folder = RunFolder(tmp_path_factory.mktemp("finished") / "run")
    fit(job_of(dataset), folder, Workers())
    return folder


def same_weights(one: Checkpoint, other: Checkpoint) -> bool:
    return all(torch.equal(one.weights[name], weight) for name, weight in other.weights.items())


def test_finished_run_holds_all_files_but_no_snapshot(run: RunFolder) -> None:
    assert {file.name for file in run.path.iterdir()} == {
        *("best.pt", "last.pt", "held_out.npz", "loss.csv", "loss.png", "samples.txt", "report.md")
    }


def test_final_loss_is_that_of_the_held_out_text_in_the_folder(run: RunFolder) -> None:
    best = load_checkpoint(run.best)
    assert stateful_loss(NetworkScorer(best.network()), run.read_held_out()) == best.record.stateful_loss


def test_report_names_the_losses_with_their_unit_and_the_best_epoch(run: RunFolder) -> None:
    report, record = run.report.read_text(), load_checkpoint(run.best).record
    assert f"{record.stateful_loss:.4f}" in report
    assert "nats per character" in report
    assert "best epoch: " in report
    assert "starts from random weights" in report
    assert "lstm, 1 × 16, embedding 8" in report
    assert "batch 8 × 16 ids" in report


def test_samples_of_lines_are_twenty_documents(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    fit(job_of(dataset_of(TEXT, tmp_path / "text", Rules(documents="line"))), folder, Workers())
    texts = folder.samples.read_text().split("--- temperature ")[1:]
    assert [len(text.strip("\n").split("\n")) for text in texts] == [21, 21, 21]  # below a heading


def test_training_starts_from_the_weights_of_a_checkpoint(dataset: Dataset, run: RunFolder, tmp_path: Path) -> None:
    best = load_checkpoint(run.best)
    network, _ = job_of(dataset, initial=best).trainer(Workers())
    assert all(torch.equal(network.state_dict()[name], weight) for name, weight in best.weights.items())


@pytest.mark.slow
def test_fine_tuning_learns_another_text_and_keeps_the_alphabet(run: RunFolder, tmp_path: Path) -> None:
    best = load_checkpoint(run.best)
    other = dataset_of("that text repeats a line.\n" * 60, tmp_path / "text")
    folder = RunFolder(tmp_path / "run")
    tuned = fit(
        job_of(respelled(other, best.alphabet), initial=best, architecture=best.architecture), folder, Workers()
    )
    assert tuned.alphabet == best.alphabet
    held_out = folder.read_held_out()
    before, after = (stateful_loss(NetworkScorer(one.network()), held_out) for one in (best, tuned))
    assert after < before
    assert "starts from the weights of step" in folder.report.read_text()


def test_a_run_on_the_development_part_never_looks_at_the_held_out_text(dataset: Dataset, tmp_path: Path) -> None:
    development = prepare(dataset.corpus, Rules(development=True), tmp_path / "cache")
    folder = RunFolder(tmp_path / "run")
    best = fit(job_of(development), folder, Workers())
    held_out = len(TEXT) * 9 // 10
    (document,) = folder.read_held_out()
    assert document.text == TEXT[held_out * 9 // 10 : held_out]
    assert best.record.stateful_loss == stateful_loss(NetworkScorer(best.network()), [document])
    assert load_checkpoint(folder.best).record.rules.development
    report = folder.report.read_text()
    assert "## Loss of the best checkpoint on the whole development part\n" in report
    assert "from all over the development part: " in report
    assert "- development part: the last tenth of the rest" in report


def test_weights_that_know_the_part_to_evaluate_on_are_told(dataset: Dataset, run: RunFolder, tmp_path: Path) -> None:
    best = load_checkpoint(run.best)
    development = prepare(dataset.corpus, Rules(development=True), tmp_path / "cache")
    warning = job_of(development, initial=best).start_warning
    assert warning is not None
    assert warning in job_of(development, initial=best).advice
    assert warning.endswith("so it may know the development part")
    left_alone = replace(best, record=replace(best.record, rules=Rules(development=True)))
    other = dataset_of(TEXT + TEXT, tmp_path / "longer")
    assert job_of(dataset, initial=best).start_warning is None
    assert job_of(dataset, initial=left_alone).start_warning is None
    assert job_of(other, initial=best).start_warning is None  # another text, which fine-tuning is for


def test_weights_that_learned_from_a_model_that_knows_the_part_are_told(
    dataset: Dataset, run: RunFolder, tmp_path: Path
) -> None:
    best = load_checkpoint(run.best)
    development = prepare(dataset.corpus, Rules(development=True), tmp_path / "cache")
    other = dataset_of(TEXT + TEXT, tmp_path / "longer")

    def warning_of(**ancestors: Any) -> str | None:
        record = replace(best.record, rules=Rules(development=True), **ancestors)
        return job_of(development, initial=replace(best, record=record)).start_warning

    def taught_by(*same_split: bool) -> Taught:
        return Taught(tuple(Teacher("/teacher.pt", "0", 1.0, same) for same in same_split), Teaching())

    longer = replace(best.record, corpus_sha256=other.facts.sha256)
    assert warning_of(taught=taught_by(True, True)) is None
    assert warning_of(taught=taught_by(True, False)) is not None
    assert warning_of(start=Start.of(longer, development)) is None
    start = Start.of(best.record, development)
    assert warning_of(start=start) is not None
    left_alone = replace(best.record, rules=Rules(development=True))
    assert warning_of(start=Start.of(left_alone, development)) is None
    assert warning_of(start=Start.of(replace(left_alone, start=start), development)) is not None


def test_text_in_another_alphabet_is_refused(run: RunFolder, tmp_path: Path) -> None:
    best = load_checkpoint(run.best)
    with pytest.raises(CheckpointError, match="not spelled in the alphabet"):
        job_of(dataset_of("abc" * 1000, tmp_path / "text"), initial=best, architecture=best.architecture)


def test_other_sizes_than_those_of_the_initial_weights_are_refused(dataset: Dataset, run: RunFolder) -> None:
    best = load_checkpoint(run.best)
    with pytest.raises(CheckpointError, match="sizes are not those"):
        job_of(dataset, initial=best, architecture=replace(best.architecture, layers=2))


def continued(dataset: Dataset, finished: RunFolder, path: Path) -> tuple[Job, RunFolder]:
    """A copy of a finished run, and the job to train it for longer."""
    shutil.copytree(finished.path, path)
    folder = RunFolder(path, overwrite=True)
    return job_of(dataset, initial=load_checkpoint(folder.last), earlier=folder.read_losses()), folder


@pytest.mark.slow
def test_finished_run_trains_for_longer_and_counts_on(dataset: Dataset, run: RunFolder, tmp_path: Path) -> None:
    job, folder = continued(dataset, run, tmp_path / "run")
    before = folder.read_losses()
    best = fit(job, folder, Workers())
    after = folder.read_losses()
    assert after[: len(before)] == before
    assert after[-1].step == 2 * before[-1].step
    assert best.record.validation_loss == min(row.validation_loss for row in after)
    report = folder.report.read_text()
    assert f"continues a finished run from its step {before[-1].step:,}" in report
    assert "- budget 1 epoch more, after 1.0 epochs;" in report


def test_report_has_a_line_per_command(dataset: Dataset, run: RunFolder, tmp_path: Path) -> None:
    job, folder = continued(dataset, run, tmp_path / "run")
    fit(replace(job, command="fit a && resume a"), folder, Workers())
    assert "    fit a &&\n    resume a\n" in folder.report.read_text()


@pytest.mark.slow
def test_longer_training_keeps_the_best_until_it_is_beaten(dataset: Dataset, run: RunFolder, tmp_path: Path) -> None:
    job, folder = continued(dataset, run, tmp_path / "run")
    unbeatable = [replace(row, validation_loss=0.0) for row in job.earlier]
    best = fit(replace(job, earlier=unbeatable), folder, Workers())
    assert same_weights(best, load_checkpoint(run.best))


@pytest.mark.parametrize("start", ["random", "fine-tuned", "longer"])
@pytest.mark.slow
def test_run_resumed_from_a_snapshot_ends_like_one_that_was_never_interrupted(
    dataset: Dataset, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    if start == "longer":
        job, whole = continued(dataset, run, tmp_path / "whole")
    else:
        initial = load_checkpoint(run.best) if start == "fine-tuned" else None
        job, whole = job_of(dataset, initial=initial), RunFolder(tmp_path / "whole")
    half = tmp_path / "half"

    def save_and_copy_the_first(snapshot: Snapshot, path: Path) -> None:
        save_snapshot(snapshot, path)
        if not half.exists():
            shutil.copytree(path.parent, half)

    monkeypatch.setattr(fit_module, "save_snapshot", save_and_copy_the_first)
    fit(job, whole, Workers())
    folder = RunFolder(half, overwrite=True)
    snapshot = load_snapshot(folder.stopped)
    fit(job_of(dataset, snapshot=snapshot), folder, Workers())
    assert same_weights(load_checkpoint(folder.last), load_checkpoint(whole.last))
    assert same_weights(load_checkpoint(folder.best), load_checkpoint(whole.best))
    assert [replace(row, seconds=0) for row in folder.read_losses()] == [
        replace(row, seconds=0) for row in whole.read_losses()
    ]
    assert not folder.stopped.exists()


@pytest.mark.slow
def test_run_without_a_step_left_gets_its_held_out_text_and_its_report(
    dataset: Dataset, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "written_samples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(job_of(dataset), folder, Workers())
    folder.held_out.unlink()  # an earlier release wrote none
    best = fit(job_of(dataset, snapshot=load_snapshot(folder.stopped)), folder, Workers())
    assert best.record.stateful_loss == load_checkpoint(run.best).record.stateful_loss
    assert folder.held_out.read_bytes() == run.held_out.read_bytes()
    assert folder.report.exists()
    assert not folder.stopped.exists()
