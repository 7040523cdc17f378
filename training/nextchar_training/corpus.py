"""The corpus: where a text comes from, and which part of it is held out.

Second stage of the flow. A corpus is one text in normalization form C, read from any number of
sources in the order given. It is one document; its last tenth is held out for validation and never
trained on.

A source is one of

- ``-``: standard input;
- a name, ``stdlib`` or ``tinyshakespeare``. A name is always the name: a file that is called like one
  is read by writing it as a path, ``./stdlib``;
- the path of a file;
- the path of a folder: all files in it and in its folders, in the order of their paths, those whose
  name starts with a dot left out.

A text that follows another one starts on a new line. Everything is UTF-8, strictly.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pooch

from nextchar_training.alphabet import normalize

_TINYSHAKESPEARE_HOME = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
_TINYSHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

CORPUS_DIR = "NEXTCHAR_CORPUS_DIR"
"""The environment variable that names a folder in which to look before downloading."""


class CorpusError(ValueError):
    """A source cannot be read, or its text cannot be trained on."""


@dataclass(frozen=True)
class Corpus:
    """A text in normalization form C, not empty; what it is called in reports, and its sources."""

    name: str
    text: str
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.text:
            raise CorpusError(f"{self.name}: the text is empty")

    @property
    def training(self) -> str:
        """The text to train on: the first nine tenths."""
        return self.text[: self._held_out_from]

    @property
    def validation(self) -> str:
        """The text held out: the last tenth, at least one character."""
        return self.text[self._held_out_from :]

    @property
    def sha256(self) -> str:
        """SHA-256 of the text in UTF-8, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def _held_out_from(self) -> int:
        return len(self.text) * 9 // 10


def read_corpus(sources: Sequence[str]) -> Corpus:
    """The corpus of ``sources``, at least one. Raises ``CorpusError`` naming the source that is at fault."""
    names, texts = zip(*[part for source in sources for part in _read(source)], strict=True)
    joined = "".join(text if text.endswith("\n") else text + "\n" for text in texts[:-1]) + texts[-1]
    name = names[0] if len(names) == 1 else " ".join(sources)
    return Corpus(name, normalize(joined), tuple(sources))


def _read(source: str) -> list[tuple[str, str]]:
    """The name and text of each file of a source."""
    if source == "-":
        return [("standard input", _decode("standard input", sys.stdin.buffer.read()))]
    if source in _NAMED:
        return [_NAMED[source]()]
    path = Path(source)
    if not source or not path.exists():
        raise CorpusError(f"{source!r}: no such file or folder, nor a corpus name ({', '.join(_NAMED)})")
    if not path.is_dir():
        return [(source, _read_file(path))]
    files = sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file.relative_to(path)))
    if not files:
        raise CorpusError(f"{source}: the folder holds no files")
    return [(str(file), _read_file(file)) for file in files]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _read_file(path: Path) -> str:
    try:
        return _decode(str(path), path.read_bytes())
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error


def _decode(name: str, content: bytes) -> str:
    if not content:
        raise CorpusError(f"{name}: empty")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name}: not UTF-8: byte 0x{content[error.start]:02x} at offset {error.start}") from error


def _stdlib() -> tuple[str, str]:
    """Every top module of this Python's standard library, those with characters beyond ASCII left out.

    The modules only, not the packages: some 4 MB of source that differ between Python releases alone.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    files = [file for file in sorted(folder.glob("*.py")) if not file.name.startswith("_sysconfigdata")]
    texts = [content.decode() for file in files if (content := file.read_bytes()).isascii()]
    if not texts:
        raise CorpusError(f"stdlib: {folder} holds no Python source")
    return f"stdlib (Python {platform.python_version()})", "".join(texts)


def _tinyshakespeare() -> tuple[str, str]:
    """Karpathy's 1.1 MB of Shakespeare, checked against its hash wherever it comes from."""
    if folder := os.environ.get(CORPUS_DIR):
        local = Path(folder) / "tinyshakespeare.txt"
        if local.exists():
            content = local.read_bytes()
            if (digest := hashlib.sha256(content).hexdigest()) != _TINYSHAKESPEARE_SHA256:
                raise CorpusError(f"{local}: SHA-256 is {digest}, not tinyshakespeare's {_TINYSHAKESPEARE_SHA256}")
            return "tinyshakespeare", content.decode()
    try:
        path = pooch.retrieve(
            _TINYSHAKESPEARE_HOME, f"sha256:{_TINYSHAKESPEARE_SHA256}", path=pooch.os_cache("nextchar")
        )
    except (OSError, ValueError) as error:  # no network or no disk; another hash
        raise CorpusError(
            f"tinyshakespeare: cannot be had from {_TINYSHAKESPEARE_HOME} ({error}); "
            f"{CORPUS_DIR} can name a folder that holds tinyshakespeare.txt"
        ) from error
    return "tinyshakespeare", Path(path).read_text(encoding="utf-8")


_NAMED: dict[str, Callable[[], tuple[str, str]]] = {"stdlib": _stdlib, "tinyshakespeare": _tinyshakespeare}
