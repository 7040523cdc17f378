"""The sources: the names on a command line, turned into the files of a corpus.

The first stage of the flow. A source is one of

- ``-``: standard input;
- a name, ``stdlib`` or ``tinyshakespeare``. A name always means the named corpus; a file of the same name is
  written as a path, ``./stdlib``;
- the path of a file, or of a pipe;
- the path of a folder: all files in it and its subfolders in the order of their paths, without hidden ones, whose
  name or folder starts with a dot;
- a pattern such as ``texts/**/*.txt``, if there is no file of that name: the files that match, in the same order.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import os
import platform
import stat
import sys
import sysconfig
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pooch

from nextchar_cli.printable import printable

from .cache import default_cache
from .corpus import BLOCK_BYTES, Corpus, CorpusError, NotUtf8Error, TextFile, identity_of

_TINYSHAKESPEARE_HOME = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
_TINYSHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

STDLIB = "stdlib"
"""The name of the corpus that is on every machine."""

CORPUS_DIR = "NEXTCHAR_CORPUS_DIR"
"""The environment variable that names a folder to look in before downloading."""


class _Source(NamedTuple):
    name: str
    """The name in reports."""
    files: list[TextFile]


def find_corpus(
    sources: Sequence[str], *, folder: str = "", skip_undecodable: bool = False, scratch: Path | None = None
) -> Corpus:
    """Finds the files of the sources; relative paths start from ``folder``, if one is given, or the current one.

    Reads no text, except from pipes, and except to find the files that are not UTF-8 if ``skip_undecodable`` is set.
    Text from pipes is kept in a temporary file in the folder ``scratch``, and a download there, too, or in the default
    cache. Raises ``CorpusError``, which names the source, if one can't be found or read, or if no text is left.
    """
    if not sources:
        raise CorpusError("no source is given: name a file, a folder or a corpus")
    found = [_find(source, folder, scratch) for source in sources]
    files = [file for source in found for file in source.files]
    name = printable(found[0].name if len(found) == 1 else " ".join(sources))
    faults = {number: "empty" for number, file in enumerate(files) if file.size == 0}
    if skip_undecodable:
        faults |= {number: "not UTF-8" for number, file in enumerate(files) if not _is_utf8(file)}
    kept = tuple(file for number, file in enumerate(files) if number not in faults)
    if not kept:
        raise CorpusError(f"{name}: {', '.join(sorted(set(faults.values())))}")
    left_out = tuple(f"{files[number].name} ({reason})" for number, reason in faults.items())
    return Corpus(name, tuple(sources), kept, left_out, folder or current_folder())


def stored(name: str) -> str | bytes:
    """Returns the name of a source or a folder as a checkpoint keeps it: one that isn't UTF-8 by its bytes.

    ``os.fsdecode`` returns the name again.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def current_folder() -> str:
    """Returns the current folder, or an empty string if it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - Path.cwd is the same
    except OSError:
        return ""


def _is_utf8(file: TextFile) -> bool:
    try:
        for _ in file.pieces():
            pass
    except NotUtf8Error:
        return False
    return True


def _find(source: str, folder: str, scratch: Path | None) -> _Source:
    if not source:
        raise CorpusError("a source is empty: name a file, a folder or a corpus")
    try:
        if source == "-":
            if sys.stdin is None:
                raise CorpusError("standard input: closed")
            return _Source("standard input", [_spooled("standard input", sys.stdin.buffer, scratch)])
        return _NAMED[source](scratch) if source in _NAMED else _find_path(source, folder, scratch)
    except OSError as error:
        raise CorpusError(f"{error.filename or source}: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, CorpusError):
            raise
        raise CorpusError(f"{source!r}: no name of a file: {error}") from error  # it holds a zero byte


def _find_path(source: str, folder: str, scratch: Path | None) -> _Source:
    path = Path(folder, source)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file.relative_to(path)))
        if not files:
            raise CorpusError(f"{source}: the folder holds no files")
    elif path.exists():
        if not stat.S_ISREG(path.stat().st_mode):
            with path.open("rb") as pipe:
                return _Source(source, [_spooled(source, pipe, scratch)])
        files = [path]
    elif glob.has_magic(source):
        matches = glob.iglob(source, root_dir=folder or None, recursive=True)  # noqa: PTH207 - may begin at the root
        files = sorted(file for match in matches if (file := Path(folder, match)).is_file())
        if not files:
            raise CorpusError(f"{source}: matches no file")
    else:
        remedy = ": put spaces between sources, not commas" if "," in source else ""
        raise CorpusError(f"{source!r}: no such file or folder, and no named corpus ({', '.join(_NAMED)}){remedy}")
    return _Source(str(files[0]) if len(files) == 1 else source, list(map(_file, files)))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _file(path: Path) -> TextFile:
    identity = identity_of(path)
    return TextFile(printable(str(path)), int(identity[1]), identity, path)


def _spooled(name: str, pipe: BinaryIO, scratch: Path | None) -> TextFile:
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    spool = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - lives as long as the corpus
    digest, size = hashlib.sha256(), 0
    for block in iter(functools.partial(pipe.read, BLOCK_BYTES), b""):
        digest.update(block)
        size += spool.write(block)
    file = TextFile(printable(name), size, (digest.hexdigest(),), spool=spool)
    weakref.finalize(file, spool.close)
    return file


def _stdlib(_: Path | None) -> _Source:
    """Every top-level module of this Python's standard library that is pure ASCII.

    Without the packages, these are about 4 MB of source that depend on nothing but the release of Python.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    files = [file for file in sorted(folder.glob("*.py")) if not file.name.startswith("_sysconfigdata")]
    files = [file for file in files if file.read_bytes().isascii()]
    if not files:
        raise CorpusError(f"stdlib: {folder} holds no Python source")
    return _Source(f"stdlib (Python {platform.python_version()})", list(map(_file, files)))


def _tinyshakespeare(cache: Path | None) -> _Source:
    """Karpathy's 1.1 MB of Shakespeare, kept in the cache; its hash is checked wherever it comes from."""
    if folder := os.environ.get(CORPUS_DIR):
        local = Path(folder) / "tinyshakespeare.txt"
        if local.exists():
            return _checked(local)
    pooch.get_logger().setLevel("WARNING")  # a failure is one line
    try:
        path = pooch.retrieve(_TINYSHAKESPEARE_HOME, f"sha256:{_TINYSHAKESPEARE_SHA256}", path=cache or default_cache())
    except (OSError, ValueError) as error:  # no network or no disk; another hash
        raise CorpusError(
            f"tinyshakespeare: set {CORPUS_DIR} to a folder that holds tinyshakespeare.txt; "
            f"it can't be downloaded from {_TINYSHAKESPEARE_HOME} ({_cause(error)})"
        ) from error
    return _Source("tinyshakespeare", [_file(Path(path))])


def _cause(error: OSError | ValueError) -> str:
    """Why a download failed, in a word or a few: the text of a failed connection fills several lines."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "its SHA-256 is another"


def _checked(path: Path) -> _Source:
    """The local copy of tinyshakespeare at ``path``."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != _TINYSHAKESPEARE_SHA256:
        raise CorpusError(f"{path}: SHA-256 is {digest}, not tinyshakespeare's {_TINYSHAKESPEARE_SHA256}")
    return _Source("tinyshakespeare", [_file(path)])


_NAMED: dict[str, Callable[[Path | None], _Source]] = {STDLIB: _stdlib, "tinyshakespeare": _tinyshakespeare}
