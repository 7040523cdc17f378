"""The dataset: a corpus as ids, on disk.

The third stage of the flow. The corpus is read twice, in pieces: once to count its characters, from which the alphabet
is made, and once to write its ids to a file, in the smallest type that holds them. Training, evaluation and export
read parts of that file, so neither the text nor its ids are ever in memory as a whole. A dataset is made once and kept
in the cache.

A corpus is one document, or each file or line of it is one. If there can be many,

- every document is followed by the boundary, so that a model learns where documents end; empty ones are left out;
- the documents are shuffled, so that neighbours have nothing to do with each other.

A tenth is held out, and comes last: the last tenth of the text, or one of every ten documents. The choice and the order
depend on the corpus and the rules alone, not on the seed of a training. While options are chosen, a tenth of the rest
takes its place (see ``development``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from nextchar_model.alphabet import BOUNDARY, Alphabet, Ids, Spelling, Unknown
from nextchar_model.decoder import Decoder

from .builder import FACTS, IDS, build
from .cache import dataset_folder, new_folder, remove_abandoned
from .corpus import Corpus
from .counts import Show
from .development import development_from
from .facts import Facts, read_facts
from .ids import IdFile
from .rules import DatasetError, Rules

_MARGIN = 64  # characters behind a cut: more than compose with those before it


@dataclass(frozen=True)
class Excerpt:
    """The beginning of some documents."""

    documents: list[Spelling]
    """None of them is empty. The last one may be cut off."""
    is_whole: bool
    """Whether they are all there is."""


@dataclass(frozen=True)
class Dataset:
    """A corpus as ids."""

    corpus: Corpus
    rules: Rules
    facts: Facts
    folder: Path
    made: bool
    """Whether it was made just now; otherwise it was found in the cache."""
    ids: IdFile = field(repr=False)
    """All ids: those to train on, then those for development if there is such a part, then those held out."""

    @property
    def alphabet(self) -> Alphabet:
        """The alphabet that spells the corpus."""
        return self.facts.alphabet

    @property
    def training(self) -> IdFile:
        """The ids to train on."""
        return self.ids.part(0, self._training_until)

    @property
    def validation(self) -> IdFile:
        """The ids to evaluate on: those for development if the rules say so, else those held out.

        Raises ``DatasetError`` if there are none.
        """
        if not self.rules.development:
            return self.held_out
        if self._training_until == self.facts.held_out_from:
            raise DatasetError(f"{self.corpus.name}: too few documents for a development part: leave out --development")
        return self.ids.part(self._training_until, self.facts.held_out_from)

    @property
    def held_out(self) -> IdFile:
        """The ids that are held out. Raises ``DatasetError`` if there are none."""
        if self.facts.held_out_from == len(self.ids):
            raise DatasetError(
                f"{self.corpus.name}: a single document, so nothing is held out: "
                "hold out its last tenth with --documents corpus"
            )
        return self.ids.part(self.facts.held_out_from)

    @cached_property
    def _training_until(self) -> int:
        """The place of the first id that isn't to train on."""
        end = self.facts.held_out_from
        if not self.rules.development:
            return end
        return development_from(self.ids.part(0, end), self.alphabet, has_documents=self.rules.documents != "corpus")

    @property
    def rare_characters(self) -> int:
        """How many characters of the corpus were rare, and dropped or replaced."""
        return sum(count for _, count in self.facts.rare)

    @property
    def characters_per_id(self) -> float:
        """Characters per id on average: 1, or less if the alphabet spells some characters with several ids."""
        return self.facts.characters / self.facts.ids

    def validation_documents(self, characters: int) -> list[Spelling]:
        """The first ``characters`` of the documents to evaluate on. Raises ``DatasetError`` if there are none."""
        return self.documents(self.validation, self.alphabet, characters)

    def documents(
        self, ids: IdFile, alphabet: Alphabet, characters: int | None = None, unknown: Unknown = "error"
    ) -> list[Spelling]:
        """All documents in some of the dataset's ``ids``, or the first ``characters`` of them; see ``excerpt``."""
        more_than_all = 2 * len(ids)
        return self.excerpt(ids, alphabet, more_than_all if characters is None else characters, unknown).documents

    def excerpt(self, ids: IdFile, alphabet: Alphabet, characters: int, unknown: Unknown = "error") -> Excerpt:
        """The first ``characters`` of the documents in some of the dataset's ``ids``, as ``alphabet`` spells them.

        No document is empty, and the last one may be cut off. A whole document ends with the boundary, unless the
        corpus is one document. ``unknown`` says how to treat characters outside ``alphabet``. Raises
        ``UnknownCharacterError``.
        """
        size = round(1.5 * characters / self.characters_per_id) + _MARGIN
        while (found := self._beginning(ids, size, alphabet, characters, unknown)) is None:
            size *= 2
        return found

    def _beginning(
        self, ids: IdFile, size: int, alphabet: Alphabet, characters: int, unknown: Unknown
    ) -> Excerpt | None:
        """The first ``characters``, or None if the first ``size`` of the ``ids`` don't settle them."""
        head = ids[:size]
        documents, left = [], characters
        for part in np.split(head, np.flatnonzero(head == BOUNDARY) + 1):
            end = part[-1:][part[-1:] == BOUNDARY]
            goes_on = not len(end) and size < len(ids)
            spelling = self._spelled(part[: len(part) - len(end)], goes_on=goes_on)
            count = len(spelling.text)
            if alphabet != self.alphabet:
                text = spelling.text[:left] if unknown == "error" else spelling.text
                spelling = alphabet.spell(text, unknown=unknown, replacement=self.rules.replacement)
                count = count if unknown == "error" else len(spelling.text)
            if goes_on and count <= left + _MARGIN:
                return None
            text, lengths = spelling.text[:left], spelling.lengths[:left]
            spelled = spelling.ids[: lengths.sum()]
            if text:
                documents.append(Spelling(text, spelled if count > left else np.concatenate([spelled, end]), lengths))
            if count > left:
                return Excerpt(documents, is_whole=False)
            left -= count
        return Excerpt(documents, is_whole=True) if size >= len(ids) else None

    def _spelled(self, ids: Ids, *, goes_on: bool) -> Spelling:
        """The document of ``ids``; they stay as they are, even if dropped characters parted some that compose.

        If it ``goes_on``, the characters are left out that the next ids may still change.
        """
        decoder = Decoder(self.alphabet)
        text, lengths = decoder.feed(ids.tolist())
        if not goes_on:
            rest, last = decoder.flush()
            text, lengths = text + rest, lengths + last
        ids = ids[: sum(lengths)]
        # The decoder counts the ids of marks roughly. Those of the text are right, unless characters were parted.
        exact = self.alphabet.spell(text, unknown="skip")
        return exact if np.array_equal(exact.ids, ids) else Spelling(text, ids, np.array(lengths, dtype=np.int64))


