import gzip
import hashlib
import io
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar_training.data import corpus, sources
from nextchar_training.data.corpus import CorpusError
from nextchar_training.data.sources import CORPUS_DIR, find_corpus


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


def give_standard_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_file_is_read_as_it_is(tmp_path: Path) -> None:
    text = "one\r\n\ttwo \u2028 три\n"
    assert find_corpus([write(tmp_path / "a.txt", text)]).text == text


def test_folder_is_its_files_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write(tmp_path / "b.txt", "b\n")
    write(tmp_path / "c" / "a.txt", "c\n")
    write(tmp_path / "a.txt", "a\n")
    assert find_corpus([str(tmp_path)]).text == "a\nb\nc\n"


def test_hidden_files_of_a_folder_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "a")
    write(tmp_path / ".hidden", "no")
    write(tmp_path / ".git" / "HEAD", "no")
    assert find_corpus([str(tmp_path)]).text == "a"


def test_several_sources_are_joined_in_the_order_given_each_on_a_new_line(tmp_path: Path) -> None:
    sources = [write(tmp_path / "z", "first"), write(tmp_path / "a", "second\n"), write(tmp_path / "m", "third")]
    assert find_corpus(sources).text == "first\nsecond\nthird"


def test_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    give_standard_input(monkeypatch, "grüße".encode())
    corpus = find_corpus(["-"])
    assert (corpus.name, corpus.text) == ("standard input", "grüße")


def test_text_is_normalized(tmp_path: Path) -> None:
    assert find_corpus([write(tmp_path / "a", "e\u0301")]).text == "\u00e9"


def test_stdlib_is_megabytes_of_plain_python() -> None:
    corpus = find_corpus(["stdlib"])
    assert 3_000_000 < len(corpus.text) < 10_000_000
    assert corpus.text.isascii()
    assert "\ndef namedtuple(" not in corpus.text  # a package's module, and packages are left out
    assert "class ArgumentParser(" in corpus.text


def test_stdlib_is_the_same_every_time() -> None:
    assert find_corpus(["stdlib"]) == find_corpus(["stdlib"])


def test_name_wins_over_a_file_and_a_path_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "stdlib", "mine")
    assert find_corpus(["stdlib"]).text != "mine"
    assert find_corpus(["./stdlib"]).text == "mine"


def test_tinyshakespeare_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "tinyshakespeare.txt", "First Citizen:\n")
    monkeypatch.setenv(CORPUS_DIR, str(tmp_path))
    with pytest.raises(CorpusError, match=r"tinyshakespeare\.txt: SHA-256 is [0-9a-f]{64}, not"):
        find_corpus(["tinyshakespeare"])


PLAY = b"First Citizen:\nBefore we proceed any further, hear me speak.\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A server on this machine in the place of tinyshakespeare's public home, and an empty cache."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(PLAY)))
            self.end_headers()
            self.wfile.write(PLAY)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(sources, "_TINYSHAKESPEARE_HOME", f"http://127.0.0.1:{server.server_port}/input.txt")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.delenv(CORPUS_DIR, raising=False)
        yield server
        server.shutdown()


@pytest.mark.usefixtures("home")
def test_tinyshakespeare_is_downloaded_from_its_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_TINYSHAKESPEARE_SHA256", hashlib.sha256(PLAY).hexdigest())
    assert find_corpus(["tinyshakespeare"]).text == PLAY.decode()


@pytest.mark.usefixtures("home")
def test_tinyshakespeare_is_looked_for_in_the_named_folder_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = write(tmp_path / "corpora" / "tinyshakespeare.txt", "local")
    monkeypatch.setattr(sources, "_TINYSHAKESPEARE_SHA256", hashlib.sha256(b"local").hexdigest())
    monkeypatch.setenv(CORPUS_DIR, str(Path(local).parent))
    assert find_corpus(["tinyshakespeare"]).text == "local"


@pytest.mark.usefixtures("home")
def test_download_with_another_hash_is_refused_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=f"cannot be had from http://127.*{CORPUS_DIR} can name a folder"):
        find_corpus(["tinyshakespeare"])
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_home_that_does_not_answer_is_named(home: ThreadingHTTPServer) -> None:
    home.shutdown()
    home.server_close()
    with pytest.raises(CorpusError, match="cannot be had from http://127"):
        find_corpus(["tinyshakespeare"])


