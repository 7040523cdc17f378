"""Links between pages resolve, and the README's figures are measured ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT, prose

LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
RESULTS = ROOT / "benchmarks" / "results" / "results.md"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and MkDocs make of the headings of ``page``."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_resolve(page: Path) -> None:
    broken = []
    for match in LINK.finditer(prose(page)):
        path, _, anchor = match["target"].partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        generated = target.name == "api.md"  # its anchors are made of docstrings
        if not target.exists() or (anchor and not generated and anchor not in anchors(target)):
            broken.append(match["target"])
    assert not broken


def test_every_page_of_the_docs_is_reachable_from_the_index() -> None:
    docs = ROOT / "docs"
    seen: set[Path] = set()
    waiting = [docs / "index.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        links = [(page.parent / m["target"].partition("#")[0]).resolve() for m in LINK.finditer(prose(page))]
        waiting += [link for link in links if link.suffix == ".md" and link.is_relative_to(docs) and link not in seen]
    assert seen >= set(docs.rglob("*.md"))


def test_the_figures_of_the_readme_are_those_of_the_last_benchmark() -> None:
    section = re.search(r"^## How fast\n(.*?)^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None
    number = re.compile(r"(?<![\w.,])\d+(?:,\d{3})*(?:\.\d+)?")
    stated = set(number.findall(section[1]))
    assert len(stated) > 8
    assert not stated - set(number.findall(RESULTS.read_text()))
