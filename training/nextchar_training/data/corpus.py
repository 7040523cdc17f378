"""The corpus: where a text comes from.

Second stage of the flow. A corpus is text in normalization form C from any number of files, in the order of the
sources given. It may be larger than memory: it is read piece by piece, each time anew, and a piece is about 1 MiB.

A source is one of

- ``-``: standard input;
- a name, ``stdlib`` or ``tinyshakespeare``. A name is always the name: a file that is called like one
  is read by writing it as a path, ``./stdlib``;
- the path of a file;
- the path of a folder: all files in it and in its folders, in the order of their paths, those whose
  name starts with a dot left out;
- a pattern, as ``texts/**/*.txt``, where there is no file of that name: the files that it matches, likewise.

A file whose name ends with ``.gz`` is what it holds. Everything is UTF-8, strictly: a file that is not is an error, or
is left out whole where that is asked for. Empty files are left out. Where texts are joined, one that follows another
starts on a new line.
"""

from __future__ import annotations

import codecs
import functools
import glob
import gzip
import hashlib
import os
import platform
import stat
import sys
import sysconfig
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pooch

from nextchar_model.alphabet import joins, normalize

_TINYSHAKESPEARE_HOME = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
_TINYSHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

CORPUS_DIR = "NEXTCHAR_CORPUS_DIR"
"""The environment variable that names a folder in which to look before downloading."""

_PIECE = 2**20  # bytes read at a time


class CorpusError(ValueError):
    """A source cannot be read, or its text cannot be trained on."""


@dataclass(frozen=True)
class TextFile:
    """A file of a corpus. ``identity`` tells it from every other and from what it was before; ``size`` is in bytes."""

    name: str
    size: int
    identity: tuple[str | int, ...]
    path: Path | None = None
    spool: BinaryIO | None = None
    """What came through a pipe, which cannot be read twice."""

    def read(self) -> Iterator[str]:
        """The text, piece by piece. Raises ``CorpusError``, with the offset of the byte where it is not UTF-8."""
        return _normalized(self._decoded())

    def changed(self) -> bool:
        """Whether the file is no longer the one that was found."""
        return self.path is not None and self.identity != _identity(self.path)

    def _decoded(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        offset = 0  # of the piece
        try:
            for piece in self._pieces():
                yield decoder.decode(piece, final=not piece)
                offset += len(piece)
        except UnicodeDecodeError as error:  # of what the decoder kept, at most three bytes, and the piece
            byte, offset = error.object[error.start], offset - (len(error.object) - len(piece)) + error.start
            what = "its text is not UTF-8" if self._zipped else "not UTF-8"
            raise NotUtf8Error(f"{self.name}: {what}: byte 0x{byte:02x} at offset {offset}") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CorpusError(f"{self.name}: not gzip, damaged or cut off: {error}") from error
        except OSError as error:
            raise CorpusError(f"{self.name}: {error.strerror}") from error

    def _pieces(self) -> Iterator[bytes]:
        """The bytes, piece by piece, and an empty piece at the end."""
        if self.spool is not None:
            self.spool.seek(0)
            yield from iter(functools.partial(self.spool.read, _PIECE), b"")
        elif self.path is not None:
            with gzip.open(self.path) if self._zipped else self.path.open("rb") as file:
                yield from iter(functools.partial(file.read, _PIECE), b"")
        yield b""

    @property
    def _zipped(self) -> bool:
        return self.path is not None and self.path.suffix == ".gz"


class NotUtf8Error(CorpusError):
    """A file is not UTF-8."""


@dataclass(frozen=True)
class Corpus:
    """Files in their order; what they are called in reports, and the sources as they were given.

    ``left_out`` names the files that are not in it, and why: those that are empty, or not UTF-8.
    """

    name: str
    sources: tuple[str, ...]
    files: tuple[TextFile, ...]
    left_out: tuple[str, ...] = ()

    def sha256(self) -> str:
        """SHA-256 of the text in UTF-8, in hexadecimal."""
        digest = hashlib.sha256()
        for _, text in self.read():
            digest.update(text.encode())
        return digest.hexdigest()

    def head(self, characters: int) -> str:
        """The first so many characters."""
        text = ""
        for _, piece in self.read():
            text += piece
            if len(text) >= characters:
                break
        return text[:characters]

    @property
    def text(self) -> str:
        """The whole text in normalization form C."""
        return "".join(text for _, text in self.read())

    def read(self, order: Iterable[int] | None = None) -> Iterator[tuple[int | None, str]]:
        """The text piece by piece, each with the number of its file. The newline that is put between a text that does
        not end with one and the next is a piece of no file. ``order`` are the numbers of the files to read: all.
        """
        ended = True  # the text before, with a newline
        for number in range(len(self.files)) if order is None else order:
            begins = True
            try:
                for text in self.files[number].read():
                    if begins and not ended:
                        yield None, "\n"
                    yield number, text
                    begins, ended = False, text.endswith("\n")
            except NotUtf8Error as error:
                if len(self.files) == 1:
                    raise
                raise NotUtf8Error(
                    f"{error}; a pattern such as 'texts/**/*.txt' names the texts alone, "
                    "--skip-undecodable leaves out all files that are not UTF-8"
                ) from error


def read_corpus(sources: Sequence[str], *, skip_undecodable: bool = False, scratch: Path | None = None) -> Corpus:
    """The corpus of ``sources``, at least one: finds the files, and reads none that it need not.

    ``skip_undecodable`` leaves files out that are not UTF-8, for which it reads them all. ``scratch`` is a folder that
    takes what comes through a pipe. Raises ``CorpusError`` naming the source that is at fault.
    """
    names, groups = zip(*[_find(source, scratch) for source in sources], strict=True)
    found = [file for group in groups for file in group]
    name = names[0] if len(names) == 1 else " ".join(sources)
    left_out = {file.name: "empty" for file in found if file.size == 0}
    if skip_undecodable:
        left_out |= {file.name: "not UTF-8" for file in found if not _is_utf8(file)}
    files = tuple(file for file in found if file.name not in left_out)
    if not files:
        raise CorpusError(f"{name}: {', '.join(sorted(set(left_out.values())))}")
    return Corpus(name, tuple(sources), files, tuple(f"{file} ({why})" for file, why in left_out.items()))


def _is_utf8(file: TextFile) -> bool:
    try:
        for _ in file.read():
            pass
    except NotUtf8Error:
        return False
    return True


def _find(source: str, scratch: Path | None) -> tuple[str, list[TextFile]]:
    """What a source is called, and its files."""
    if source == "-":
        return "standard input", [_spooled("standard input", sys.stdin.buffer, scratch)]
    if source in _NAMED:
        name, paths = _NAMED[source]()
        return name, [_file(path) for path in paths]
    path = Path(source)
    if source and path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file.relative_to(path)))
        if not files:
            raise CorpusError(f"{source}: the folder holds no files")
    elif source and path.exists():
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe
            with path.open("rb") as pipe:
                return source, [_spooled(source, pipe, scratch)]
        files = [path]
    elif glob.has_magic(source):
        files = sorted(file for file in _matching(source) if file.is_file())
        if not files:
            raise CorpusError(f"{source}: matches no file")
    else:
        raise CorpusError(f"{source!r}: no such file or folder, nor a corpus name ({', '.join(_NAMED)})")
    return str(files[0]) if len(files) == 1 else source, [_file(file) for file in files]


