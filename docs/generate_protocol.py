"""Writes docs/protocol.md, the protocol with its comments: ``python -m docs.generate_protocol``."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import grpc_tools
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

PAGE = Path(__file__).with_name("protocol.md")

_FILE = "nextchar/v1/generation.proto"
_FOLDERS = Path(__file__).parents[1] / "proto", Path(grpc_tools.__file__).parent / "_proto"
# Numbers of fields of FileDescriptorProto; a part is a method, field or value.
_MESSAGE, _ENUM, _SERVICE, _SYNTAX, _PART = 4, 5, 6, 12, 2

_NAME = re.compile(r"\b(?:[A-Z]\w+\.)?(?:[a-z]+(?:_[a-z]+)+|[A-Z]+(?:_[A-Z]+)+)\b")
"""A name of a field or of a value in a comment, perhaps behind that of its message."""

_HEAD = f"""\
# Protocol

The contract `nextchar.v1`, as the comments of [generation.proto](../proto/{_FILE}) describe it.
`python -m docs.generate_protocol` writes this page: change the comments, not the page.
[Operations](operations.md#statuses) lists the statuses with which calls end.
"""

_Place = tuple[int, ...]


class _Comments:
    """The comments of a file and where they stand, by the paths of the elements."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._locations = {tuple(at.path): at for at in file.source_code_info.location}

    def text(self, path: _Place) -> str:
        """Returns the comment of an element in one line, as Markdown."""
        return _marked(" ".join(self._locations[path].leading_comments.split()))

    def line(self, path: _Place) -> int:
        """Returns the line in which an element begins."""
        return self._locations[path].span[0]


def generated() -> str:
    """Returns the page."""
    file = _described()
    comments = _Comments(file)
    parts = [
        *(((_SERVICE, n), _service(one, comments, n)) for n, one in enumerate(file.service)),
        *(((_MESSAGE, n), _message(one, comments, n)) for n, one in enumerate(file.message_type)),
        *(((_ENUM, n), _enum(one, comments, n)) for n, one in enumerate(file.enum_type)),
    ]
    parts.sort(key=lambda part: comments.line(part[0]))
    return "\n".join([_HEAD, f"{comments.text((_SYNTAX,))}\n", *(text for _, text in parts)])


def _described() -> FileDescriptorProto:
    with tempfile.NamedTemporaryFile(suffix=".binpb") as out:
        folders = [f"-I{folder}" for folder in _FOLDERS]
        options = ["--include_source_info", f"--descriptor_set_out={out.name}"]
        if protoc.main(["protoc", *folders, *options, _FILE]):
            raise SystemExit("protoc failed")
        return FileDescriptorSet.FromString(out.read()).file[0]


def _service(service: ServiceDescriptorProto, comments: _Comments, number: int) -> str:
    rows = []
    for n, method in enumerate(service.method):
        ask, answer = (
            f"{'stream of ' if streams else ''}{_link(name)}"
            for streams, name in (
                (method.client_streaming, method.input_type),
                (method.server_streaming, method.output_type),
            )
        )
        rows.append(f"| `{method.name}` | {ask} | {answer} | {comments.text((_SERVICE, number, _PART, n))} |")
    head = f"## {service.name}\n\n{comments.text((_SERVICE, number))}\n\n"
    return head + "\n".join(["| method | request | answer | |", "|---|---|---|---|", *rows]) + "\n"


def _message(message: DescriptorProto, comments: _Comments, number: int) -> str:
    head = f"## {message.name}\n\n{comments.text((_MESSAGE, number))}\n"
    if not message.field:
        return head
    rows = [
        f"| `{field.name}` | {_kind(message, field)} | {comments.text((_MESSAGE, number, _PART, n))} |"
        for n, field in enumerate(message.field)
    ]
    return f"{head}\n" + "\n".join(["| field | type | |", "|---|---|---|", *rows]) + "\n"


def _enum(enum: EnumDescriptorProto, comments: _Comments, number: int) -> str:
    rows = [
        f"| `{value.name}` | {value.number} | {comments.text((_ENUM, number, _PART, n))} |"
        for n, value in enumerate(enum.value)
    ]
    head = f"## {enum.name}\n\n{comments.text((_ENUM, number))}\n\n"
    return head + "\n".join(["| value | number | |", "|---|---|---|", *rows]) + "\n"


def _kind(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    """Returns the type of a field, and whether it is one of several, a choice, or may be absent."""
    for nested in message.nested_type:
        if nested.options.map_entry and field.type_name.endswith(f".{nested.name}"):
            return f"map of {_plain(nested.field[0])} to {_plain(nested.field[1])}"
    kind = _plain(field)
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {kind}"
    if field.proto3_optional:
        return f"optional {kind}"
    if field.HasField("oneof_index"):
        return f"{kind}, one of `{message.oneof_decl[field.oneof_index].name}`"
    return kind


def _plain(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _link(field.type_name)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _link(type_name: str) -> str:
    """Returns a link to a message of the contract, or the name of another one."""
    name = type_name.rpartition(".")[2]
    return f"[{name}](#{name.lower()})" if type_name.startswith(".nextchar.") else name


def _marked(text: str) -> str:
    """Returns ``text`` as Markdown of a table's cell: names of fields and values as code, signs escaped."""
    pieces = text.split("`")  # every second one is code already
    for n, piece in enumerate(pieces[::2]):
        escaped = re.sub(r"([|*<\[\]])", r"\\\1", piece)
        pieces[2 * n] = _NAME.sub(r"`\g<0>`", escaped)
    return "`".join(pieces)


if __name__ == "__main__":
    PAGE.write_text(generated(), encoding="utf-8")
