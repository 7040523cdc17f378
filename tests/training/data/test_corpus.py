"""Text from files: joined, normalized, unpacked, and refused if it isn't UTF-8."""

from __future__ import annotations

import gzip
import tempfile
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_training.data import corpus as corpus_module
from nextchar_training.data.corpus import Corpus, CorpusError, TextFile, identity_of


def corpus_of(folder: Path, *contents: bytes, suffix: str = ".txt") -> Corpus:
    files = []
    for number, content in enumerate(contents):
        path = folder / f"{number}{suffix}"
        path.write_bytes(content)
        files.append(TextFile(str(path), len(content), identity_of(path), path))
    return Corpus("texts", (str(folder),), tuple(files))


def test_a_text_is_read_as_it_is(tmp_path: Path) -> None:
    text = "one\r\n\ttwo \u2028 три\n"
    assert corpus_of(tmp_path, text.encode()).text == text


def test_a_text_that_follows_another_starts_on_a_new_line(tmp_path: Path) -> None:
    assert corpus_of(tmp_path, b"first", b"second\n", b"third").text == "first\nsecond\nthird"


def test_the_newline_between_two_files_belongs_to_neither(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, b"first", b"second")
    pieces = list(corpus.pieces())
    assert "".join(piece for number, piece in pieces if number == 0) == "first"
    assert "".join(piece for number, piece in pieces if number == 1) == "second"
    assert [piece for number, piece in pieces if number is None] == ["\n"]


def test_files_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, b"a\n", b"b\n", b"c\n")
    pieces = list(corpus.pieces([2, 0]))
    assert "".join(piece for _, piece in pieces) == "c\na\n"
    assert [number for number, _ in pieces] == sorted(
        (number for number, _ in pieces if number is not None), reverse=True
    )


def test_a_text_is_in_normalization_form_c(tmp_path: Path) -> None:
    assert corpus_of(tmp_path, "e\u0301".encode()).text == "\u00e9"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@given(text=st.text(st.sampled_from("a\r\ne\u0301\u0323é가\u1100\u1161\u11a8각न\u093cक\u0958\U0001d160"), max_size=30))
def test_pieces_are_normalized_like_the_whole_and_no_line_end_is_cut(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(corpus_module, "BLOCK_BYTES", size)
        pieces = [piece for _, piece in corpus_of(Path(folder), f"{text}x".encode()).pieces()]
        assert "".join(pieces) == unicodedata.normalize("NFC", text + "x")
        assert all(pieces)
        assert not any(piece.endswith("\r") and after.startswith("\n") for piece, after in pairwise(pieces))


def test_a_place_to_cut_at_is_looked_for_once_in_each_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    separable, looks = corpus_module._separable, []

    def counted(before: str, after: str) -> bool:
        looks.append(after)
        return separable(before, after)

    monkeypatch.setattr(corpus_module, "_separable", counted)
    monkeypatch.setattr(corpus_module, "BLOCK_BYTES", 16)
    text = "e" + "\u0301" * 3000 + "\u0323" * 3000
    assert corpus_of(tmp_path, text.encode()).text == unicodedata.normalize("NFC", text)
    assert len(looks) <= len(text)


def test_gzip_is_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress("한글\n".encode() * 1000)
    assert corpus_of(tmp_path, packed, suffix=".txt.gz").text == "한글\n" * 1000


@pytest.mark.parametrize("content", [gzip.compress(b"text" * 100)[:-20], b"plain text"], ids=["cut off", "plain"])
def test_gzip_that_is_damaged_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CorpusError, match=r"0\.txt\.gz: not gzip, damaged or cut off"):
        _ = corpus_of(tmp_path, content, suffix=".txt.gz").text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("é".encode() + b"abc\xe9 rest", "not UTF-8: byte 0xe9 at offset 5"),
        (b"abc\xe2\x82", "not UTF-8: byte 0xe2 at offset 3"),  # cut off within a character
    ],
)
def test_the_byte_that_is_not_utf8_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=rf"0\.txt: {message}; .* iconv -f"):
        _ = corpus_of(tmp_path, content).text


def test_a_packed_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"0\.txt\.gz: its text is not UTF-8: byte 0xff at offset 2"):
        _ = corpus_of(tmp_path, gzip.compress(b"ab\xff"), suffix=".txt.gz").text


def test_one_of_many_files_that_is_not_utf8_can_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"1\.txt: not UTF-8: .*'texts/\*\*/\*\.txt'.* --skip-undecodable"):
        _ = corpus_of(tmp_path, b"a", b"\xff").text


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, b"a")
    (tmp_path / "0.txt").unlink()
    assert corpus.files[0].changed()
    with pytest.raises(CorpusError, match=r"0\.txt: No such file or directory"):
        _ = corpus.text
