"""The dataset: a corpus as ids, on disk.

Third stage of the flow. A corpus is read twice, a piece at a time: its characters are counted, of which the alphabet is
made, and then its ids are written to a file, in the smallest type that holds them. Training, evaluation and export read
that file where they need it, so neither a text nor its ids are ever in memory as a whole. A dataset is made once and
kept in a folder of its own in the cache, under a name that follows from the files (their places, sizes and times) and
the rules; it is written whole or not at all.

A corpus is one document, one a file or one a line. In the last two cases

- every document is followed by the boundary, so that a model learns where documents end; an empty one is none;
- the documents are shuffled, so that neighbours have nothing to do with each other.

A tenth is held out, and stands behind all that is trained on: the last tenth of the text, or one of every ten
documents. Which ones, and the order, are the same whatever is trained on the dataset, with whatever seed.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pooch

from nextchar_model.alphabet import BOUNDARY, Alphabet, Ids, Spelling, Unknown
from nextchar_model.decoder import Decoder

from .builder import FACTS, IDS, Builder, Facts
from .corpus import Corpus
from .ids import IdFile
from .rules import DatasetError, Rules

CACHE_DIR = "NEXTCHAR_CACHE_DIR"
"""The environment variable that names another folder to keep datasets in than the platform's own."""


_VERSION = 1


@dataclass(frozen=True)
class Dataset:
    """A corpus as ids."""

    corpus: Corpus
    rules: Rules
    alphabet: Alphabet
    facts: Facts
    folder: Path
    made: bool
    """Whether it was made now, and not found in the cache."""
    ids: IdFile = field(repr=False)

    @property
    def training(self) -> IdFile:
        """What is trained on."""
        return self.ids.part(0, self.facts.held_out_from)

    @property
    def validation(self) -> IdFile:
        """What is held out. Raises ``DatasetError`` where that is nothing."""
        if self.facts.held_out_from == len(self.ids):
            raise DatasetError(
                f"{self.corpus.name}: a single document, and nothing is held out: "
                "--documents corpus holds out the last tenth of it"
            )
        return self.ids.part(self.facts.held_out_from)

    @property
    def rare_characters(self) -> int:
        """How many places held a rare character."""
        return sum(count for _, count in self.facts.rare)

    @property
    def characters_an_id(self) -> float:
        """Characters that an id spells, in the mean: 1 unless the alphabet spells some with several."""
        return self.facts.characters / self.facts.ids

    def documents(
        self, ids: IdFile, alphabet: Alphabet, characters: int | None = None, unknown: Unknown = "error"
    ) -> list[Spelling]:
        """The documents of some of the dataset's ``ids``, as ``alphabet`` spells them.

        Of the first so many ``characters`` only, where they are given. The boundary belongs to a document whose end is
        among them. ``unknown`` says what happens to a character that ``alphabet`` cannot spell. Raises
        ``UnknownCharacterError``.
        """
        left = len(ids) if characters is None else characters
        # More ids than such characters take; where they are fewer than all, the last document is cut off.
        head = ids[: len(ids) if characters is None else round(1.5 * characters / self.characters_an_id) + 64]
        documents = []
        for part in np.split(head, np.flatnonzero(head == BOUNDARY) + 1):
            end = part[-1:][part[-1:] == BOUNDARY]
            spelling = self._spelled(part[: len(part) - len(end)])
            if not spelling.text or left <= 0:
                continue
            if alphabet != self.alphabet:
                spelling = alphabet.spell(spelling.text, unknown=unknown, replacement=self.rules.replacement)
                if not spelling.text:
                    continue
            text, lengths = spelling.text[:left], spelling.lengths[:left]
            left -= len(spelling.text)
            spelled = spelling.ids[: lengths.sum()]
            documents.append(Spelling(text, spelled if left < 0 else np.concatenate([spelled, end]), lengths))
        return documents

    def _spelled(self, ids: Ids) -> Spelling:
        """The document of ``ids``, which stay as they are, also where characters now meet that compose."""
        decoder = Decoder(self.alphabet)
        (text, lengths), (rest, last) = decoder.feed(ids.tolist()), decoder.flush()
        return Spelling(text + rest, ids, np.array(lengths + last, dtype=np.int64))


def default_cache() -> Path:
    """Where datasets are kept, unless another folder is named."""
    return Path(os.environ.get(CACHE_DIR) or pooch.os_cache("nextchar"))


def prepare(
    corpus: Corpus, rules: Rules, cache: Path, show: Callable[[str, float], None] = lambda what, fraction: None
) -> Dataset:
    """The dataset of ``corpus``, made where ``cache`` has none; ``show`` hears what is done and how far it is.

    Raises ``CorpusError`` where a file cannot be read, ``DatasetError`` where there is nothing to learn from or a line
    is too long, ``OSError`` where the dataset cannot be written.
    """
    folder = cache / "datasets" / _name(corpus, rules)
    made = not folder.exists()
    if made:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix="partial.") as scratch:
                Builder(corpus, rules, Path(scratch), show).make(folder)
        except OSError as error:
            reason = f"the dataset was not written: {error.strerror}; --cache names another folder"
            raise OSError(error.errno, reason, str(folder)) from error
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        alphabet = Alphabet(**{**facts["alphabet"], "symbols": tuple(facts.pop("alphabet")["symbols"])})
        for name in ("rarest", "rare"):
            facts[name] = tuple((character, count) for character, count in facts[name])
        return Dataset(corpus, rules, alphabet, Facts(**facts), folder, made, IdFile(folder / IDS))
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{folder}: damaged ({error}); remove it") from error


def _name(corpus: Corpus, rules: Rules) -> str:
    """What a dataset follows from, as a name."""
    what: dict[str, Any] = {
        "version": _VERSION,
        "unicode": unicodedata.unidata_version,
        "files": [file.identity for file in corpus.files],
        **asdict(rules),
        "hold_out": rules.held_out,
    }
    del what["skip_undecodable"]  # the files say it
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
