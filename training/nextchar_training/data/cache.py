"""The cache: the folder that keeps datasets and teachers' distributions over them.

Each has a folder of its own that appears whole or not at all. Nothing is ever evicted. A dataset takes one or two bytes
per id, a teacher's distributions up to 257. The folders ``datasets`` and ``teachers`` in the cache can be deleted
whenever no training runs; what is needed again is made again.

While one is made it stands in a folder ``partial.*``, beside a lock file that the process holds. If the process was
killed, nobody holds the lock, and the next one to prepare a dataset removes the folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import pooch

from .corpus import Corpus
from .rules import Rules

CACHE_DIR = "NEXTCHAR_CACHE_DIR"
"""The environment variable that names another cache than the platform's own."""

_HOMELESS = f"this user has no home folder to keep texts as ids in: name a folder with --cache or {CACHE_DIR}"

_VERSION = 2  # of the datasets' format
_CORPUS_VERSION = 1  # of those that are one document, which version 2 left as they were
_DISTRIBUTIONS_VERSION = 1
_PARTIAL, _LOCK = "partial.", "lock"


class CacheError(ValueError):
    """There is no place for a cache."""


def default_cache() -> Path:
    """The cache, unless an option names another. Raises ``CacheError`` if the user has no home to keep it in."""
    if named := os.environ.get(CACHE_DIR):
        return Path(named)
    try:
        folder = Path(pooch.os_cache("nextchar"))
    except RuntimeError as error:  # neither HOME nor an entry in the list of users
        raise CacheError(_HOMELESS) from error
    if not folder.is_absolute():  # of a home that is called ~ or is empty
        raise CacheError(_HOMELESS)
    return folder


def dataset_folder(cache: Path, corpus: Corpus, rules: Rules) -> Path:
    """The folder of a dataset; its name follows from the files (their places, sizes and times) and the rules."""
    key: dict[str, Any] = {
        "version": _CORPUS_VERSION if rules.documents == "corpus" else _VERSION,
        "unicode": unicodedata.unidata_version,
        "files": [file.identity for file in corpus.files],
        **asdict(rules),
        "hold_out": rules.held_out,
    }
    del key["skip_undecodable"]  # the list of files shows its effect
    if not rules.keeps_order:
        del key["development"]  # the same ids in the same order
    if rules.verbatim:
        del key["verbatim"]  # earlier releases knew no other way to read
    return cache / "datasets" / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]


def distributions_folder(cache: Path, teacher_sha256: str, ids_sha256: str) -> Path:
    """The folder of a teacher's distributions over a text; its name follows from the content of both."""
    key = json.dumps([_DISTRIBUTIONS_VERSION, teacher_sha256, ids_sha256])
    return cache / "teachers" / hashlib.sha256(key.encode()).hexdigest()[:32]


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Waits until no other process makes a folder beside ``folder``: for work that takes all cores."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = os.open(folder.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # without locks, as on some network file systems, each process does the work
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write to, which becomes ``folder`` at the end, or vanishes if there was an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_PARTIAL) as name, _held(Path(name) / _LOCK):
        partial = Path(name) / "content"
        partial.mkdir()
        yield partial
        try:
            partial.rename(folder)
        except OSError:
            if not folder.exists():  # otherwise another process has made it meanwhile
                raise


def remove_abandoned(cache: Path) -> None:
    """Removes the unfinished folders of processes that were killed."""
    for lock in cache.glob(f"*/{_PARTIAL}*/{_LOCK}"):
        with suppress(OSError), lock.open("rb+") as file:
            _lock(file)  # raises BlockingIOError if the process lives
            shutil.rmtree(lock.parent, ignore_errors=True)


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    """Holds a lock file, which the operating system lets go of when the process ends."""
    new = lock.with_suffix(".new")
    with new.open("wb") as file:
        with suppress(OSError):  # some network file systems have no locks; there, abandoned folders stay
            _lock(file)
        new.rename(lock)  # so that nobody sees it unlocked
        yield


def _lock(file: BinaryIO) -> None:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
