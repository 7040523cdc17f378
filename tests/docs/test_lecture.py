"""The chapter of the lecture shows the code as it is, and the pictures that it names, in both languages."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent, indent

import pytest

from tests.support.pages import ROOT, blocks

CODE = "".join(path.read_text() for path in sorted((ROOT / "training/nextchar_training/lecture").glob("*.py")))
CHAPTERS = pytest.mark.parametrize("chapter", [ROOT / "docs/lecture.md", ROOT / "docs/ko/lecture.md"], ids=["en", "ko"])


def stands(block: str) -> bool:
    """Whether the lines of ``block`` follow each other in the lecture's code, at any depth."""
    return any(f"\n{indent(dedent(block), ' ' * depth)}" in CODE for depth in (0, 4, 8, 12, 16))


@CHAPTERS
def test_its_lines_of_code_are_those_of_the_lecture(chapter: Path) -> None:
    shown = [block.text for block in blocks(chapter) if block.language == "python"]
    assert len(shown) == 7
    assert not [text for text in shown if not stands(text)]


def test_both_languages_show_the_same_code_and_pictures() -> None:
    english, korean = ROOT / "docs/lecture.md", ROOT / "docs/ko/lecture.md"
    assert [b.text for b in blocks(english)] == [b.text for b in blocks(korean)]
    pictures = [re.findall(r"pictures/[\w-]+\.\w+", page.read_text()) for page in (english, korean)]
    assert pictures[0] == pictures[1]
