"""The model file: reading it, and recognizing files that people confuse with it.

The runner reads every model file here. People often name a neighbour of the file they mean, such as the run folder or
the checkpoint that it was exported from. The error then identifies the neighbour and tells people how to continue.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path

from .description import ModelFileError

_HEAD = 4096  # bytes that show the kind of a file
_ZIP = b"PK\x03\x04"


def read_model_file(path: Path) -> bytes:
    """Returns the content of the file at ``path``.

    Raises ``ModelFileError`` if it can't be read, or if it is recognizably something else than a model file.
    """
    try:
        content = path.read_bytes()
    except IsADirectoryError as error:
        raise ModelFileError(_folder(path)) from error
    except OSError as error:
        raise ModelFileError(f"{path}: can't be read: {error.strerror}") from error
    if other := _other_kind(path, content[:_HEAD]):
        raise ModelFileError(f"{path} is {other}")
    return content


def _folder(path: Path) -> str:
    with suppress(OSError):  # the folder may be closed to this user
        if (path / "best.pt").is_file():
            return f"{path} is a run folder; {_export(path)}"
    return f"{path} is a folder, not a model file: name the .onnx file itself"


def _other_kind(path: Path, head: bytes) -> str | None:
    """Identifies a file by its first bytes, and adds the remedy. Returns None if it may be a model file."""
    if not head:
        return "empty, not a model file"
    if head.startswith(_ZIP) and b"nextchar checkpoint" in head:
        return f"a training checkpoint; {_export(path)}"
    if head.startswith(_ZIP) and b"nextchar stopped run" in head:
        return f"a snapshot of a training; {_export(path.parent)}"
    if _is_text(head):
        return "a text file, not a model file: name the .onnx file that nextchar-train export wrote"
    return None


def _export(path: Path) -> str:
    return f"export it first: nextchar-train export {shlex.quote(str(path))} --out model.onnx"


def _is_text(head: bytes) -> bool:
    """Whether ``head`` is UTF-8, except for a character cut off at its end, without control characters."""
    text = head.decode(errors="ignore")
    return len(text.encode()) > len(head) - 4 and all(one.isprintable() or one.isspace() for one in text)
