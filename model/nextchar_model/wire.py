"""The wire: reads messages in the encoding of protocol buffers by a schema, and refuses everything outside it.

``screen`` reads model files with it before onnxruntime does. The server doesn't install the package onnx, and its
classes would accept every field of ONNX, also those that make onnxruntime read other files. Here a schema names the
only fields that a message may have, so nothing can hide from the one who checks it.

Source: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # kinds of field
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}


class WireError(ValueError):
    """Bytes aren't a message of the schema. The message says which field is wrong."""


@dataclass
class Schema:
    """The fields that a message may have: their names and kinds, by their number in the encoding.

    A field whose name ends with ``*`` may occur several times. Its kind is ``int``, ``bytes`` or a message's schema, or
    None if it must not occur and its name is there for the message only.
    """

    name: str
    """The message in error messages, e.g. "a node"."""
    fields: dict[int, tuple[str, type[int] | type[bytes] | Schema | None]] = field(default_factory=dict)


Message = dict[str, list[Any]]
"""The values of each field that occurs, by its name without ``*``: numbers, bytes and messages."""


class Allowance:
    """The fields that may still be read, and how deep: messages of a few bytes would else take gigabytes to read."""

    def __init__(self, *, fields: int, depth: int) -> None:
        self.fields = fields
        self.depth = depth


def read(content: memoryview, schema: Schema, allowance: Allowance) -> Message:
    """Returns the message in ``content``.

    Raises ``WireError`` if a field isn't in ``schema``, occurs too often or is cut off, or if there are more than
    ``allowance`` says.
    """
    if allowance.depth == 0:
        raise WireError(f"{schema.name} is nested too deep")
    allowance.depth -= 1
    message: Message = {}
    for number, value in fields(content, allowance):
        name, kind = schema.fields.get(number, (f"a field {number}", None))
        if kind is None:
            raise WireError(f"{schema.name} has {name}, which no model file has")
        values = message.setdefault(name.rstrip("*"), [])
        if values and not name.endswith("*"):
            raise WireError(f"{schema.name} has its field {name} twice")
        if isinstance(value, int) != (kind is int):
            raise WireError(f"{schema.name} has a value of the wrong kind in its field {name}")
        if isinstance(kind, Schema) and not isinstance(value, int):
            values.append(read(value, kind, allowance))
        else:
            values.append(value if isinstance(value, int) else bytes(value))
    allowance.depth += 1
    return message


def fields(content: memoryview, allowance: Allowance) -> Iterator[tuple[int, int | memoryview]]:
    """Returns the number and the value of each field of a message, in their order. Raises ``WireError``."""
    place = 0
    while place < len(content):
        if allowance.fields == 0:
            raise WireError("it has too many fields")
        allowance.fields -= 1
        key, place = _varint(content, place)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise WireError("there is no field 0")
        if kind == _VARINT:
            value, place = _varint(content, place)
            yield number, value
            continue
        if kind == _LENGTH:
            size, place = _varint(content, place)
        elif kind in _FIXED_SIZES:
            size = _FIXED_SIZES[kind]
        else:
            raise WireError(f"there is no field of kind {kind}")
        if size > len(content) - place:
            raise WireError(f"field {number} is cut off")
        yield number, content[place : place + size]
        place += size


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    """Returns the number that begins at ``place``, and the place after it."""
    number = 0
    for shift, byte in enumerate(content[place : place + 10]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, place + shift + 1
    raise WireError("a number is cut off")
