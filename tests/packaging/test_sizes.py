"""How long files and functions may be. Whatever is longer stands here with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("benchmarks", "cli", "client", "model", "server", "tests", "training")

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60

LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


def sources() -> Iterator[tuple[str, str]]:
    """Path, from the root, and text of each source file."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def lines_by_function() -> Iterator[tuple[str, int]]:
    """``path:name`` of each function, and its lines."""
    for path, text in sources():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_files_are_short_but_for_those_listed_with_a_reason() -> None:
    assert {path for path, text in sources() if len(text.splitlines()) > MAX_FILE_LINES} == set(LONG_FILES)


def test_functions_are_short_but_for_those_listed_with_a_reason() -> None:
    assert {name for name, lines in lines_by_function() if lines > MAX_FUNCTION_LINES} == set(LONG_FUNCTIONS)
