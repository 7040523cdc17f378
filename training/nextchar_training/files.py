"""Files that are written whole or not at all.

Checkpoints, snapshots, held-out documents, loss tables, pictures, reports and model files are all written here. Whoever
reads one of them, at whatever moment, finds the old content or the new, and never half of either.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

_KEPT = 40  # characters of a name that its unfinished file keeps: with its suffix, at most 168 bytes of 255


def write_whole(path: Path, content: bytes | memoryview, *, kind: str = "file") -> None:
    """Writes ``content`` to a file beside ``path``, forces it onto the disk, then renames it to ``path``.

    ``kind`` names the content in the error, e.g. "checkpoint". Raises ``OSError``, which names ``path``, if that fails
    or if ``path`` is a device or a pipe: the file that was at ``path`` before is then untouched, and nothing else is
    left behind.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # a device or a pipe, which the rename would replace
        raise OSError(errno.EINVAL, f"the {kind} was not written: not a regular file", str(path))
    partial = path.with_name(f"{path.name[:_KEPT]}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OSError(error.errno, f"the {kind} was not written: {error.strerror}", str(path)) from error
    finally:
        partial.unlink(missing_ok=True)  # nothing to do after a rename


def write_text(path: Path, text: str, *, kind: str = "file") -> None:
    """Writes ``text`` in UTF-8, as ``write_whole`` does."""
    write_whole(path, text.encode(), kind=kind)


def obstacle(folder: Path) -> str | None:
    """Returns why no file can be written into ``folder``, which need not exist yet, or None if one can."""
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is not a folder"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"{folder} is not writable"
