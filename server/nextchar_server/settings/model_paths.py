"""Model paths: from ``[NAME=]PATH`` to the name of a model and the path of its file, and from a name to its share.

A path may hold the characters that part a name from it (``=``) and the models of a variable (``,``), as in
``runs/lr=0.006/m.onnx``. Invariant: a value that exists as a file is that file, and a name holds no path separator. A
value that can be read in two ways, both of which exist, is refused.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

MAX_NAME = 255
"""Most bytes of a model's name in UTF-8, which is also the most of a file's name."""

_CANARY = re.compile(r"([^@]+)@(\d{1,2}(?:\.\d{1,3})?)%(-[^@]+)?")


def name_and_path(value: str, folder: Path = Path()) -> tuple[str, Path]:
    """Returns the name and the path that ``value`` stands for. Raises ``ValueError`` if it is ambiguous.

    The name is the file's without .onnx, unless it is given. Whether a relative path exists is looked up in ``folder``.
    """
    name, separator, path = value.partition("=")
    has_name = bool(separator) and not _has_separator(name)
    if not has_name or is_there(folder / value):
        if has_name and is_there(folder / path):
            raise ValueError(
                f"{value!r} and {path!r} both exist; write {_here(value)!r} for the first, or "
                f"{name + '=' + _here(path)!r} for the second"
            )
        return Path(value).stem, Path(value)
    return name, Path(path)


def check_name(value: str, name: str) -> None:
    """Raises ``ValueError`` if ``name``, which comes from ``value``, can't be the name of a model.

    It stands in messages, metrics and the log.
    """
    if not name:
        raise ValueError(f"{value!r} has no name; write NAME=PATH or PATH")
    for offset, character in enumerate(name):
        if not character.isprintable():
            raise ValueError(
                f"{_shortened(name)} can't be the name of a model: the character at offset {offset} is "
                f"{_described(character)}; name the model with NAME=PATH"
            )
    try:
        name_and_share(name)
    except ValueError as error:
        raise ValueError(f"{_shortened(name)} can't be the name of a model: {error}") from None
    if (size := len(name.encode())) > MAX_NAME:
        raise ValueError(f"{_shortened(name)} can't be the name of a model: it has {size} bytes; at most {MAX_NAME}")


def name_and_share(name: str) -> tuple[str, float | None]:
    """Returns the name by which requests ask for the model called ``name``, and the share of them that it serves.

    ``verse@10%`` and ``verse@10%-b`` serve a tenth of the requests for ``verse``; ``verse`` itself serves the rest, and
    its share is None. Raises ``ValueError`` if ``name`` has an @ that isn't followed by a share.
    """
    if "@" not in name:
        return name, None
    found = _CANARY.fullmatch(name)
    if found is None or not (share := float(found[2]) / 100):
        raise ValueError("after an @ follows the share of a version, such as verse@10% or verse@10%-label")
    return found[1], share


def split_at_commas(value: str) -> list[str]:
    """Returns the models that a variable holds. A comma inside the path of a file doesn't part two of them.

    Raises ``ValueError`` if both a path with a comma and its parts exist.
    """
    pieces = value.split(",")
    models: list[str] = []
    while pieces:
        count = next((n for n in range(len(pieces), 1, -1) if _exists(",".join(pieces[:n]))), 1)
        model = ",".join(pieces[:count])
        if count > 1 and all(map(_exists, pieces[:count])):
            raise ValueError(f"{model!r} and its parts at the commas exist; use --model, once for each model")
        models.append(model)
        pieces = pieces[count:]
    return models


def _exists(value: str) -> bool:
    name, separator, path = value.partition("=")
    return is_there(value) or bool(separator and not _has_separator(name) and is_there(path))


def is_there(path: str | Path) -> bool:
    """Returns whether there is a file or a folder at ``path``."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises an error if a name is too long


def _here(path: str) -> str:
    return path if _has_separator(path) else f".{os.sep}{path}"


def _has_separator(name: str) -> bool:
    return os.sep in name or (os.altsep is not None and os.altsep in name)


def _described(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # Python passes undecodable bytes on as lone surrogates
        return f"the byte 0x{ord(character) & 0xFF:02x}, which is not UTF-8"
    return f"U+{ord(character):04X}, which can't be printed"


def _shortened(name: str) -> str:
    return repr(name) if len(name) <= 60 else f"{name[:60]!r}…"
