"""Lessons of teachers over a dataset: which teachers can teach it, and how their distributions are found again."""

from __future__ import annotations

import json
import resource
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nextchar_model.cell import Cell
from nextchar_training.api import export_model
from nextchar_training.data.dataset import Dataset, prepare
from nextchar_training.data.respelling import respelled
from nextchar_training.data.rules import Rules
from nextchar_training.data.sources import find_corpus
from nextchar_training.learning.evaluation import NetworkScorer, windows_loss
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Sizes, Teaching
from nextchar_training.run.ancestry import Start
from nextchar_training.run.checkpoint import Checkpoint, TrainingRecord, load_checkpoint, save_checkpoint
from nextchar_training.run.teachers import Lessons
from nextchar_training.teaching import lessons as module
from nextchar_training.teaching.lessons import prepare_lessons, prepare_lessons_again
from nextchar_training.teaching.teachers import TeacherError, open_teacher

TEXT = "".join(f"The {n}th line of a text that repeats itself.\n" for n in range(130))


def dataset_of(text: str, folder: Path, rules: Rules | None = None) -> Dataset:
    folder.mkdir(exist_ok=True)
    (folder / "text.txt").write_text(text)
    return prepare(find_corpus([str(folder / "text.txt")]), rules or Rules(), folder / "cache")


def checkpoint_of(dataset: Dataset, path: Path, cell: Cell = "lstm", seed: int = 0) -> Path:
    """Saves a network of random weights as a checkpoint that was trained on ``dataset``."""
    torch.manual_seed(seed)
    architecture = Sizes(hidden_size=24, embedding_size=8, cell=cell).architecture(dataset.alphabet.size)
    network = Network(architecture)
    with torch.no_grad():
        network.readout.weight.mul_(5)
    record = TrainingRecord(
        corpus="text",
        sources=(),
        corpus_sha256=dataset.facts.sha256,
        rules=dataset.rules,
        characters=dataset.facts.characters,
        command="",
        seed=0,
        step=1,
        epoch=1.0,
        seconds=1.0,
        training_loss=1.0,
        validation_loss=1.0,
    )
    save_checkpoint(Checkpoint(architecture, dataset.alphabet, network.state_dict(), record), path)
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset_of(TEXT, tmp_path_factory.mktemp("text"))


def lessons_of(dataset: Dataset, cache: Path, *paths: Path) -> Lessons:
    return prepare_lessons([open_teacher(path) for path in paths], Teaching(), dataset, cache)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_checkpoint_teaches_the_distributions_of_its_network(dataset: Dataset, tmp_path: Path, cell: Cell) -> None:
    path = checkpoint_of(dataset, tmp_path / "teacher.pt", cell)
    (lesson,) = lessons_of(dataset, tmp_path, path).lessons
    network, ids = load_checkpoint(path).network(), torch.from_numpy(dataset.training[:])
    with torch.no_grad():
        inputs = torch.cat([torch.zeros(1, dtype=torch.int64), ids[:-1]])
        logits, _ = network(inputs[:, None], network.initial_state(1))
    expected = logits.log_softmax(-1)[:, 0].clamp(min=-255 / 16)
    codes = torch.from_numpy(lesson.distributions.read([0], len(ids)).codes)[:, 0]
    assert len(ids) > 4096  # so a stretch ends in between
    assert (codes / -16 - expected).abs().max() < 0.5 / 16 + 1e-3
    held_out = dataset.validation_documents(10**6)
    assert lesson.teacher.windows_loss == pytest.approx(windows_loss(NetworkScorer(network), held_out), abs=1e-4)
    assert lesson.made
    assert len(lesson.distributions) == len(dataset.training) < len(dataset.ids)  # nothing of the held-out part


