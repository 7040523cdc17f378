"""Docstrings, comments and pages are in plain English: the forms below are those that readers had to decode.

Each rule has an example that it catches and one that it leaves, so that it can neither rot nor grow too broad.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tokenize import COMMENT, generate_tokens

import pytest

from tests.support.pages import PAGES, ROOT, prose

PACKAGES = ("cli", "model", "training", "server", "client", "benchmarks")
MOST_WHATS = 10
"""Docstrings, and paragraphs of pages, that may lean on a headless "what": sometimes it is the shortest way."""


@dataclass(frozen=True)
class Rule:
    """A form to avoid: ``pattern`` finds it, ``remedy`` replaces it."""

    pattern: re.Pattern[str]
    remedy: str
    caught: str
    left: str


def rule(pattern: str, remedy: str, *, caught: str, left: str) -> Rule:
    return Rule(re.compile(pattern), remedy, caught, left)


UNIT = r"(?:characters?|nats|bits|ids|steps|bytes|rows|ms|µs|KiB|KB|calls|requests|messages|operations|times|loss|one)"
WHOLE = r"(?:second|minute|character|id|step|turn|row|line|lane|stream|request|message|token|process|core|epoch|node)"

PLACE = r"\b(?:begins?|starts?|ends?|stands?|stood|lies?|goes|comes|came|lives?|listens?|meets?|belongs?|leaves)\b"

HEADLESS_WHAT = rule(
    # Not in an indirect question ("says what it did", "what is wrong", "what to do").
    r"(?<!\bsays )(?<!\bsay )(?<!\bsaid )(?<!\bshows )(?<!\bshow )(?<!\bknows )(?<!\bknow )(?<!\basks )(?<!\bask )"
    r"(?<!\btells )(?<!\btell )(?<!\bdecides )(?<!\bexplains )(?<!\bsee )"
    r"\b[Ww]hat\b(?! is wrong| to \w+\b)",
    "name the thing: a noun, or the text that, the rows that",
    caught="Writes what was not read.",
    left="A message says what is wrong. Invariant: ids are below V.",
)
WHERE_FOR_IF = rule(
    r"\b[Rr]aises (?:``[^`]*``|[^.;`])*\bwhere\b"
    r"|\b(?:None|nothing|empty|zero|also),? where\b"
    r"|\bwhere [\w` -]{1,30} (?:has none|has no|is a terminal|is full|is missing|is large|is near|was broken)\b"
    r"|\bwhere (?:there|no|none|nothing)\b"
    rf"|[,;:] (?:(?:or|and|but) )?where (?:there|it|they|that|no|this|these|both) (?!{PLACE})"
    rf"|(?:(?<=[.;:] )|^)Where (?![^.]*{PLACE})[^.:]*,"
    r"|\bwhere (?:asked|given|wanted|needed|possible|known|set|told)\b"
    r"|(?<!\bbe )(?<!\bstay )\bwhere (?:that|this|they|these|one|``[\w.]+``|any|its?) "
    r"(?:is|are|has|have|was|were|does|do|fails?|gives?|wants?)\b",
    "if",
    caught="Raises ``OSError`` where there is no file.",
    left="The place where a passage begins: where it stands in the text, and where the next one ends.",
)
RULES = [
    rule(
        r"\b(?:Gives|gives back|and gives|it gives)\b",
        "Returns",
        caught="Gives the next id.",
        left="The same seed gives the same text.",
    ),
    rule(r"\b(?:go|goes|going|gone|went) on\b", "continue", caught="The run goes on.", left="It goes one way."),
    rule(r"\bso many\b", "`count` …", caught="After so many steps.", left="So far, many steps."),
    rule(r"\bbut for\b", "except", caught="All but for the last.", left="Not for each but from the first."),
    rule(r"\bis none\b", "is invalid", caught="Raises it for a file that is none.", left="The default is None."),
    rule(
        rf"\b{UNIT} an? {WHOLE}\b",
        "per",
        caught="64,000 characters a second.",
        left="Characters per second. It takes a second.",
    ),
]


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (path for path in sorted((ROOT / package).rglob("*.py")) if "_pb2" not in path.name)


@cache
def docstrings() -> list[tuple[str, str]]:
    """The place and the text of every docstring, those of attributes included."""
    return [(f"{path.relative_to(ROOT)}:{line}", text) for path in modules() for line, text in docstrings_of(path)]


def docstrings_of(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                match statement:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        yield statement.lineno, " ".join(text.split())


@cache
def comments() -> list[tuple[str, str]]:
    """The place and the text of every comment; lines that follow each other are one comment."""
    found: list[tuple[str, str]] = []
    for path in modules():
        last = -1
        with path.open(encoding="utf-8") as file:
            tokens = [token for token in generate_tokens(file.readline) if token.type == COMMENT]
        for token in tokens:
            line, text = token.start[0], token.string.lstrip("# ")
            if line == last + 1:
                place, begun = found.pop()
                found.append((place, f"{begun} {text}"))
            else:
                found.append((f"{path.relative_to(ROOT)}:{line}", text))
            last = line
    return found


def offences(texts: list[tuple[str, str]], rule: Rule) -> list[str]:
    found = []
    for place, text in texts:
        match = rule.pattern.search(text)
        if match is not None:
            found.append(f"{place}: …{text[max(0, match.start() - 30) : match.end() + 30]}… → {rule.remedy}")
    return found


@cache
def paragraphs() -> list[tuple[str, str]]:
    """The place and the text of every paragraph of the pages, without code."""
    found = []
    for page in PAGES:
        text = prose(page)
        for match in re.finditer(r"(?:.+\n?)+", text):
            line = text.count("\n", 0, match.start()) + 1
            found.append((f"{page.relative_to(ROOT)}:{line}", " ".join(match[0].split())))
    return found


@pytest.mark.parametrize("rule", [HEADLESS_WHAT, WHERE_FOR_IF, *RULES], ids=lambda rule: rule.caught)
def test_a_rule_catches_its_form_and_no_other(rule: Rule) -> None:
    assert rule.pattern.search(rule.caught)
    assert not rule.pattern.search(rule.left)


def test_docstrings_and_comments_are_found() -> None:
    assert len(docstrings()) > 500
    assert len(comments()) > 100


def test_few_docstrings_lean_on_a_headless_what() -> None:
    found = offences(docstrings(), HEADLESS_WHAT)
    assert len(found) <= MOST_WHATS, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", [WHERE_FOR_IF, *RULES], ids=lambda rule: rule.remedy)
def test_docstrings_and_comments_are_plain(rule: Rule) -> None:
    found = offences([*docstrings(), *comments()], rule)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("rule", [HEADLESS_WHAT, WHERE_FOR_IF, *RULES], ids=lambda rule: rule.remedy)
def test_pages_are_plain(rule: Rule) -> None:
    found = offences(paragraphs(), rule)
    assert len(found) <= (MOST_WHATS if rule is HEADLESS_WHAT else 0), "\n" + "\n".join(found)
