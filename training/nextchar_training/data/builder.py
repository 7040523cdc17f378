"""The builder: makes a dataset in two passes over a corpus, one that counts and one that writes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Ids

from .corpus import Corpus, CorpusError
from .encoder import CODE_POINTS, LINE_END, Encoder, code_points
from .ids import IdFile, IdWriter, count_boundaries
from .rules import DatasetError, Rules

IDS, FACTS = "ids.npy", "dataset.json"


_SEED = 1  # of the documents that are held out, and of the order of all


_LONGEST_LINE = 2**26  # characters; more in one line is no document a line


_GATHERED = 2**22  # ids of lines that are dealt out together


_DEALT = 2**24  # ids that lines are shuffled among in memory, about


Count = tuple[str, int]
"""A character and how often it occurs."""


@dataclass(frozen=True)
class Facts:
    """What is known of a dataset: counted when it was made, and kept beside its ids.

    ``characters`` are those of the documents in normalization form C, but for rare ones that were dropped.
    """

    sha256: str
    """SHA-256 of the text in UTF-8, as ``Corpus.read`` gives it, in hexadecimal."""
    characters: int
    bytes: int
    """Of the text in UTF-8."""
    documents: int
    ids: int
    """Of all documents, the boundaries between them left out."""
    held_out_from: int
    """The first id that is held out."""
    held_out_documents: int
    rarest: tuple[Count, ...]
    """The rarest characters of the alphabet."""
    rare: tuple[Count, ...]
    """The characters that were dropped or replaced."""
    seconds: float
    """That it took to make it."""


class Builder:
    """The making of one dataset."""

    def __init__(self, corpus: Corpus, rules: Rules, scratch: Path, show: Callable[[str, float], None]) -> None:
        self._corpus, self._rules, self._scratch, self._show = corpus, rules, scratch, show
        self._random = np.random.default_rng(_SEED)
        # What the first pass counts:
        self._counts = np.zeros(CODE_POINTS, dtype=np.int64)  # of each character
        self._sizes = [0] * len(corpus.files)  # of each file in characters
        self._lines = 0  # that are not empty

    def make(self, folder: Path) -> None:
        """Makes the dataset, and puts it where it belongs."""
        started = time.perf_counter()
        sha256, size = self._count()
        kept = np.flatnonzero(self._counts >= self._rules.minimum_count)
        rare = np.flatnonzero((self._counts > 0) & (self._counts < self._rules.minimum_count))
        if not len(kept):
            raise DatasetError(
                f"{self._corpus.name}: no character occurs {self._rules.minimum_count} times"
                if len(rare)
                else f"{self._corpus.name}: empty"
            )
        kept_text = "".join(map(chr, kept.tolist()))
        if len(rare) and self._rules.rare == "replace":
            kept_text += self._rules.replacement
        self._speller = Encoder(kept_text, rare, self._rules)
        alphabet = self._speller.alphabet
        self._characters = int(self._counts[kept if self._rules.rare == "drop" else slice(None)].sum())
        partial = self._scratch / "dataset"
        partial.mkdir()
        with IdWriter(partial / IDS, self._speller.type) as writer:
            write = {"corpus": self._write_corpus, "file": self._write_files, "line": self._write_lines}
            held_out_from = write[self._rules.documents](writer)
        ids = IdFile(partial / IDS)
        ends = [count_boundaries(ids.part(0, held_out_from)), count_boundaries(ids.part(held_out_from))]
        order = kept[np.argsort(self._counts[kept], kind="stable")]
        facts = Facts(
            sha256=sha256,
            characters=self._characters,
            bytes=size,
            documents=sum(ends) or 1,
            ids=len(ids) - sum(ends),
            held_out_from=held_out_from,
            held_out_documents=ends[1],
            rarest=self._counted(order[:5]),
            rare=self._counted(rare[np.argsort(-self._counts[rare], kind="stable")]),
            seconds=time.perf_counter() - started,
        )
        if any(file.changed() for file in self._corpus.files):
            raise CorpusError(f"{self._corpus.name}: changed while it was read; try again")
        content = {**asdict(facts), "alphabet": {"kind": alphabet.kind, "symbols": alphabet.symbols}}
        with (partial / FACTS).open("w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        try:
            partial.rename(folder)
        except OSError:
            if not folder.exists():  # else another process has made it meanwhile
                raise

    def _counted(self, codes: NDArray[np.int64]) -> tuple[Count, ...]:
        return tuple((chr(code), int(self._counts[code])) for code in codes.tolist())

    def _count(self) -> tuple[str, int]:
        """The first pass: counts, and gives the text's SHA-256 and its size in bytes."""
        digest, size = hashlib.sha256(), 0
        total = sum(file.size for file in self._corpus.files)
        after_end = True
        for number, text in self._corpus.read():
            content = text.encode()
            digest.update(content)
            size += len(content)
            if number is None and self._rules.documents == "file":
                continue
            codes = code_points(text.replace("\r\n", "\n") if self._rules.documents == "line" else text)
            counts = np.bincount(codes)
            self._counts[: len(counts)] += counts
            if number is not None:
                self._sizes[number] += len(codes)
            if self._rules.documents == "line":
                ends = codes == LINE_END
                self._lines += int(np.count_nonzero(_shifted(ends, after_end) & ~ends))
                after_end = bool(ends[-1])
            self._show("counting characters", min(size / max(total, 1), 1.0))
        if self._rules.documents == "line":
            self._counts[LINE_END] = 0  # it is the boundary, and no character
        return digest.hexdigest(), size

    def _encoded(self, order: list[int] | None = None) -> Iterator[tuple[int | None, NDArray[Any], Ids | None]]:
        """The second pass: of each piece, the number of its file, its ids, and how many spell each character."""
        total = sum(file.size for file in self._corpus.files)
        done = 0
        for number, text in self._corpus.read(order):
            if self._rules.documents == "line":
                text = text.replace("\r\n", "\n")
            done += len(text)
            yield number, *self._speller.spell(text)
            self._show("writing ids", min(done / max(total, 1), 1.0))

    def _write_corpus(self, writer: IdWriter) -> int:
        left = self._characters * 9 // 10  # before what is held out
        held_out_from = None
        for _, ids, lengths in self._encoded():
            characters = len(ids) if lengths is None else len(lengths)
            if held_out_from is None and left < characters:
                held_out_from = writer.count + (left if lengths is None else int(lengths[:left].sum()))
            left -= characters
            writer.write(ids)
        return writer.count if held_out_from is None else held_out_from

    def _write_files(self, writer: IdWriter) -> int:
        files = np.flatnonzero(self._sizes)
        held_out = self._held_out(len(files), np.asarray(self._sizes)[files])
        held_out_from = 0
        for part in (files[~held_out], files[held_out]):
            held_out_from = writer.count
            before: int | None = None
            start = writer.count
            for number, ids, _ in self._encoded(self._random.permutation(part).tolist()):
                if number is None:  # documents are not joined
                    continue
                if number != before:
                    start = writer.end_document(start)
                    before = number
                writer.write(ids)
            writer.end_document(start)
        return held_out_from

    def _write_lines(self, writer: IdWriter) -> int:
        """Deals the lines out to files at random, then shuffles each of them in memory."""
        held_out = self._held_out(self._lines)
        training_files = self._characters * 9 // 10 // _DEALT + 1
        files = [self._scratch / str(number) for number in range(training_files + self._characters // 10 // _DEALT + 1)]
        lines = 0
        for ids in self._whole_lines():
            stops = np.flatnonzero(ids == BOUNDARY) + 1
            held = held_out[lines : lines + len(stops)]
            to = np.where(
                held,
                self._random.integers(training_files, len(files), len(stops)),
                self._random.integers(training_files, size=len(stops)),
            )
            order = np.argsort(to, kind="stable")
            bounds = np.searchsorted(to[order], np.arange(len(files) + 1))
            for number in np.unique(to).tolist():
                with files[number].open("ab") as file:
                    for piece in _documents(ids, stops, order[bounds[number] : bounds[number + 1]]):
                        file.write(piece.data)
            lines += len(stops)
        held_out_from = 0
        for number, path in enumerate(files):
            if number == training_files:
                held_out_from = writer.count
            if path.exists():
                ids = np.fromfile(path, self._speller.type)
                path.unlink()
                stops = np.flatnonzero(ids == BOUNDARY) + 1
                for piece in _documents(ids, stops, self._random.permutation(len(stops))):
                    writer.write(piece)
            self._show("shuffling lines", (number + 1) / len(files))
        return held_out_from

    def _whole_lines(self) -> Iterator[NDArray[Any]]:
        """The ids of many whole lines at a time, each followed by the boundary, none of them empty."""
        gathered: list[NDArray[Any]] = []
        size = 0
        after_end = True
        for _, ids, _ in self._encoded():
            ids = ids[(ids != BOUNDARY) | ~_shifted(ids == BOUNDARY, after_end)]
            if not len(ids):
                continue
            after_end = bool(ids[-1] == BOUNDARY)
            gathered.append(ids)
            size += len(ids)
            if size < _GATHERED:
                continue
            ids = np.concatenate(gathered)
            whole = len(ids) - int(np.argmax(ids[::-1] == BOUNDARY)) if (ids == BOUNDARY).any() else 0
            if len(ids) - whole > _LONGEST_LINE:
                raise DatasetError(
                    f"{self._corpus.name}: a line has more than {_LONGEST_LINE:,} characters, too many for a document: "
                    "give --documents file or corpus"
                )
            if whole:
                yield ids[:whole]
            gathered, size = [ids[whole:]], len(ids) - whole
        if not after_end:
            gathered.append(np.array([BOUNDARY], dtype=self._speller.type))
        if gathered and len(rest := np.concatenate(gathered)):
            yield rest

    def _held_out(self, count: int, sizes: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Which of ``count`` documents are held out, none of a single one. Without ``sizes`` all count the same."""
        if count < 2:
            return np.zeros(count, dtype=np.bool_)
        if self._rules.held_out == "documents":
            chosen = self._random.integers(10, size=-(-count // 10), dtype=np.uint8)
            chosen[-1] %= (count - 1) % 10 + 1  # the last ten may be fewer
            held_out = np.zeros(len(chosen) * 10, dtype=np.bool_)
            held_out[np.arange(len(chosen)) * 10 + chosen] = True
            return held_out[:count]
        # The last tenth, from a document's beginning on.
        before = np.arange(count) if sizes is None else np.cumsum(sizes) - sizes
        total = count if sizes is None else int(sizes.sum())
        held_out = before >= total * 9 // 10
        held_out[-1] = True
        return held_out


def _shifted(ends: NDArray[np.bool_], first: bool) -> NDArray[np.bool_]:
    """Whether the place before each is an end; ``first`` is for the first."""
    return np.concatenate([[first], ends[:-1]])[: len(ends)]


def _documents(ids: NDArray[Any], stops: NDArray[np.int64], order: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    """The documents of ``ids`` that end before ``stops``, in another order: about 1 Mi ids at a time."""
    starts = np.concatenate([[0], stops[:-1]])
    ends = np.cumsum(stops[order] - starts[order])
    for some in np.split(order, np.flatnonzero(np.diff(ends // 2**20)) + 1):
        if len(some):
            lengths = stops[some] - starts[some]
            ends = np.cumsum(lengths)
            yield ids[np.arange(ends[-1]) + np.repeat(starts[some] - (ends - lengths), lengths)]
