"""The tutorials show the code and the output of the examples, which tests run."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from tests.support.pages import ROOT, blocks, shell_lines

TUTORIALS = {"names.md": "invented_names.py", "korean.md": "korean_addresses.py", "anomalies.md": "log_anomalies.py"}
FOLDER = ROOT / "docs" / "tutorials"


def test_every_tutorial_has_an_example() -> None:
    assert {page.name for page in FOLDER.glob("*.md")} == set(TUTORIALS)


@pytest.mark.parametrize(("page", "example"), TUTORIALS.items(), ids=TUTORIALS)
def test_a_tutorial_runs_its_example(page: str, example: str) -> None:
    _, words = next(shell_lines(FOLDER / page))
    assert words[:2] == ["python", f"examples/{example}"]
    source = (ROOT / "examples" / example).read_text(encoding="utf-8")
    assert not [word for word in words[2:] if word.startswith("--") and f'"{word}"' not in source]


@pytest.mark.parametrize(("page", "example"), TUTORIALS.items(), ids=TUTORIALS)
def test_a_tutorial_shows_lines_of_its_example(page: str, example: str) -> None:
    assert not [text for text in shown(FOLDER / page) if not stands_in(text, ROOT / "examples" / example)]


def shown(page: Path) -> list[str]:
    """The code and the output that a page shows."""
    return [block.text for block in blocks(page) if block.language in {"python", "text"}]


def stands_in(text: str, example: Path) -> bool:
    """Whether ``example`` has the lines of ``text``, at whichever depth."""
    source = example.read_text(encoding="utf-8")
    return any(indent(dedent(text), " " * depth) in source for depth in range(0, 16, 4))
