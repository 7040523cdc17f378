"""Model files that are changed as somebody might change them, and the messages with which they are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from nextchar_model.description import METADATA_KEY, ModelFileError
from nextchar_model.runner import Runner
from nextchar_model.seal import SEAL_KEY, sealed


def refusal(path: Path) -> str:
    """Opens the file at ``path`` and returns the error's message without the path in front."""
    with pytest.raises(ModelFileError) as caught:
        Runner(path).replay()
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert message.isprintable()
    assert len(message.removeprefix(str(path))) < 300
    assert "ONNXRuntimeError" not in message
    return message.removeprefix(str(path)).lstrip(": ")


def save_sealed(model: onnx.ModelProto, path: Path) -> Path:
    """Writes ``model`` to ``path`` with a seal that matches it."""
    entries = [entry for entry in model.metadata_props if entry.key != SEAL_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(entries)
    path.write_bytes(sealed(model.SerializeToString(deterministic=True)))
    return path


def with_description(source: Path, target: Path, text: Callable[[str], str | bytes]) -> Path:
    """Writes the model file ``source`` to ``target``, sealed, with ``text`` of its description in its place."""
    model = onnx.load(source)
    (entry,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
    changed = text(entry.value)
    mark = "\x00mark"
    entry.value = mark if isinstance(changed, bytes) else changed
    save_sealed(model, target)
    if isinstance(changed, bytes):  # bytes that no string field of the package onnx takes
        assert len(changed) == len(mark)
        content = target.read_bytes()[: -len(sealed(b""))].replace(mark.encode(), changed)
        target.write_bytes(sealed(content))
    return target


def edited(source: Path, target: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Writes the model file ``source`` to ``target``, sealed, with its description changed by ``edit``."""

    def changed(text: str) -> str:
        document = json.loads(text)
        edit(document)
        return json.dumps(document)

    return with_description(source, target, changed)


def with_graph(source: Path, target: Path, edit: Callable[[onnx.ModelProto], object]) -> Path:
    """Writes the model file ``source`` to ``target``, sealed, with its ONNX model changed by ``edit``."""
    model = onnx.load(source)
    edit(model)
    return save_sealed(model, target)
