"""The documents of a dataset: their order, and which are held out; the second of the two passes that make a dataset."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Ids

from .corpus import Corpus
from .counts import Counts, Show, shifted
from .encoder import Encoder
from .ids import IdWriter
from .reading import Reading
from .rules import DatasetError, Rules

_SEED = 1  # of the order of documents and of the choice of those that are held out
_LONGEST_LINE = 2**26  # ids; a longer line is no document
_GATHERED_IDS = 2**22  # of lines that are dealt out together
_DEALT_IDS = 2**24  # of a file that lines are dealt out to, about; it is shuffled in memory
_COPIED_IDS = 2**20  # of documents that are copied together, about


class DocumentWriter:
    """Writes the documents of a corpus, first those to train on, then those that are held out.

    Those to train on end with the development part, see ``development``.
    """

    def __init__(self, corpus: Corpus, rules: Rules, encoder: Encoder, counts: Counts, show: Show) -> None:
        self._corpus, self._rules, self._encoder, self._counts, self._show = corpus, rules, encoder, counts, show
        self._random = np.random.default_rng(_SEED)

    def write(self, writer: IdWriter, characters: int, scratch: Path) -> int:
        """Writes all documents, which have ``characters`` in all; temporary files go to the folder ``scratch``.

        Returns the number of ids that are not held out. Raises ``DatasetError`` if a line is too long, ``CorpusError``
        if a file can't be read.
        """
        match self._rules.documents:
            case "corpus":
                return self._write_corpus(writer, characters)
            case "file":
                return self._write_files(writer)
            case "line":
                with tempfile.TemporaryDirectory(dir=scratch) as folder:
                    return self._write_lines(writer, characters, Path(folder))

    def _write_corpus(self, writer: IdWriter, characters: int) -> int:
        left = characters * 9 // 10  # before those that are held out
        held_out_from = None
        for _, ids, lengths in self._encoded():
            count = len(ids) if lengths is None else len(lengths)
            if held_out_from is None and left < count:
                held_out_from = writer.count + (left if lengths is None else int(lengths[:left].sum()))
            left -= count
            writer.write(ids)
        return writer.count if held_out_from is None else held_out_from

    def _write_files(self, writer: IdWriter) -> int:
        files = np.flatnonzero(self._counts.sizes)
        held_out = self._held_out(len(files), self._counts.sizes[files])
        held_out_from = 0
        for part in (*self._apart(files[~held_out]), files[held_out]):
            held_out_from = start = writer.count
            before: int | None = None
            for number, ids, _ in self._encoded(self._random.permutation(part).tolist()):
                if number is None:  # the newline between two files belongs to no document
                    continue
                if number != before:
                    start = writer.end_document(start)
                    before = number
                writer.write(ids)
            writer.end_document(start)
        return held_out_from

    def _write_lines(self, writer: IdWriter, characters: int, folder: Path) -> int:
        """Deals the lines out to files at random, then shuffles each file in memory."""
        tenths = (8, 1, 1) if self._rules.keeps_order else (9, 1)  # of the text: about what each part has
        ends = np.cumsum([characters * tenth // 10 // _DEALT_IDS + 1 for tenth in tenths]).tolist()
        files = [folder / str(number) for number in range(ends[-1])]
        self._deal(files, self._parts_of_lines(), ends)
        held_out_from = 0
        for number, path in enumerate(files):
            if number == ends[-2]:
                held_out_from = writer.count
            if path.exists():
                ids = np.fromfile(path, self._encoder.type)
                path.unlink()
                stops = np.flatnonzero(ids == BOUNDARY) + 1
                for piece in _arranged(ids, stops, self._random.permutation(len(stops))):
                    writer.write(piece)
            self._show("shuffling lines", (number + 1) / len(files))
        return held_out_from

    def _parts_of_lines(self) -> NDArray[np.uint8]:
        """The part of each line, [lines]: 0 to train on, then that for development if it is apart, then held out."""
        held_out = self._held_out(self._counts.lines)
        parts = held_out.astype(np.uint8)
        if self._rules.keeps_order:
            parts[np.count_nonzero(~held_out) * 9 // 10 :] = 1
            parts[held_out] = 2
        return parts

    def _deal(self, files: list[Path], parts: NDArray[np.uint8], ends: list[int]) -> None:
        """Adds each line to a random one of the files of its part, which end before one of ``ends``."""
        lines = 0
        for ids in self._whole_lines():
            stops = np.flatnonzero(ids == BOUNDARY) + 1
            own = parts[lines : lines + len(stops)]
            to = np.zeros(len(stops), np.int64)
            for part, (first, end) in reversed(list(enumerate(pairwise([0, *ends])))):
                to = np.where(own == part, self._random.integers(first, end, len(stops)), to)
            order = np.argsort(to, kind="stable")
            bounds = np.searchsorted(to[order], np.arange(len(files) + 1))
            for number in np.unique(to).tolist():
                with files[number].open("ab") as file:
                    for piece in _arranged(ids, stops, order[bounds[number] : bounds[number + 1]]):
                        file.write(piece.data)
            lines += len(stops)
        assert lines == len(parts)

    def _whole_lines(self) -> Iterator[NDArray[Any]]:
        """The ids of many whole lines at a time, each followed by the boundary, none of them empty."""
        gathered: list[NDArray[Any]] = []
        size = 0
        after_end = True
        for _, ids, _ in self._encoded():
            ids = ids[(ids != BOUNDARY) | ~shifted(ids == BOUNDARY, after_end)]
            if not len(ids):
                continue
            after_end = bool(ids[-1] == BOUNDARY)
            gathered.append(ids)
            size += len(ids)
            if size < _GATHERED_IDS:
                continue
            ids = np.concatenate(gathered)
            whole = len(ids) - int(np.argmax(ids[::-1] == BOUNDARY)) if (ids == BOUNDARY).any() else 0
            if len(ids) - whole > _LONGEST_LINE:
                raise DatasetError(
                    f"{self._corpus.name}: a line of more than {_LONGEST_LINE:,} ids is too long for a document: "
                    "give --documents file or corpus"
                )
            if whole:
                yield ids[:whole]
            gathered, size = [ids[whole:]], len(ids) - whole
        if not after_end:
            gathered.append(np.array([BOUNDARY], dtype=self._encoder.type))
        if gathered and len(rest := np.concatenate(gathered)):
            yield rest

    def _encoded(self, order: list[int] | None = None) -> Iterator[tuple[int | None, NDArray[Any], Ids | None]]:
        """Reads the corpus again: the number of the file of each piece, its ids, and how many spell each character."""
        done = 0
        for number, _, text in Reading(self._corpus, self._rules).pieces(order):
            if not text:
                continue
            done += len(text)
            yield number, *self._encoder.encode(text)
            self._show("writing ids", min(done / max(int(self._counts.sizes.sum()), 1), 1.0))

    def _apart(self, training: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The documents that aren't held out, ``training``, in the parts that are shuffled by themselves."""
        return np.split(training, [len(training) * 9 // 10]) if self._rules.keeps_order else [training]

    def _held_out(self, count: int, sizes: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Which of ``count`` documents are held out, [count]; a single one isn't.

        Without ``sizes``, [count], all documents count as equally long.
        """
        if count < 2:
            return np.zeros(count, dtype=np.bool_)
        if self._rules.held_out == "documents":
            chosen = self._random.integers(10, size=-(-count // 10), dtype=np.uint8)
            chosen[-1] %= (count - 1) % 10 + 1  # the last ten may be fewer
            held_out = np.zeros(len(chosen) * 10, dtype=np.bool_)
            held_out[np.arange(len(chosen)) * 10 + chosen] = True
            return held_out[:count]
        # The last tenth, and always whole documents.
        before = np.arange(count) if sizes is None else np.cumsum(sizes) - sizes
        total = count if sizes is None else int(sizes.sum())
        held_out = before >= total * 9 // 10
        held_out[-1] = True
        return held_out


def _arranged(ids: NDArray[Any], stops: NDArray[np.int64], order: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    """The documents of ``ids``, each of which ends before one of ``stops``, in this ``order``, many at a time."""
    starts = np.concatenate([[0], stops[:-1]])
    ends = np.cumsum(stops[order] - starts[order])
    for some in np.split(order, np.flatnonzero(np.diff(ends // _COPIED_IDS)) + 1):
        if len(some):
            lengths = stops[some] - starts[some]
            ends = np.cumsum(lengths)
            yield ids[np.arange(ends[-1]) + np.repeat(starts[some] - (ends - lengths), lengths)]