def prepare(corpus: Corpus, rules: Rules, cache: Path, show: Show = lambda activity, fraction: None) -> Dataset:
    """The dataset of ``corpus`` in ``cache``; makes it if it isn't there. ``show`` hears how far that is.

    Raises ``CorpusError`` if a file can't be read, ``DatasetError`` if the corpus can't become a dataset by these
    rules or the dataset is damaged, ``OSError`` if it can't be written or read.
    """
    if rules.documents == "corpus" and rules.hold_out == "documents":
        raise DatasetError("the corpus is one document, so no documents can be held out: give --documents file or line")
    remove_abandoned(cache)
    folder = dataset_folder(cache, corpus, rules)
    made = not folder.exists()
    if made:
        try:
            with new_folder(folder) as partial:
                build(corpus, rules, partial, show)
        except OSError as error:
            reason = f"the dataset was not written: {error.strerror}; --cache names another folder"
            raise OSError(error.errno, reason, str(folder)) from error
    return Dataset(corpus, rules, read_facts(folder / FACTS), folder, made, IdFile(folder / IDS))


def prepare_for(
    corpus: Corpus,
    rules: Rules,
    *,
    trained_on_sha256: str,
    cache: Path,
    show: Show = lambda activity, fraction: None,
) -> tuple[Dataset, Unknown]:
    """Prepares a text for a model that was trained, by ``rules``, on the text of ``trained_on_sha256``.

    Also returns how to treat characters outside the model's alphabet. In the model's own text they are an error: its
    rare characters are dropped or replaced as they were in training. In another text none counts as rare, and
    characters outside the alphabet are treated like the rare ones in training. Raises as ``prepare`` does.
    """
    unknown: Unknown = "error"
    if rules.minimum_count > 1 and corpus.sha256() != trained_on_sha256:
        unknown = "skip" if rules.rare == "drop" else "replace"
        rules = replace(rules, minimum_count=1)
    return prepare(corpus, rules, cache, show), unknown
