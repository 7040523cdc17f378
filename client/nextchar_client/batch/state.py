"""The state of an output: how far it is, and its recipe, in a small file beside it.

Invariant: the file is written whole or not at all, and never says that more of the output is there than is on the disk.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

VERSION = 1


class StateError(Exception):
    """An output can't be continued; the message says why, and what to do."""


@dataclass
class Progress:
    """How far a batch is."""

    number: int = 0
    """Number of the next text to make."""
    lines: int = 0
    """Records that were kept."""
    characters: int = 0
    """Characters of all texts, also of rejected ones."""
    rejects: Counter[str] = field(default_factory=Counter)
    """Rejected texts, by reason."""

    @property
    def rejected(self) -> int:
        """Number of rejected texts."""
        return self.rejects.total()


@dataclass(frozen=True)
class State:
    """An output so far."""

    made_from: dict[str, Any]
    """All on which its bytes depend, as JSON values: the seed, the model, the options, the filters."""
    size: int = 0
    """Bytes of the output that are whole lines."""
    is_complete: bool = False
    """Whether nothing is missing."""
    progress: Progress = field(default_factory=Progress)
    """How far it is."""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The state in the file at ``path``; None if it doesn't exist. Raises ``StateError`` if it is damaged."""
        try:
            value = json.loads(path.read_bytes())
            if value.pop("version") != VERSION:
                raise StateError(f"{path} is of another version of nextchar; name another output")
            progress = value.pop("progress")
            return cls(**value, progress=Progress(**{**progress, "rejects": Counter(progress["rejects"])}))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StateError(
                f"{path} is no state of a batch; remove it and its output, or name another output"
            ) from None

    def write(self, path: Path) -> None:
        """Replaces the file at ``path``."""
        new = path.with_name(f"{path.name}.new")
        progress = {**vars(self.progress), "rejects": dict(self.progress.rejects)}
        value = {"version": VERSION, **vars(self), "progress": progress}
        with new.open("wb") as file:
            file.write(json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def require(self, made_from: dict[str, Any]) -> None:
        """Raises ``StateError``, which names the differences, unless the output is made from ``made_from``."""
        ours, theirs = json.loads(json.dumps(made_from)), self.made_from
        names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
        if names:
            found = (f"{name} {_shown(theirs.get(name))}, not {_shown(ours.get(name))}" for name in names)
            raise StateError(f"the output was begun with {'; '.join(found)}; name another output")

    def after(self, size: int, progress: Progress, *, is_complete: bool) -> State:
        """The state of the same output with ``size`` bytes."""
        return replace(self, size=size, progress=progress, is_complete=is_complete)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}…"