def _matching(pattern: str) -> Iterator[Path]:
    return map(Path, glob.iglob(pattern, recursive=True))  # noqa: PTH207 - the pattern may begin at the root


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _file(path: Path) -> TextFile:
    try:
        identity = _identity(path)
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error
    return TextFile(str(path), int(identity[1]), identity, path)


def _identity(path: Path) -> tuple[str | int, ...]:
    """Where a file is, and what changes with its content: the time of its last change too, which no tool sets back."""
    status = path.stat()
    return str(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _spooled(name: str, pipe: BinaryIO, scratch: Path | None) -> TextFile:
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    spool = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - lives as long as the corpus
    digest, size = hashlib.sha256(), 0
    for piece in iter(functools.partial(pipe.read, _PIECE), b""):
        digest.update(piece)
        size += spool.write(piece)
    file = TextFile(name, size, (digest.hexdigest(),), spool=spool)
    weakref.finalize(file, spool.close)
    return file


def _normalized(pieces: Iterable[str]) -> Iterator[str]:
    """The text of ``pieces`` in normalization form C, piece by piece, none empty and none within a line end."""
    pending = ""
    for piece in pieces:
        text = pending + piece
        cut = next((n for n in range(len(text) - 1, 0, -1) if _separable(text[n - 1], text[n])), 0)
        if cut:
            yield normalize(text[:cut])
        pending = text[cut:]
    if pending:
        yield normalize(pending)


def _separable(before: str, after: str) -> bool:
    """Whether a text may be cut here: ``after`` neither changes what comes before it nor ends a line with it."""
    return not joins(after) and not (before == "\r" and after == "\n")


def _stdlib() -> tuple[str, list[Path]]:
    """Every top module of this Python's standard library, those with characters beyond ASCII left out.

    The modules only, not the packages: some 4 MB of source that differ between Python releases alone.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    files = [file for file in sorted(folder.glob("*.py")) if not file.name.startswith("_sysconfigdata")]
    files = [file for file in files if file.read_bytes().isascii()]
    if not files:
        raise CorpusError(f"stdlib: {folder} holds no Python source")
    return f"stdlib (Python {platform.python_version()})", files


def _tinyshakespeare() -> tuple[str, list[Path]]:
    """Karpathy's 1.1 MB of Shakespeare, checked against its hash wherever it comes from."""
    if folder := os.environ.get(CORPUS_DIR):
        local = Path(folder) / "tinyshakespeare.txt"
        if local.exists():
            if (digest := hashlib.sha256(local.read_bytes()).hexdigest()) != _TINYSHAKESPEARE_SHA256:
                raise CorpusError(f"{local}: SHA-256 is {digest}, not tinyshakespeare's {_TINYSHAKESPEARE_SHA256}")
            return "tinyshakespeare", [local]
    try:
        path = pooch.retrieve(
            _TINYSHAKESPEARE_HOME, f"sha256:{_TINYSHAKESPEARE_SHA256}", path=pooch.os_cache("nextchar")
        )
    except (OSError, ValueError) as error:  # no network or no disk; another hash
        raise CorpusError(
            f"tinyshakespeare: cannot be had from {_TINYSHAKESPEARE_HOME} ({error}); "
            f"{CORPUS_DIR} can name a folder that holds tinyshakespeare.txt"
        ) from error
    return "tinyshakespeare", [Path(path)]


_NAMED: dict[str, Callable[[], tuple[str, list[Path]]]] = {"stdlib": _stdlib, "tinyshakespeare": _tinyshakespeare}