def test_missing_path_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.txt")
    with pytest.raises(CorpusError, match=r"missing\.txt.*no such file"):
        find_corpus([missing])


def test_empty_path_is_refused() -> None:
    with pytest.raises(CorpusError, match="'': no such file"):
        find_corpus([""])


def test_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"empty\.txt: empty"):
        find_corpus([write(tmp_path / "empty.txt", "")])


def test_empty_files_of_a_folder_are_left_out_and_named(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "a")
    write(tmp_path / "b.txt", "")
    corpus = find_corpus([str(tmp_path)])
    assert corpus.text == "a"
    assert corpus.left_out == (f"{tmp_path / 'b.txt'} (empty)",)


def test_pattern_is_the_files_that_it_matches_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write(tmp_path / "b" / "c" / "two.txt", "2\n")
    write(tmp_path / "a" / "one.txt", "1\n")
    write(tmp_path / "a" / "one.md", "no\n")
    assert find_corpus([f"{tmp_path}/**/*.txt"]).text == "1\n2\n"
    with pytest.raises(CorpusError, match=r"\*\.rst: matches no file"):
        find_corpus([f"{tmp_path}/*.rst"])


def test_gzip_is_unpacked_and_damage_is_named(tmp_path: Path) -> None:
    packed = gzip.compress("한글\n".encode() * 1000)
    (tmp_path / "a.txt.gz").write_bytes(packed)
    assert find_corpus([str(tmp_path / "a.txt.gz")]).text == "한글\n" * 1000
    (tmp_path / "a.txt.gz").write_bytes(packed[:-20])
    with pytest.raises(CorpusError, match=r"a\.txt\.gz: not gzip, damaged or cut off"):
        _ = find_corpus([str(tmp_path)]).text
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"ab\xff"))
    with pytest.raises(CorpusError, match=r"a\.txt\.gz: its text is not UTF-8: byte 0xff at offset 2"):
        _ = find_corpus([str(tmp_path)]).text


def test_files_that_are_not_utf8_are_left_out_where_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "a")
    (tmp_path / "b.bin").write_bytes(b"\xff\xfe")
    with pytest.raises(CorpusError, match=r"b\.bin: not UTF-8: byte 0xff at offset 0; .*--skip-undecodable"):
        _ = find_corpus([str(tmp_path)]).text
    corpus = find_corpus([str(tmp_path)], skip_undecodable=True)
    assert corpus.text == "a"
    assert corpus.left_out == (f"{tmp_path / 'b.bin'} (not UTF-8)",)


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
@given(text=st.text(st.sampled_from("a\r\ne\u0301\u0323é가\u1100\u1161\u11a8각न\u093cक\u0958\U0001d160"), max_size=30))
def test_pieces_are_normalized_as_the_whole_is(text: str, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(corpus, "PIECE_BYTES", piece)
        read = find_corpus([write(Path(folder) / "a", text + "x")])
        pieces = [part for _, part in read.read()]
        assert "".join(pieces) == unicodedata.normalize("NFC", text + "x")
        assert not any(part.endswith("\r") and after.startswith("\n") for part, after in pairwise(pieces))


def test_folder_without_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty" / "also").mkdir(parents=True)
    with pytest.raises(CorpusError, match="empty: the folder holds no files"):
        find_corpus([str(tmp_path / "empty")])


def test_empty_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    give_standard_input(monkeypatch, b"")
    with pytest.raises(CorpusError, match="standard input: empty"):
        find_corpus(["-"])


def test_file_that_is_not_utf8_is_named_with_the_byte_offset(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("é".encode() + b"abc\xe9 rest")
    with pytest.raises(CorpusError, match=r"latin\.txt: not UTF-8: byte 0xe9 at offset 5"):
        _ = find_corpus([str(tmp_path)]).text


def test_character_cut_off_at_the_end_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "cut.txt").write_bytes(b"abc\xe2\x82")
    with pytest.raises(CorpusError, match=r"cut\.txt: not UTF-8: byte 0xe2 at offset 3"):
        _ = find_corpus([str(tmp_path / "cut.txt")]).text


def test_standard_input_that_is_not_utf8_is_named_with_the_byte_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    give_standard_input(monkeypatch, b"ab\xff")
    with pytest.raises(CorpusError, match="standard input: not UTF-8: byte 0xff at offset 2"):
        _ = find_corpus(["-"]).text
