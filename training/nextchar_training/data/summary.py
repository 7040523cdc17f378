"""The summary: a dataset in a few lines, shown before a training and in its report."""

from __future__ import annotations

from collections.abc import Callable

from .dataset import Dataset
from .facts import Count

_SHOWN = 8  # items of a list at most


Mark = Callable[[str], str]
"""Marks a name or a character as data, in the form of the page that it stands on."""


def summarized(dataset: Dataset, mark: Mark = str) -> list[tuple[str, str]]:
    """The names and the texts of the lines."""
    facts, rules, corpus = dataset.facts, dataset.rules, dataset.corpus
    lines = [
        (
            "corpus",
            f"{mark(corpus.name)}: {_number(len(corpus.files), 'file')}, {facts.bytes:,} bytes, "
            f"{facts.characters:,} characters",
        ),
        ("documents", _documents(dataset)),
        (
            "alphabet",
            f"{len(dataset.alphabet.symbols)} symbols ({rules.alphabet}); "
            f"the least frequent characters: {_listed(facts.rarest, mark)}",
        ),
        ("held out", _held_out(dataset)),
    ]
    if rules.development:
        lines.append(("development part", _development(dataset)))
    if dataset.characters_per_id != 1:
        lines.append(("ids", f"{facts.ids:,}, {1 / dataset.characters_per_id:.2f} per character"))
    if facts.rare:
        treatment = "left out" if rules.rare == "drop" else f"replaced by {mark(repr(rules.replacement))}"
        lines.append(
            (
                "rare characters",
                f"{dataset.rare_characters:,} {treatment}; {_rare(len(facts.rare))} fewer than "
                f"{rules.minimum_count} times: {_listed(facts.rare, mark)}",
            )
        )
    if facts.line_ends:
        count = _number(facts.line_ends, "line end")
        lines.append(("line ends", f"{count} written as CR LF or CR read as newlines; --verbatim keeps them"))
    if facts.marks:
        count = _number(facts.marks, "file")
        lines.append(("byte order mark", f"left out at the start of {count}; --verbatim keeps it as a character"))
    if corpus.left_out:
        names = [mark(name) for name in corpus.left_out]
        lines.append(("files left out", f"{len(corpus.left_out)}: {_shortened(names)}"))
    return lines


def _documents(dataset: Dataset) -> str:
    if dataset.rules.documents == "corpus":
        return "1, the whole corpus"
    return f"{dataset.facts.documents:,}, one per {dataset.rules.documents}"


def _held_out(dataset: Dataset) -> str:
    facts = dataset.facts
    if dataset.rules.held_out == "documents":
        part = "one of every ten documents"
    else:
        part = f"the last {len(dataset.held_out) / len(dataset.ids):.0%} of the text"
    return part if facts.documents == 1 else f"{part}, {_number(facts.held_out_documents, 'document')}"


def _development(dataset: Dataset) -> str:
    tenth = "the last tenth" if dataset.rules.held_out == "tail" else "one of every ten documents"
    size = f"{len(dataset.validation):,} ids"
    return f"{tenth} of the rest, {size}: this training is evaluated on it, and leaves the held-out text alone"


def _number(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _rare(characters: int) -> str:
    return "1 character occurs" if characters == 1 else f"{characters} characters occur"


def _listed(counts: tuple[Count, ...], mark: Mark) -> str:
    """Some characters and how often each occurs."""
    return _shortened([f"{mark(repr(character))} ({_number(count, 'time')})" for character, count in counts])


def _shortened(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
