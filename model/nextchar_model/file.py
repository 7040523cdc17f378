"""The model file: reading it, checking it, and recognizing files that people confuse with it.

The runner reads every model file here. People often name a neighbour of the file they mean, such as the run folder or
the checkpoint that it was exported from. The error then identifies the neighbour and tells people how to continue.

Invariant: a ``ModelFile`` is sealed and whole, or of the format from before there were seals; its graph is one of ours,
and the one that its description says.
"""

from __future__ import annotations

import os
import shlex
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .description import FORMAT_VERSION, METADATA_KEY, UNSEALED_VERSION, ModelDescription, ModelFileError
from .screen import ScreenError, metadata, screen
from .seal import SEAL_KEY, BrokenSealError, digests
from .wire import WireError

MAX_FILE_BYTES = 2**31 - 1
"""The largest message in the encoding of protocol buffers."""

_DONT_WAIT = getattr(os, "O_NONBLOCK", 0)  # Windows has no named pipes in folders
_HEAD = 4096  # bytes that show the kind of a file
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class ModelFile:
    """A model file that was found whole."""

    content: bytes
    description: ModelDescription
    digest: str
    """SHA-256 of the whole file, in hexadecimal."""
    is_sealed: bool
    """Whether the file vouches for itself. Files of the format before don't."""


def read_model_file(path: Path) -> ModelFile:
    """Reads and checks the file at ``path``.

    Raises ``ModelFileError`` if it can't be read, is damaged, or is something else than a model file.
    """
    content = _content(path)
    try:
        digest, is_sealed = digests(content)
    except BrokenSealError as error:
        raise ModelFileError(
            f"{path}: damaged: its content doesn't match the digest at its end; copy it again, or export it again"
        ) from error
    if other := _other_kind(path, content[:_HEAD]):
        raise ModelFileError(f"{path} is {other}")
    view = memoryview(content)
    try:
        entries, is_ours = metadata(view)
    except WireError as error:
        raise ModelFileError(
            f"{path}: not a readable ONNX file, damaged, cut off or of another kind: {error}"
        ) from error
    if is_ours and METADATA_KEY not in entries:
        raise ModelFileError(f"{path}: damaged or cut off: the model's description is missing")
    description = ModelDescription.from_metadata(
        entries, path, version=FORMAT_VERSION if is_sealed else UNSEALED_VERSION
    )
    if set(entries) != ({METADATA_KEY, SEAL_KEY} if is_sealed else {METADATA_KEY}):
        raise ModelFileError(f"{path}: damaged: its metadata has entries that no model file has")
    try:
        screen(view, description)
    except ScreenError as error:
        raise ModelFileError(f"{path}: not a nextchar model, or damaged: {error}") from error
    return ModelFile(content, description, digest, is_sealed)


def _content(path: Path) -> bytes:
    """Returns the bytes of the file at ``path``."""
    try:
        # A pipe without a writer would keep its reader waiting.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _DONT_WAIT)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelFileError(f"{path} is a device or a pipe, not a model file")
            if status.st_size > MAX_FILE_BYTES:
                raise ModelFileError(f"{path}: {status.st_size} bytes; a model file has at most {MAX_FILE_BYTES}")
            return file.read(status.st_size)
    except IsADirectoryError as error:
        raise ModelFileError(_folder(path)) from error
    except OSError as error:
        raise ModelFileError(f"{path}: can't be read: {error.strerror}") from error


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
