"""The summary: what a dataset is, in a few lines, before anything is trained on it and in a run's report."""

from __future__ import annotations

from .builder import Count
from .dataset import Dataset

_SHOWN = 8  # characters of a list at most


def summarized(dataset: Dataset) -> list[tuple[str, str]]:
    """What there is to say of ``dataset``, each with a name."""
    facts, rules, corpus = dataset.facts, dataset.rules, dataset.corpus
    files = f"{len(corpus.files)} files" if len(corpus.files) > 1 else "1 file"
    documents = {"corpus": "one document", "file": "a document a file", "line": "a document a line"}[rules.documents]
    held_out = len(dataset.validation) / (len(dataset.training) + len(dataset.validation))
    part = f"{held_out:.0%} of the text, its end" if rules.held_out == "tail" else "one of every ten documents"
    lines = [
        ("corpus", f"{corpus.name}, {files}, {facts.bytes:,} bytes, {facts.characters:,} characters"),
        ("documents", documents if facts.documents == 1 else f"{facts.documents:,}, {documents}"),
        ("alphabet", f"{rules.alphabet}, {len(dataset.alphabet.symbols)} symbols; rarest {_listed(facts.rarest)}"),
        ("held out", part if facts.documents == 1 else f"{part}, {facts.held_out_documents:,} documents"),
    ]
    if dataset.characters_an_id != 1:
        lines.append(("ids", f"{facts.ids:,}, {1 / dataset.characters_an_id:.2f} a character"))
    if facts.rare:
        what = "left out" if rules.rare == "drop" else f"replaced by {rules.replacement!r}"
        lines.append(
            (
                what,
                f"{dataset.rare_characters:,} characters, each of {len(facts.rare)} that occur fewer than "
                f"{rules.minimum_count} times: {_listed(facts.rare)}",
            )
        )
    if corpus.left_out:
        shown = ", ".join(corpus.left_out[:_SHOWN])
        more = f" and {len(corpus.left_out) - _SHOWN} more" if len(corpus.left_out) > _SHOWN else ""
        lines.append(("files left out", f"{len(corpus.left_out)}: {shown}{more}"))
    return lines


def _listed(counts: tuple[Count, ...]) -> str:
    """Some characters and how often each occurs."""
    shown = ", ".join(f"{character!r} {count}" for character, count in counts[:_SHOWN])
    return shown + (", ..." if len(counts) > _SHOWN else "")
