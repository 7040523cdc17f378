"""Every command in README and docs parses, by the parsers that users meet."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from textwrap import indent

import pytest
from cyclopts import App

from tests.support.pages import COMMANDS, PAGES, ROOT, blocks, inline_code, shell_lines

GENERATED = ROOT / "docs" / "cli.md"
WRITTEN = [page for page in PAGES if page != GENERATED]


def app_of(command: str) -> App:
    module = {
        "nextchar": "nextchar_client.commands",
        "nextchar-train": "nextchar_training.commands",
        "nextchar-server": "nextchar_server.cli",
    }[command]
    app = importlib.import_module(module).app
    assert isinstance(app, App)
    return app


def commands() -> Iterator[tuple[str, list[str]]]:
    for page in WRITTEN:
        for line, words in shell_lines(page):
            name = words[0].rpartition("/")[2]
            if name in COMMANDS:
                yield f"{page.relative_to(ROOT)}:{line}", [name, *words[1:]]


def test_every_block_names_its_language() -> None:
    assert not [f"{page.name}:{block.line}" for page in WRITTEN for block in blocks(page) if not block.language]


@pytest.mark.parametrize("words", [pytest.param(words, id=where) for where, words in commands()])
def test_a_command_in_the_docs_parses(words: list[str]) -> None:
    app_of(words[0]).parse_args(words[1:], print_error=False, exit_on_error=False)


def test_the_docs_show_every_command() -> None:
    shown = {tuple(words[: 1 if words[0] == "nextchar-server" else 2]) for _, words in commands()}
    verbs = {
        (name, verb) for name in ("nextchar", "nextchar-train") for verb in app_of(name) if not verb.startswith("-")
    }
    assert verbs | {("nextchar-server",)} <= shown


def options(app: App) -> set[str]:
    names = set(app)
    for verb in app:
        if not verb.startswith("-"):
            names |= options(app[verb])
    if app.default_command is not None:
        names |= {name for argument in app.assemble_argument_collection() for name in argument.names}
    return names


def test_an_option_named_in_the_docs_exists() -> None:
    lecture = (ROOT / "training/nextchar_training/lecture/__main__.py").read_text()
    others = {"--ulimit", "--namespace", *re.findall(r"--[a-z]+", lecture)}  # Docker's, kubectl's, the lecture's
    known = set().union(others, *(options(app_of(command)) for command in COMMANDS))
    named = {
        (option, str(page.relative_to(ROOT)))
        for page in WRITTEN
        if page.name != "CHANGELOG.md"  # which also names removed ones
        for code in inline_code(page)
        if code.startswith("--")
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)
    }
    assert named, "the pages name options"
    assert not {(option, page) for option, page in named if option not in known}


def test_a_make_target_in_the_docs_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        match[1]
        for page in WRITTEN
        for text in [*inline_code(page), *(block.text for block in blocks(page))]
        for match in re.finditer(r"^(?:\$ )?make ([a-z-]+)", text, re.MULTILINE)
    }
    assert "test-fast" in named
    assert named <= targets


def python_blocks() -> Iterator[tuple[str, str]]:
    for page in WRITTEN:
        for block in blocks(page):
            if block.language == "python":
                yield f"{page.relative_to(ROOT)}:{block.line}", block.text


@pytest.mark.parametrize("text", [pytest.param(text, id=where) for where, text in python_blocks()])
def test_python_in_the_docs_compiles_and_its_imports_exist(text: str) -> None:
    compile(f"async def block():\n{indent(text, '    ')}", "<docs>", "exec")  # it may be the body of a function
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            missing = [name.name for name in node.names if not hasattr(module, name.name)]
            assert not missing, f"{node.module} has no {', '.join(missing)}"