def test_a_teacher_that_has_read_the_text_does_not_read_it_again(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint_of(dataset, tmp_path / "teacher.pt")
    (first,) = lessons_of(dataset, tmp_path, path).lessons
    monkeypatch.setattr(module, "Reading", None)
    (second,) = lessons_of(dataset, tmp_path, path).lessons
    assert (first.made, second.made) == (True, False)
    assert first.teacher == second.teacher
    copy = Path(shutil.copy(path, tmp_path / "copy.pt"))
    taught = lessons_of(dataset, tmp_path, copy).taught
    for file in (path, copy):
        file.unlink()
    assert prepare_lessons_again(taught, dataset, tmp_path).taught == taught  # without the file


def test_other_weights_or_another_text_make_other_distributions(dataset: Dataset, tmp_path: Path) -> None:
    path = checkpoint_of(dataset, tmp_path / "teacher.pt")
    lessons_of(dataset, tmp_path, path)
    other = checkpoint_of(dataset, tmp_path / "other.pt", seed=1)
    assert lessons_of(dataset, tmp_path, other).lessons[0].made
    longer = dataset_of(TEXT + TEXT[:500], tmp_path / "longer")
    (lesson,) = lessons_of(longer, tmp_path, path).lessons
    assert lesson.made
    assert (dataset.training[:] == longer.training[: len(dataset.training)]).all()
    assert not lesson.teacher.same_split  # it was trained on a part of what is held out here


def test_a_run_continues_only_with_the_teachers_that_it_had(dataset: Dataset, tmp_path: Path) -> None:
    path = checkpoint_of(dataset, tmp_path / "teacher.pt")
    taught = lessons_of(dataset, tmp_path, path).taught
    shutil.rmtree(tmp_path / "teachers")
    assert prepare_lessons_again(taught, dataset, tmp_path).lessons[0].made
    shutil.rmtree(tmp_path / "teachers")
    checkpoint_of(dataset, path, seed=1)
    with pytest.raises(TeacherError, match=r"teacher\.pt: no longer the teacher of the run; its distributions"):
        prepare_lessons_again(taught, dataset, tmp_path)
    path.unlink()
    with pytest.raises(TeacherError, match=r"teacher\.pt: a teacher of the run can't be read: No such file"):
        prepare_lessons_again(taught, dataset, tmp_path)
    assert not list((tmp_path / "teachers").iterdir())


def test_a_teacher_with_another_alphabet_is_refused_with_the_first_difference(dataset: Dataset, tmp_path: Path) -> None:
    more = dataset_of(TEXT + "zé" * 50, tmp_path / "more")
    path = checkpoint_of(more, tmp_path / "more.pt")
    with pytest.raises(TeacherError, match=r"more\.pt: .*: it has 'z' \(U\+007A\), which the text lacks; name a"):
        lessons_of(dataset, tmp_path, path)
    path = checkpoint_of(dataset, tmp_path / "less.pt")
    with pytest.raises(TeacherError, match=r"less\.pt: .*: it lacks 'z' \(U\+007A\), which the text has"):
        lessons_of(more, tmp_path, path)
    of_bytes = dataset_of(TEXT, tmp_path / "bytes", Rules(alphabet="bytes"))
    with pytest.raises(TeacherError, match=r"less\.pt: .*: it spells characters, the text bytes"):
        lessons_of(of_bytes, tmp_path, path)
    assert not (tmp_path / "teachers").exists()


@pytest.mark.parametrize(
    ("rules", "same"),
    [
        (Rules(), True),
        (Rules(hold_out="tail"), True),  # the usual one, written out
        (Rules(verbatim=True), True),  # the text has nothing that the rule changes
        (Rules(documents="line"), False),
        (Rules(minimum_count=2), False),
    ],
)
def test_a_teacher_that_learned_by_other_rules_is_marked(
    dataset: Dataset, tmp_path: Path, rules: Rules, same: bool
) -> None:
    own = load_checkpoint(checkpoint_of(dataset, tmp_path / "own.pt"))
    save_checkpoint(replace(own, record=replace(own.record, rules=rules)), tmp_path / "other.pt")
    lessons = lessons_of(dataset, tmp_path, tmp_path / "other.pt")
    assert lessons.lessons[0].teacher.same_split is same
    assert ("may know the held-out text" in lessons.summary[0][1]) is not same


def test_a_teacher_that_knows_the_development_part_is_marked_and_one_that_left_it_alone_is_not(tmp_path: Path) -> None:
    usual = dataset_of(TEXT, tmp_path)
    dataset = prepare(usual.corpus, Rules(development=True), tmp_path / "cache")
    knowing, other = checkpoint_of(usual, tmp_path / "knowing.pt"), checkpoint_of(dataset, tmp_path / "other.pt")
    lessons = lessons_of(dataset, tmp_path, knowing, other)
    assert [lesson.teacher.same_split for lesson in lessons.lessons] == [False, True]
    assert (
        "on the development part (it learned from another text, by other rules or from a model that did, so it may "
        in (lessons.summary[0][1])
    )
    assert [len(lesson.distributions) for lesson in lessons.lessons] == [len(dataset.training)] * 2
    (final,) = lessons_of(usual, tmp_path, other).lessons
    assert (final.teacher.same_split, final.made, len(final.distributions)) == (True, True, len(usual.training))


def descendant_of(path: Path, **record: Any) -> Path:
    """Saves the checkpoint at ``path`` again with another ``record``, and returns its new place."""
    checkpoint = load_checkpoint(path)
    descendant = path.with_stem(f"after-{path.stem}")
    save_checkpoint(replace(checkpoint, record=replace(checkpoint.record, **record)), descendant)
    return descendant


@pytest.mark.parametrize("link", ["taught", "started"])
def test_a_teacher_whose_ancestor_knows_the_development_part_is_marked_over_two_generations(
    tmp_path: Path, link: str
) -> None:
    usual = dataset_of(TEXT, tmp_path)
    dataset = prepare(usual.corpus, Rules(development=True), tmp_path / "cache")
    own = checkpoint_of(dataset, tmp_path / "own.pt")
    for ancestor, same in ((checkpoint_of(usual, tmp_path / "knowing.pt"), False), (own, True)):
        for _ in range(2):
            if link == "taught":
                ancestor = descendant_of(own, taught=lessons_of(dataset, tmp_path, ancestor).taught)
            else:
                ancestor = descendant_of(own, start=Start.of(load_checkpoint(ancestor).record, dataset))
            (lesson,) = lessons_of(dataset, tmp_path, ancestor).lessons
            assert lesson.teacher.same_split is same


def test_a_teacher_that_started_from_a_network_of_another_text_is_marked(dataset: Dataset, tmp_path: Path) -> None:
    other = dataset_of(TEXT + TEXT, tmp_path / "longer")
    start = Start.of(load_checkpoint(checkpoint_of(other, tmp_path / "longer.pt")).record, dataset)
    path = descendant_of(checkpoint_of(dataset, tmp_path / "teacher.pt"), start=start)
    (lesson,) = lessons_of(dataset, tmp_path, path).lessons
    assert not lesson.teacher.same_split


def test_a_teacher_is_judged_by_the_rules_of_each_run_and_not_by_those_of_the_first_that_it_read_for(
    tmp_path: Path,
) -> None:
    own = dataset_of(TEXT, tmp_path)
    verbatim = prepare(own.corpus, Rules(verbatim=True), tmp_path / "cache")
    path = checkpoint_of(own, tmp_path / "teacher.pt")
    first, second = (lessons_of(dataset, tmp_path, path) for dataset in (verbatim, own))
    assert [one.lessons[0].made for one in (first, second)] == [True, False]
    assert [one.lessons[0].teacher.same_split for one in (first, second)] == [False, True]
    again = prepare_lessons_again(first.taught, verbatim, tmp_path)
    assert again.taught == first.taught  # a run keeps its own


def test_a_verdict_that_an_earlier_commit_kept_beside_the_distributions_is_not_used(
    dataset: Dataset, tmp_path: Path
) -> None:
    path = checkpoint_of(dataset, tmp_path / "teacher.pt")
    (first,) = lessons_of(dataset, tmp_path, path).lessons
    (facts,) = (tmp_path / "teachers").rglob("teacher.json")
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "same_split": False}))
    (second,) = lessons_of(dataset, tmp_path, path).lessons
    assert not second.made
    assert second.teacher == first.teacher


