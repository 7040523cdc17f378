"""The builder: makes a dataset in two passes over a corpus. The first counts its characters, the second writes ids."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .corpus import Corpus, CorpusError
from .counts import Counts, Show, count, without_rare
from .documents import DocumentWriter
from .encoder import Encoder
from .facts import Count, Facts, to_json
from .ids import IdFile, IdWriter
from .rules import DatasetError, Rules

IDS, FACTS = "ids.npy", "dataset.json"
"""The files of a dataset."""

_RAREST = 5  # characters that the facts list


def build(corpus: Corpus, rules: Rules, folder: Path, show: Show) -> None:
    """Writes the dataset of ``corpus`` into ``folder``, which is empty.

    Raises ``CorpusError`` if a file can't be read or changes meanwhile, ``DatasetError`` if no characters are left or a
    line is too long, ``OSError`` if the dataset can't be written.
    """
    started = time.perf_counter()
    counts = count(corpus, rules, show)
    kept = np.flatnonzero(counts.characters >= rules.minimum_count)
    rare = np.flatnonzero((counts.characters > 0) & (counts.characters < rules.minimum_count))
    if not len(kept):
        few = f"no character occurs {rules.minimum_count} times"
        raise DatasetError(f"{corpus.name}: {few if len(rare) else 'empty'}")
    encoder = _encoder(kept, rare, rules)
    counts = without_rare(counts, corpus, rules, rare, show)
    characters = int(counts.characters[kept if rules.rare == "drop" else slice(None)].sum())
    with IdWriter(folder / IDS, encoder.type) as writer:
        documents = DocumentWriter(corpus, rules, encoder, counts, show)
        held_out_from = documents.write(writer, characters, folder)
    if any(file.changed() for file in corpus.files):
        raise CorpusError(f"{corpus.name}: changed while it was read; try again")
    ids = IdFile(folder / IDS)
    boundaries = [ids.part(0, held_out_from).count_boundaries(), ids.part(held_out_from).count_boundaries()]
    facts = Facts(
        sha256=counts.sha256,
        characters=characters,
        bytes=counts.bytes,
        documents=sum(boundaries) or 1,
        ids=len(ids) - sum(boundaries),
        held_out_from=held_out_from,
        held_out_documents=boundaries[1],
        rarest=_listed(counts, kept[np.argsort(counts.characters[kept], kind="stable")][:_RAREST]),
        rare=_listed(counts, rare[np.argsort(-counts.characters[rare], kind="stable")]),
        seconds=time.perf_counter() - started,
        alphabet=encoder.alphabet,
        line_ends=counts.line_ends,
        marks=counts.marks,
        files_sha256=_digest(counts.sizes) if rules.documents == "file" else None,
    )
    with (folder / FACTS).open("wb") as file:
        file.write(to_json(facts))
        file.flush()
        os.fsync(file.fileno())


def _encoder(kept: NDArray[np.int64], rare: NDArray[np.int64], rules: Rules) -> Encoder:
    """The encoder of a corpus that has these code points."""
    text = "".join(map(chr, kept.tolist()))
    if len(rare) and rules.rare == "replace":
        text += rules.replacement
    return Encoder(text, rare, rules)


def _digest(sizes: NDArray[np.int64]) -> str:
    return hashlib.sha256(sizes[sizes > 0].astype("<i8").data).hexdigest()


def _listed(counts: Counts, codes: NDArray[np.int64]) -> tuple[Count, ...]:
    return tuple((chr(code), int(counts.characters[code])) for code in codes.tolist())
