"""docs/operations.md has every metric, status and log event of the server, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from nextchar.v1 import generation_pb2
from nextchar_server.rpc.errors import RequestError
from tests.support.pages import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()
PACKAGES = {"nextchar_server", "nextchar_model", "nextchar_training", "nextchar_client", "nextchar_cli"}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def first_cells(section: str) -> list[str]:
    """The code in the first cells of the tables in a section of the page."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [code for cell in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for code in re.findall(r"`(.*?)`", cell)]


def nodes() -> Iterator[ast.AST]:
    for path in sorted((ROOT / "server" / "nextchar_server").rglob("*.py")):
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def metrics() -> set[str]:
    """The metrics that the server's code names, without the ending that counters get."""
    names = {node.value for node in nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    metric = re.compile(r"(?:nextchar|grpc_server)_[a-z_]+")
    return {name.removesuffix("_total") for name in names - PACKAGES if metric.fullmatch(name)}


def events() -> set[str]:
    """The events that the server's code logs."""
    found = set()
    for node in nodes():
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="_log"), attr=level), args=[ast.Constant(value=event)]):
                if level in LEVELS:
                    found.add(str(event))
            case ast.Call(func=ast.Attribute(attr="_log"), args=[ast.Constant(value=event)]):
                found.add(str(event))
    return found


def refusals() -> set[str]:
    waiting, found = [RequestError], set()
    while waiting:
        error = waiting.pop()
        waiting += error.__subclasses__()
        if hasattr(error, "reason"):
            found.add(error.reason)
    return found


@pytest.mark.parametrize(
    ("section", "known"),
    [
        ("Metrics", metrics()),
        ("Statuses", refusals()),
        ("The log's events", events()),
        ("Finish reasons", {name.removeprefix("FINISH_REASON_") for name in generation_pb2.FinishReason.keys()[1:]}),
    ],
    ids=["metrics", "statuses", "events", "finish reasons"],
)
def test_the_page_of_operations_has_exactly_what_the_server_has(section: str, known: set[str]) -> None:
    named = {name.partition("{")[0].removesuffix("_total") for name in first_cells(section)}
    assert named == known
