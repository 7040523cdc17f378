"""Texts on the command line: corpora as datasets, with a bar while they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nextchar_model.alphabet import Alphabet, Spelling, Unknown, UnknownCharacterError

from ..data.cache import default_cache
from ..data.corpus import Corpus, CorpusError
from ..data.dataset import Dataset, Excerpt, prepare, prepare_for
from ..data.ids import IdFile
from ..data.reading import Reading
from ..data.rereading import Recorded, prepare_again
from ..data.respelling import respelled
from ..data.rules import DatasetError, Rules
from ..data.sources import find_corpus
from ..run.checkpoint import Checkpoint
from ..run.terminal import preparing

SKIPPING = "; --unknown-characters skip leaves such characters out"
"""The remedy for a character that a model can't spell."""


def read_dataset(
    sources: Sequence[str], rules: Rules, cache: Path | None, *, alphabet: Alphabet | None = None
) -> Dataset:
    """Returns the dataset of ``sources``, spelled in ``alphabet`` if one is given.

    Raises as ``find_corpus``, ``prepare`` and ``respelled`` do.
    """
    cache = cache or default_cache()
    with preparing() as show:
        dataset = prepare(_corpus(sources, rules, cache), rules, cache, show)
    return dataset if alphabet is None else respelled(dataset, alphabet)


def read_dataset_for(
    sources: Sequence[str], rules: Rules, *, trained_on_sha256: str, cache: Path | None
) -> tuple[Dataset, Unknown]:
    """Returns the dataset of ``sources`` for a model, and how to treat characters that it can't spell."""
    cache = cache or default_cache()
    with preparing() as show:
        corpus = _corpus(sources, rules, cache)
        return prepare_for(corpus, rules, trained_on_sha256=trained_on_sha256, cache=cache, show=show)


def read_dataset_again(
    recorded: Recorded, alphabet: Alphabet | None, cache: Path | None, *, moved_to: Sequence[str] | None
) -> Dataset:
    """Returns the dataset of an earlier training. Raises ``CorpusError``, with the remedy, if its text isn't there."""
    with preparing() as show:
        return prepare_again(recorded, alphabet, cache or default_cache(), moved_to=moved_to or (), show=show)


def spelled(
    sources: Sequence[str], model: Checkpoint, cache: Path | None, characters: int, unknown: Unknown | None
) -> list[Spelling]:
    """Returns the first ``characters`` of a text as the alphabet of ``model`` spells them.

    ``unknown`` says how to treat others; None: like those that were rare in training. Raises ``CorpusError`` if it
    makes them an error.
    """
    record = model.record
    dataset, usual = read_dataset_for(sources, record.rules, trained_on_sha256=record.corpus_sha256, cache=cache)
    ids, unknown = dataset.ids, unknown or usual
    return excerpt_for(dataset, ids, model.alphabet, characters, unknown, remedy=SKIPPING).documents


def head_for(sources: Sequence[str], model: Checkpoint, characters: int, unknown: Unknown) -> tuple[str, Spelling]:
    """Returns the name of a text, and its first ``characters`` as the alphabet of ``model`` spells them.

    Raises ``CorpusError`` if the alphabet lacks one of them and ``unknown`` makes that an error, ``DatasetError`` if no
    characters are left.
    """
    corpus = find_corpus(sources)
    text = Reading(corpus, model.record.rules).head(characters)
    try:
        spelling = model.alphabet.spell(text, unknown=unknown)
    except UnknownCharacterError as error:
        raise CorpusError(f"{corpus.name}: {error}{SKIPPING}") from error
    if not spelling.text:
        raise DatasetError(_without_characters(corpus))
    return corpus.name, spelling


def excerpt_for(
    dataset: Dataset, ids: IdFile, alphabet: Alphabet, characters: int, unknown: Unknown, *, remedy: str = ""
) -> Excerpt:
    """Returns the first ``characters`` of some of a dataset's ``ids`` as ``alphabet`` spells them.

    Raises ``CorpusError``, which names the file and ends with the ``remedy``, if ``alphabet`` lacks a character and
    ``unknown`` makes it an error; ``DatasetError`` if no characters are left, or if ``alphabet`` lacks the replacement.
    """
    replacement = dataset.rules.replacement
    if unknown == "replace" and not alphabet.knows(replacement):
        raise DatasetError(_without_replacement(replacement))
    try:
        excerpt = dataset.excerpt(ids, alphabet, characters, unknown)
    except UnknownCharacterError as error:
        if error.character == replacement and dataset.facts.rare:
            raise DatasetError(_without_replacement(replacement)) from error
        raise CorpusError(
            f"{_located(error.character, dataset.corpus)} is not in the model's alphabet{remedy}"
        ) from error
    if not excerpt.documents:
        raise DatasetError(_without_characters(dataset.corpus))
    return excerpt


def _without_characters(corpus: Corpus) -> str:
    return f"{corpus.name}: holds no character that the model can spell"


def _without_replacement(replacement: str) -> str:
    return f"{replacement!r} is not in the model's alphabet: name another --replacement"


def _located(character: str, corpus: Corpus) -> str:
    """Returns the first place of ``character`` in the files of ``corpus``, in words.

    A character that only arose when a rare one between its parts was left out has no place.
    """
    name = f"character {character!r} (U+{ord(character):04X})"
    for file in corpus.files:
        offset = 0
        for piece in file.pieces():
            if (place := piece.find(character)) >= 0:
                return f"{file.name}: {name} at offset {offset + place}"
            offset += len(piece)
    return f"{corpus.name}: {name}"


def _corpus(sources: Sequence[str], rules: Rules, cache: Path) -> Corpus:
    return find_corpus(sources, skip_undecodable=rules.skip_undecodable, scratch=cache)
