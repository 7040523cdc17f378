"""A corpus as ids on disk: its contents, their order, and the part that is held out."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nextchar_model.alphabet import BOUNDARY, Alphabet, Kind, Spelling, UnknownCharacterError
from nextchar_training.data import corpus as corpus_module
from nextchar_training.data import documents as documents_module
from nextchar_training.data.corpus import CorpusError
from nextchar_training.data.dataset import Dataset, prepare, prepare_for
from nextchar_training.data.ids import IdFile
from nextchar_training.data.rules import DatasetError, HoldOut, Rules
from nextchar_training.data.sources import find_corpus

KINDS: tuple[Kind, ...] = ("characters", "jamo", "bytes")
TEXT = "".join(f"{n}번째 줄: 값이 있다, café.\n" for n in range(300))


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(documents_module, "_GATHERED_IDS", 500)
    monkeypatch.setattr(documents_module, "_DEALT_IDS", 3000)


def prepared(tmp_path: Path, text: str = TEXT, **rules: Any) -> Dataset:
    (tmp_path / "text.txt").write_text(text, encoding="utf-8", newline="")
    return prepare(find_corpus([str(tmp_path / "text.txt")]), Rules(**rules), tmp_path / "cache")


def texts(dataset: Dataset, ids: IdFile) -> list[str]:
    return [document.text for document in dataset.documents(ids, dataset.alphabet)]


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_the_whole_text(tmp_path: Path, kind: Kind) -> None:
    dataset = prepared(tmp_path, alphabet=kind)
    alphabet = Alphabet.of(TEXT, kind)
    assert dataset.alphabet == alphabet
    assert dataset.ids[: len(dataset.ids)].tolist() == alphabet.encode(TEXT).tolist()
    assert dataset.facts.characters == len(TEXT)
    assert dataset.characters_per_id == pytest.approx(len(TEXT) / len(alphabet.encode(TEXT)))
    assert dataset.facts.bytes == len(TEXT.encode())
    assert Counter(dict(dataset.facts.rarest)) <= Counter(TEXT)


@pytest.mark.parametrize("kind", KINDS)
def test_last_tenth_of_the_characters_is_held_out_in_every_alphabet(tmp_path: Path, kind: Kind) -> None:
    dataset = prepared(tmp_path, alphabet=kind)
    assert "".join(texts(dataset, dataset.training)) == TEXT[: len(TEXT) * 9 // 10]
    assert "".join(texts(dataset, dataset.validation)) == TEXT[len(TEXT) * 9 // 10 :]
    (first,) = dataset.documents(dataset.validation, dataset.alphabet, 100)
    assert first.text == TEXT[len(TEXT) * 9 // 10 :][:100]
    assert BOUNDARY not in first.ids.tolist()  # the corpus's end is not its document's


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hold_out", ["tail", "documents"])
def test_lines_are_documents_each_once_in_another_order(tmp_path: Path, kind: Kind, hold_out: HoldOut) -> None:
    text = TEXT.replace("\n", "\n\n", 5) + "the last one"
    dataset = prepared(tmp_path, text, documents="line", hold_out=hold_out, alphabet=kind)
    lines = [line for line in text.split("\n") if line]
    training, held_out = texts(dataset, dataset.training), texts(dataset, dataset.validation)
    assert sorted([*training, *held_out]) == sorted(lines)
    assert [*training, *held_out] != lines
    assert dataset.facts.documents == len(lines)
    assert dataset.facts.held_out_documents == len(held_out)
    assert 0.08 < len(held_out) / len(lines) < 0.12
    if hold_out == "tail":
        assert sorted(held_out) == sorted(lines[-len(held_out) :])
    assert not dataset.alphabet.knows("\n") or kind == "bytes"
    (first, *_) = dataset.documents(dataset.training, dataset.alphabet)
    assert first.ids[-1] == BOUNDARY
    assert BOUNDARY not in first.ids[:-1].tolist()
    assert int(dataset.ids[: len(dataset.ids)][-1]) == BOUNDARY


def test_lines_are_held_out_alike_in_every_alphabet(tmp_path: Path) -> None:
    held_out = [prepared(tmp_path, documents="line", alphabet=kind) for kind in KINDS]
    first, *others = [sorted(texts(dataset, dataset.validation)) for dataset in held_out]
    assert all(other == first for other in others)


def test_files_are_documents(tmp_path: Path) -> None:
    files = {f"{n}.txt": f"file {n}\n" * (n + 1) for n in range(30)}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    dataset = prepare(find_corpus([f"{tmp_path}/*.txt"]), Rules(documents="file"), tmp_path / "cache")
    found = [*texts(dataset, dataset.training), *texts(dataset, dataset.validation)]
    assert sorted(found) == sorted(files.values())
    assert dataset.facts.held_out_documents == 3


def test_nothing_is_held_out_of_a_single_line(tmp_path: Path) -> None:
    dataset = prepared(tmp_path, "one line", documents="line")
    assert texts(dataset, dataset.ids) == ["one line"]
    with pytest.raises(DatasetError, match=r"text\.txt: a single document, so nothing is held out"):
        _ = dataset.validation


@pytest.mark.parametrize("kind", KINDS)
def test_characters_that_would_compose_side_by_side_stay_themselves(tmp_path: Path, kind: Kind) -> None:
    text = "a zebra x\u0301, \u1112 and \u1161\n" * 9  # z and U+0301 compose, and so do the two jamo
    dataset = prepared(tmp_path, text, alphabet=kind)
    assert texts(dataset, dataset.ids) == [text]
    assert dataset.facts.characters == len(text)


@pytest.mark.parametrize("kind", KINDS)
def test_characters_that_compose_now_that_a_rare_one_is_gone_keep_their_ids(tmp_path: Path, kind: Kind) -> None:
    text = "ab x\u0301 e\n" * 5 + "e\u034f\u0301\n"
    dataset = prepared(tmp_path, text, alphabet=kind, minimum_count=2)
    assert texts(dataset, dataset.ids) == ["ab x\u0301 e\n" * 5 + "\u00e9\n"]
    (document,) = dataset.documents(dataset.ids, dataset.alphabet)
    assert document.ids.tolist() == dataset.ids[: len(dataset.ids)].tolist()
    assert document.lengths.sum() == len(document.ids)


@pytest.mark.parametrize("kind", KINDS)
def test_rare_characters_are_left_out_or_replaced(tmp_path: Path, kind: Kind) -> None:
    text = "aaaa bbbb 가가가가 é 나 é\n" * 3 + "z각" + "a" * 50
    dropped = prepared(tmp_path, text, minimum_count=4, alphabet=kind)
    assert dict(dropped.facts.rare) == {"나": 3, "z": 1, "각": 1, "\n": 3}
    without = "".join(character for character in text if character not in "나z각\n")
    assert texts(dropped, dropped.ids) == [without]
    assert dropped.facts.characters == len(without)
    replaced = prepared(tmp_path, text, minimum_count=4, rare="replace", replacement="?", alphabet=kind)
    expected = "".join("?" if character in "나z각\n" else character for character in text)
    assert texts(replaced, replaced.ids) == [expected]


def test_a_corpus_of_rare_characters_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no character occurs 9 times"):
        prepared(tmp_path, "abc", minimum_count=9)


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


def test_documents_can_be_spelled_by_another_alphabet(tmp_path: Path) -> None:
    dataset = prepared(tmp_path)
    (document,) = dataset.documents(dataset.validation, Alphabet.of(TEXT, "jamo"))
    assert document.text == TEXT[len(TEXT) * 9 // 10 :]
    with pytest.raises(UnknownCharacterError, match="번"):
        dataset.documents(dataset.training, Alphabet.of(TEXT.replace("번", "")))


def test_a_corpus_that_is_one_document_cannot_hold_out_documents(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"the corpus is one document, .*: give --documents file or line"):
        prepared(tmp_path, hold_out="documents")


def test_a_line_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents_module, "_LONGEST_LINE", 1000)
    with pytest.raises(DatasetError, match=r"text\.txt: a line of more than 1,000 ids is too long for a document"):
        prepared(tmp_path, "a" * 3000, documents="line")


def test_lines_that_end_with_cr_lf_are_spelled_without_the_cr(tmp_path: Path) -> None:
    dataset = prepared(tmp_path, "one\r\ntwo\r\n", documents="line")
    assert sorted(texts(dataset, dataset.ids)) == ["one", "two"]


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


def test_held_out_documents_are_the_first_characters_that_are_held_out(tmp_path: Path) -> None:
    dataset = prepared(tmp_path, documents="line")
    held_out = [f"{text}\n" for text in texts(dataset, dataset.validation)]
    found: list[Spelling] = dataset.held_out_documents(100)
    assert sum(len(document.text) for document in found) == 100
    assert "".join(held_out).startswith("\n".join(document.text for document in found))


RARE = Rules(minimum_count=4)


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
    dataset, unknown = prepared_for(tmp_path, "aaaa b", "aaaa b", RARE)
    assert texts(dataset, dataset.ids) == ["aaaa"]
    assert unknown == "error"


@pytest.mark.parametrize(("rare", "treatment"), [("drop", "skip"), ("replace", "replace")])
def test_in_another_text_unknown_characters_are_treated_as_rare_ones_were(
    tmp_path: Path, rare: Any, treatment: str
) -> None:
    dataset, unknown = prepared_for(tmp_path, "aaaa b", "aaaa", Rules(minimum_count=4, rare=rare))
    assert texts(dataset, dataset.ids) == ["aaaa b"]
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
