"""The project's pages as tests read them: prose, fenced blocks, commands, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMANDS = {"nextchar", "nextchar-train", "nextchar-server"}

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_SHELL = {"bash", "console"}


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is the number of its first line in the page."""

    language: str
    line: int
    text: str


def blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of ``page``."""
    text = page.read_text()
    return [Block(m["language"], text.count("\n", 0, m.start("text")) + 1, m["text"]) for m in _FENCE.finditer(text)]


def prose(page: Path) -> str:
    """Returns the text of ``page`` with code blanked out, so that offsets and line numbers stay."""
    return _CODE.sub(_blank, _FENCE.sub(_blank, page.read_text()))


def inline_code(page: Path) -> list[str]:
    """Returns the code spans of ``page`` outside fenced blocks, without their backticks."""
    return [match[0][1:-1] for match in _CODE.finditer(_FENCE.sub(_blank, page.read_text()))]


def shell_lines(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields the shell commands of ``page`` with their line numbers, as words without assignments and redirections.

    In a ``console`` block, lines that start with ``$`` are commands and all others are output.
    """
    for block in blocks(page):
        if block.language not in _SHELL:
            continue
        lines = re.sub(r"\\\n", lambda _: " \0", block.text).split("\n")
        number = block.line
        for line in lines:
            if line.startswith("$ ") or block.language != "console":
                words = _words(line.removeprefix("$ ").replace("\0", ""))
                if words:
                    yield number, words
            number += 1 + line.count("\0")


def _words(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"\w+=.*", words[0]):
        del words[0]
    for end, word in enumerate(words):
        if word in ("<", ">", "|", "&", "&&"):
            return words[:end]
    return words


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])
