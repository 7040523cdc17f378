"""Sources: files, folders, patterns, pipes and named corpora; every error names the source."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nextchar_training.data import sources
from nextchar_training.data.cache import CACHE_DIR
from nextchar_training.data.corpus import CorpusError
from nextchar_training.data.sources import CORPUS_DIR, find_corpus


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


def give_standard_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_sources_keep_their_order(tmp_path: Path) -> None:
    sources = [write(tmp_path / name, name) for name in "zam"]
    assert find_corpus(sources).text == "z\na\nm"


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


def test_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    give_standard_input(monkeypatch, "grüße".encode())
    corpus = find_corpus(["-"])
    assert (corpus.name, corpus.text) == ("standard input", "grüße")


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
        monkeypatch.setenv(CACHE_DIR, str(tmp_path / "cache"))
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
    with pytest.raises(CorpusError, match=f"^tinyshakespeare: set {CORPUS_DIR} to a folder .*another"):
        find_corpus(["tinyshakespeare"])
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_home_that_does_not_answer_is_named(home: ThreadingHTTPServer) -> None:
    home.shutdown()
    home.server_close()
    with pytest.raises(CorpusError, match=r"can't be downloaded from http://127\S* \(ConnectionError\)$"):
        find_corpus(["tinyshakespeare"])


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("is_option", [True, False])
def test_download_is_kept_in_the_cache_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_option: bool
) -> None:
    monkeypatch.setattr(sources, "_TINYSHAKESPEARE_SHA256", hashlib.sha256(PLAY).hexdigest())
    named = tmp_path / "named"
    if not is_option:
        monkeypatch.setenv(CACHE_DIR, str(named))
    find_corpus(["tinyshakespeare"], scratch=named if is_option else None)
    assert [file.read_bytes() for file in named.iterdir()] == [PLAY]
    assert not (tmp_path / "cache").exists()


def test_missing_path_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.txt")
    with pytest.raises(CorpusError, match=r"missing\.txt': no such file or folder, and no named corpus \(stdlib"):
        find_corpus([missing])


def test_missing_path_with_a_comma_gets_a_remedy(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "a")
    write(tmp_path / "b.txt", "b")
    with pytest.raises(CorpusError, match="put spaces between sources, not commas"):
        find_corpus([f"{tmp_path}/a.txt,{tmp_path}/b.txt"])


def test_file_whose_name_has_a_comma_is_read(tmp_path: Path) -> None:
    assert find_corpus([write(tmp_path / "a,b.txt", "text")]).text == "text"


def test_empty_source_is_refused() -> None:
    with pytest.raises(CorpusError, match="a source is empty: name a file, a folder or a corpus"):
        find_corpus([""])


def test_path_that_is_too_long_is_named() -> None:
    with pytest.raises(CorpusError, match=r"aaaa: File name too long"):
        find_corpus(["a" * 300])


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / write(tmp_path / "secret.txt", "text")).chmod(0)
    with pytest.raises(CorpusError, match=r"secret\.txt: Permission denied"):
        _ = find_corpus([str(tmp_path)]).text


def test_folder_in_the_place_of_a_named_corpus_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tinyshakespeare.txt").mkdir()
    monkeypatch.setenv(CORPUS_DIR, str(tmp_path))
    with pytest.raises(CorpusError, match=r"tinyshakespeare\.txt: Is a directory"):
        find_corpus(["tinyshakespeare"])


def test_named_pipe_is_read_once_and_kept(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=(tmp_path / "pipe").write_text, args=["text"])
    thread.start()
    corpus = find_corpus([str(tmp_path / "pipe")], scratch=tmp_path / "cache")
    thread.join()
    assert (corpus.text, corpus.text) == ("text", "text")


def test_empty_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"empty\.txt: empty"):
        find_corpus([write(tmp_path / "empty.txt", "")])


def test_empty_files_of_a_folder_are_left_out_and_named(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "a")
    write(tmp_path / "b.txt", "")
    corpus = find_corpus([str(tmp_path)])
    assert corpus.text == "a"
    assert corpus.left_out == (f"{tmp_path / 'b.txt'} (empty)",)


def test_pattern_is_the_files_that_match_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write(tmp_path / "b" / "c" / "two.txt", "2\n")
    write(tmp_path / "a" / "one.txt", "1\n")
    write(tmp_path / "a" / "one.md", "no\n")
    assert find_corpus([f"{tmp_path}/**/*.txt"]).text == "1\n2\n"


def test_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"\*\.rst: matches no file"):
        find_corpus([f"{tmp_path}/*.rst"])


def test_files_that_are_not_utf8_are_left_out_if_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "a")
    (tmp_path / "b.bin").write_bytes(b"\xff\xfe")
    corpus = find_corpus([str(tmp_path)], skip_undecodable=True)
    assert corpus.text == "a"
    assert corpus.left_out == (f"{tmp_path / 'b.bin'} (not UTF-8)",)


def test_folder_without_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty" / "also").mkdir(parents=True)
    with pytest.raises(CorpusError, match="empty: the folder holds no files"):
        find_corpus([str(tmp_path / "empty")])


def test_empty_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    give_standard_input(monkeypatch, b"")
    with pytest.raises(CorpusError, match="standard input: empty"):
        find_corpus(["-"])
