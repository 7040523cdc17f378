"""A dataset in a few plain lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nextchar_training.data.dataset import prepare
from nextchar_training.data.rules import Rules
from nextchar_training.data.sources import find_corpus
from nextchar_training.data.summary import summarized


def summary_of(folder: Path, texts: dict[str, str], **rules: Any) -> dict[str, str]:
    for name, text in texts.items():
        (folder / name).write_text(text)
    return dict(summarized(prepare(find_corpus([f"{folder}/*.txt"]), Rules(**rules), folder / "cache")))


def test_one_document(tmp_path: Path) -> None:
    text = "a" * 90 + "b" * 9 + "c"
    assert summary_of(tmp_path, {"a.txt": text}) == {
        "corpus": f"{tmp_path / 'a.txt'}: 1 file, 100 bytes, 100 characters",
        "documents": "1, the whole corpus",
        "alphabet": "3 symbols (characters); the least frequent characters: "
        "'c' (1 time), 'b' (9 times), 'a' (90 times)",
        "held out": "the last 10% of the text",
    }


def test_many_documents_whose_characters_have_several_ids(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, {"a.txt": "가\n" * 10, "b.txt": "나\n" * 10}, documents="line", alphabet="jamo")
    assert summary["corpus"] == f"{tmp_path}/*.txt: 2 files, 80 bytes, 20 characters"
    assert summary["documents"] == "20, one per line"
    assert summary["held out"] == "one of every ten documents, 2 documents"
    assert summary["ids"] == "40, 2.00 per character"


def test_a_development_part(tmp_path: Path) -> None:
    text = "a" * 90 + "b" * 9 + "c"
    summary = summary_of(tmp_path, {"a.txt": text}, development=True)
    assert summary["held out"] == "the last 10% of the text"
    told = "of the rest, {} ids: this training is evaluated on it, and leaves the held-out text alone"
    assert summary["development part"] == f"the last tenth {told.format(9)}"
    summary = summary_of(tmp_path, {"a.txt": "a\n" * 100}, documents="line", development=True)
    assert summary["development part"] == f"one of every ten documents {told.format(18)}"


def test_rare_characters(tmp_path: Path) -> None:
    text = "a" * 50 + "bbb" + "xyz"
    left_out = summary_of(tmp_path, {"a.txt": text}, minimum_count=3)
    assert left_out["rare characters"] == (
        "3 left out; 3 characters occur fewer than 3 times: 'x' (1 time), 'y' (1 time), 'z' (1 time)"
    )
    replaced = summary_of(tmp_path, {"a.txt": text}, minimum_count=4, rare="replace", replacement="?")
    assert replaced["rare characters"].startswith(
        "6 replaced by '?'; 4 characters occur fewer than 4 times: 'b' (3 times)"
    )


def test_one_rare_character_is_in_the_singular(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, {"a.txt": "a" * 50 + "xx"}, minimum_count=3)
    assert summary["rare characters"] == "2 left out; 1 character occurs fewer than 3 times: 'x' (2 times)"


def test_a_long_list_is_cut_short(tmp_path: Path) -> None:
    texts = {f"{number:02}.txt": "" for number in range(12)} | {"text.txt": "text"}
    listed = ", ".join(f"{tmp_path}/{number:02}.txt (empty)" for number in range(8))
    assert summary_of(tmp_path, texts)["files left out"] == f"12: {listed} and 4 more"
