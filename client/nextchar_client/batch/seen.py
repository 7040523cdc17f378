"""Texts that were seen: a set in a file, for more texts than memory holds.

Below the filters. SQLite's B-tree keeps the texts themselves, so the answers are exact. Invariant: the file holds
nothing that can't be made again, so it needs no care when a command is killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

_CACHE_KIB = 128 * 1024


class Seen:
    """A set of texts in a new file at ``path``, or in a temporary one; closing it removes the file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        if path is not None:
            path.unlink(missing_ok=True)  # of a command that was killed
        self._base = sqlite3.connect("" if path is None else path, isolation_level=None, check_same_thread=False)
        for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{_CACHE_KIB}"):
            self._base.execute(f"PRAGMA {setting}")
        self._base.execute("CREATE TABLE seen (text TEXT PRIMARY KEY) WITHOUT ROWID")
        self._base.execute("BEGIN")  # never committed: pages that don't fit the cache are written all the same
        self._count = 0

    def add(self, text: str) -> bool:
        """Adds ``text``, and returns whether it is new."""
        return self._base.execute("INSERT OR IGNORE INTO seen VALUES (?)", (text,)).rowcount == 1

    def add_all(self, texts: Iterable[str]) -> None:
        """Adds ``texts``."""
        self._base.executemany("INSERT OR IGNORE INTO seen VALUES (?)", ((text,) for text in texts))

    def __contains__(self, text: str) -> bool:
        return self._base.execute("SELECT 1 FROM seen WHERE text = ?", (text,)).fetchone() is not None

    def close(self) -> None:
        """Removes the set."""
        self._base.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
