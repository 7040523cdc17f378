"""Sources: what a command line names, turned into the files of a corpus.

A source is one of

- ``-``: standard input;
- a name, ``stdlib`` or ``tinyshakespeare``. A name is always the name: a file that is called like one
  is read by writing it as a path, ``./stdlib``;
- the path of a file;
- the path of a folder: all files in it and in its folders, in the order of their paths, those whose
  name starts with a dot left out;
- a pattern, as ``texts/**/*.txt``, where there is no file of that name: the files that it matches, likewise.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pooch

from .corpus import PIECE_BYTES, Corpus, CorpusError, NotUtf8Error, TextFile, identity_of

_TINYSHAKESPEARE_HOME = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"


_TINYSHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


CORPUS_DIR = "NEXTCHAR_CORPUS_DIR"
"""The environment variable that names a folder in which to look before downloading."""


def find_corpus(sources: Sequence[str], *, skip_undecodable: bool = False, scratch: Path | None = None) -> Corpus:
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
        identity = identity_of(path)
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error
    return TextFile(str(path), int(identity[1]), identity, path)


def _spooled(name: str, pipe: BinaryIO, scratch: Path | None) -> TextFile:
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    spool = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - lives as long as the corpus
    digest, size = hashlib.sha256(), 0
    for piece in iter(functools.partial(pipe.read, PIECE_BYTES), b""):
        digest.update(piece)
        size += spool.write(piece)
    file = TextFile(name, size, (digest.hexdigest(),), spool=spool)
    weakref.finalize(file, spool.close)
    return file


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