def test_a_full_disk_is_told_with_the_remedy_and_leaves_nothing_behind(dataset: Dataset, tmp_path: Path) -> None:
    path = checkpoint_of(dataset, tmp_path / "teacher.pt")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(
            OSError, match="the teacher's distributions were not written: File too large; --cache names"
        ):
            lessons_of(dataset, tmp_path, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "teachers").iterdir())


def test_a_dataset_in_another_alphabet_is_taught_in_it(dataset: Dataset, tmp_path: Path) -> None:
    path = checkpoint_of(dataset, tmp_path / "teacher.pt")
    other = dataset_of("that text repeats a line.\n" * 200, tmp_path / "other")
    with pytest.raises(TeacherError, match="which the text lacks"):
        lessons_of(other, tmp_path, path)
    fine_tuned = respelled(other, dataset.alphabet)
    (lesson,) = lessons_of(fine_tuned, tmp_path, path).lessons
    assert lesson.distributions.form.alphabet_size == dataset.alphabet.size > other.alphabet.size
    assert len(lesson.distributions) == len(fine_tuned.training)


def test_a_text_too_short_to_check_a_checkpoint_on_is_told_with_the_remedy(tmp_path: Path) -> None:
    dataset = dataset_of("too short", tmp_path / "text")
    with pytest.raises(TeacherError, match=r"teacher\.pt: .*256 characters of the training text, and it has fewer"):
        lessons_of(dataset, tmp_path, checkpoint_of(dataset, tmp_path / "teacher.pt"))


def test_a_large_alphabet_keeps_the_likeliest_and_says_how_much_that_is(tmp_path: Path) -> None:
    text = "".join(chr(0x4E00 + n % 400) for n in range(8000))
    dataset = dataset_of(text, tmp_path / "text")
    lessons = lessons_of(dataset, tmp_path, checkpoint_of(dataset, tmp_path / "teacher.pt"))
    (lesson,) = lessons.lessons
    codes, _, ids = lesson.distributions.read([0], 100)
    assert ids is not None
    assert ids.shape == codes.shape == (100, 1, 64)
    assert 0 < lesson.listed_mass < 1
    assert f"of the 64 likeliest ids, {lesson.listed_mass:.1%} of all" in lessons.summary[0][1]


def test_an_exported_teacher_teaches_nearly_as_its_checkpoint_does(dataset: Dataset, tmp_path: Path) -> None:
    path = checkpoint_of(dataset, tmp_path / "teacher.pt")
    export_model(path, tmp_path / "teacher.onnx", precision="fp32", text=TEXT[:1000])
    one, other = lessons_of(dataset, tmp_path, path, tmp_path / "teacher.onnx").lessons
    assert one.teacher.sha256 != other.teacher.sha256
    first, second = (lesson.distributions.read([0], 3000).codes for lesson in (one, other))
    assert (first == second).all()
