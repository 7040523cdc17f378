"""Rereading: the corpus of an earlier training, for the one that continues it.

It is looked for in the folder in which that training was started, then in the current one, or in the place that it was
moved to. Invariant: a training continues on the text that it began with, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from nextchar_cli.printable import printable
from nextchar_model.alphabet import Alphabet

from .corpus import Corpus, CorpusError
from .counts import Show
from .dataset import Dataset, prepare
from .respelling import respelled
from .rules import DatasetError, Rules
from .sources import current_folder, find_corpus


class Recorded(Protocol):
    """The corpus that a checkpoint or a snapshot states."""

    @property
    def sources(self) -> tuple[str | bytes, ...]:
        """The sources as they were given, a name that isn't UTF-8 by its bytes."""
        ...

    @property
    def folder(self) -> str | bytes | None:
        """The folder in which relative ones were found; None in files of earlier releases."""
        ...

    @property
    def rules(self) -> Rules:
        """How it became a dataset."""
        ...

    @property
    def corpus_sha256(self) -> str:
        """SHA-256 of its text."""
        ...

    @property
    def files_sha256(self) -> str | None:
        """SHA-256 of the sizes of its files if each is a document; None also in files of earlier releases."""
        ...


def prepare_again(
    recorded: Recorded,
    alphabet: Alphabet | None,
    cache: Path,
    *,
    moved_to: Sequence[str] = (),
    show: Show = lambda activity, fraction: None,
) -> Dataset:
    """Returns the dataset of an earlier training, spelled in ``alphabet`` if one is given.

    ``moved_to`` are the sources that hold its text now, if they are others. Raises ``CorpusError``, with the remedy, if
    the text isn't found or isn't the same.
    """
    remedy = "put the old text back, name its copy with --corpus, or train on another text with fit --from in a new run"
    if not moved_to and b"-" in map(os.fsencode, recorded.sources):
        raise CorpusError(
            "the corpus of the training was standard input, which can't be read again; name a copy of it with --corpus"
        )
    try:
        corpus = _find(moved_to, "", recorded, cache) if moved_to else _found(recorded, cache)
        dataset = prepare(corpus, recorded.rules, cache, show)
    except (CorpusError, DatasetError) as error:
        raise CorpusError(f"the corpus of the training can't be read again: {error}; {remedy}") from error
    if dataset.facts.sha256 != recorded.corpus_sha256:
        raise CorpusError(f"{corpus.name} is no longer the text that the model was trained on; {remedy}")
    if recorded.files_sha256 not in (None, dataset.facts.files_sha256):
        raise CorpusError(
            f"{corpus.name} is the text that the model was trained on, but in other files, and each file is a "
            f"document: others would be held out; {remedy}"
        )
    return dataset if alphabet is None else respelled(dataset, alphabet)


def _found(recorded: Recorded, cache: Path) -> Corpus:
    """The corpus where the training found it, or in the same place below the current folder."""
    sources = list(map(os.fsdecode, recorded.sources))
    here = current_folder()
    started = here if recorded.folder is None else os.fsdecode(recorded.folder)
    try:
        return _find(sources, started, recorded, cache)
    except CorpusError as error:
        if recorded.folder is None:
            raise CorpusError(
                f"{error} (in {printable(here)}; an earlier release wrote the run, without the folder that it was "
                "started in: go there first)"
            ) from error
        try:
            return _find(sources, here, recorded, cache)
        except CorpusError:
            also = "" if here == started else f", nor in {printable(here)}"
            raise CorpusError(f"{error} (in {printable(started)}, where the run was started{also})") from error


def _find(sources: Sequence[str], folder: str, recorded: Recorded, cache: Path) -> Corpus:
    return find_corpus(sources, folder=folder, skip_undecodable=recorded.rules.skip_undecodable, scratch=cache)
