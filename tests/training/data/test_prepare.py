"""Datasets are made once, whole or not at all, in little memory, and anew for the text of another model."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from nextchar_model.alphabet import Alphabet
from nextchar_training.data.corpus import CorpusError
from nextchar_training.data.dataset import Dataset, prepare, prepare_for
from nextchar_training.data.rules import DatasetError, Rare, Rules
from nextchar_training.data.sources import find_corpus

TEXT = "".join(f"{n}번째 줄: 값이 있다, café.\n" for n in range(300))


def prepared(folder: Path, text: str = TEXT) -> Dataset:
    (folder / "text.txt").write_text(text)
    return prepare(find_corpus([str(folder / "text.txt")]), Rules(), folder / "cache")


def test_a_dataset_is_made_once(tmp_path: Path) -> None:
    first = prepared(tmp_path)
    again = prepare(first.corpus, Rules(), tmp_path / "cache")
    assert (first.made, again.made) == (True, False)
    assert (again.folder, again.facts) == (first.folder, first.facts)
    assert again.ids[:50].tolist() == Alphabet.of(TEXT).encode(TEXT)[:50].tolist()


def test_a_dataset_is_made_again_if_its_file_or_its_rules_change(tmp_path: Path) -> None:
    corpus = prepared(tmp_path).corpus
    assert prepare(corpus, Rules(minimum_count=2), tmp_path / "cache").made
    os.utime(tmp_path / "text.txt", ns=(1, 1))
    assert prepare(find_corpus([str(tmp_path / "text.txt")]), Rules(), tmp_path / "cache").made


def test_ids_that_are_cut_off_are_named(tmp_path: Path) -> None:
    dataset = prepared(tmp_path)
    with (dataset.folder / "ids.npy").open("ab") as file:
        file.write(b"x")
    with pytest.raises(DatasetError, match=r"ids\.npy: cut off; remove its folder"):
        prepare(dataset.corpus, Rules(), tmp_path / "cache")


def test_facts_that_are_damaged_are_named(tmp_path: Path) -> None:
    dataset = prepared(tmp_path)
    facts = dataset.folder / "dataset.json"
    content = json.loads(facts.read_text())
    facts.write_text(json.dumps({**content, "ids": "many"}))
    with pytest.raises(DatasetError, match=r"dataset\.json: damaged \(ids 'many' is invalid; .*\); remove its folder"):
        prepare(dataset.corpus, Rules(), tmp_path / "cache")
    facts.write_text("{")
    with pytest.raises(DatasetError, match=r"dataset\.json: damaged \(.*\); remove its folder"):
        prepare(dataset.corpus, Rules(), tmp_path / "cache")


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    corpus = find_corpus([str(tmp_path / "text.txt")])
    (tmp_path / "text.txt").write_text(TEXT + "more")
    with pytest.raises(CorpusError, match=r"text\.txt: changed while it was read; try again"):
        prepare(corpus, Rules(), tmp_path / "cache")
    assert list((tmp_path / "cache" / "datasets").iterdir()) == []


def test_a_dataset_that_cannot_be_written_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match=r"the dataset was not written: .*; --cache names another folder"):
        prepared(tmp_path)


def test_progress_reaches_the_end_of_every_activity(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    heard: dict[str, list[float]] = {}
    corpus = find_corpus([str(tmp_path / "text.txt")])
    prepare(
        corpus,
        Rules(documents="line"),
        tmp_path / "cache",
        lambda activity, fraction: heard.setdefault(activity, []).append(fraction),
    )
    assert list(heard) == ["counting characters", "writing ids", "shuffling lines"]
    for fractions in heard.values():
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1


def texts_of(dataset: Dataset) -> list[str]:
    return [document.text for document in dataset.documents(dataset.ids, dataset.alphabet)]


def prepared_for(tmp_path: Path, text: str, trained_on: str, rules: Rules) -> tuple[Dataset, str]:
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "trained_on.txt").write_text(trained_on)
    return prepare_for(
        find_corpus([str(tmp_path / "text.txt")]),
        rules,
        trained_on_sha256=find_corpus([str(tmp_path / "trained_on.txt")]).sha256(),
        cache=tmp_path / "cache",
    )


def test_the_text_of_a_model_is_prepared_as_in_its_training(tmp_path: Path) -> None:
    dataset, unknown = prepared_for(tmp_path, "aaaa b", "aaaa b", Rules(minimum_count=4))
    assert texts_of(dataset) == ["aaaa"]
    assert unknown == "error"


@pytest.mark.parametrize(("rare", "treatment"), [("drop", "skip"), ("replace", "replace")])
def test_in_another_text_unknown_characters_are_treated_as_rare_ones_were(
    tmp_path: Path, rare: Rare, treatment: str
) -> None:
    dataset, unknown = prepared_for(tmp_path, "aaaa b", "aaaa", Rules(minimum_count=4, rare=rare))
    assert texts_of(dataset) == ["aaaa b"]
    assert unknown == treatment


def test_unknown_characters_are_an_error_for_a_model_without_rare_ones(tmp_path: Path) -> None:
    assert prepared_for(tmp_path, "aaaa b", "aaaa", Rules())[1] == "error"


_PEAK = """
import resource, sys
from pathlib import Path
from nextchar_training.data.batches import Batches
from nextchar_training.data.sources import find_corpus
from nextchar_training.data.dataset import prepare
from nextchar_training.data.rules import Rules
dataset = prepare(find_corpus([sys.argv[1]]), Rules(documents=sys.argv[2]), Path(sys.argv[3]))
batches = Batches(dataset.training, None, batch_size=64, sequence_length=64, seed=1)
for _ in range(300):
    next(batches)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("documents", ["corpus", "line"])
def test_a_text_many_times_as_large_takes_hardly_more_memory(tmp_path: Path, documents: str) -> None:
    words = [f"{n * n} Wörter" for n in range(1000)]
    line = "\n".join(random.Random(0).choices(words, k=80_000)) + "\n"
    peaks = []
    for name, times in (("small", 1), ("large", 60)):  # 1 MB and 64 MB
        with (tmp_path / name).open("w") as file:
            for _ in range(times):
                file.write(line)
        command = [sys.executable, "-c", _PEAK, str(tmp_path / name), documents, str(tmp_path / "cache")]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert (tmp_path / "large").stat().st_size > 60_000_000
    assert peaks[1] - peaks[0] < 150  # MiB; the text alone, as one string, would be 64 to 128, its ids 512
