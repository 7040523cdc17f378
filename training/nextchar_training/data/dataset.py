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
import time
import unicodedata
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pooch
from numpy.typing import NDArray

from nextchar_model.alphabet import BOUNDARY, Alphabet, Ids, Kind, Spelling, Unknown
from nextchar_model.decoder import Decoder

from .corpus import Corpus, CorpusError

CACHE_DIR = "NEXTCHAR_CACHE_DIR"
"""The environment variable that names another folder to keep datasets in than the platform's own."""

EVALUATED_CHARACTERS = 2**17
"""Characters of a text that are evaluated, at most, unless another number is asked for."""

_VERSION = 1
_IDS, _FACTS = "ids.npy", "dataset.json"
_CODES = 0x110000  # code points of Unicode
_SEED = 1  # of the documents that are held out, and of the order of all
_LINE_END = ord("\n")
_LONGEST_LINE = 2**26  # characters; more in one line is no document a line
_GATHERED = 2**22  # ids of lines that are dealt out together
_DEALT = 2**24  # ids that lines are shuffled among in memory, about

Documents = Literal["corpus", "file", "line"]
HoldOut = Literal["tail", "documents"]
Rare = Literal["drop", "replace"]
Count = tuple[str, int]
"""A character and how often it occurs."""


class DatasetError(ValueError):
    """A corpus makes no dataset by these rules, or a dataset is damaged."""


@dataclass(frozen=True)
class Rules:
    """How a corpus becomes a dataset."""

    documents: Documents = "corpus"
    """What is a document: the whole corpus, a file or a line."""
    hold_out: HoldOut | None = None
    """What is held out: the last tenth, or one of every ten documents. ``None``: the last tenth of a corpus that is one
    document, and documents of one that is many."""
    alphabet: Kind = "characters"
    """Of which kind the alphabet is."""
    minimum_count: int = 1
    """A character that occurs fewer times is rare."""
    rare: Rare = "drop"
    """What happens to rare characters: they are left out, or ``replacement`` stands for them."""
    replacement: str = "\ufffd"
    skip_undecodable: bool = False
    """Whether files that are not UTF-8 are left out."""

    def __post_init__(self) -> None:
        if self.minimum_count < 1:
            raise DatasetError(f"minimum_count is {self.minimum_count}; it must be at least 1")
        if len(self.replacement) != 1 or unicodedata.normalize("NFC", self.replacement) != self.replacement:
            raise DatasetError(f"replacement is {self.replacement!r}, not one character")
        if self.documents == "line" and self.rare == "replace" and self.replacement == "\n":
            raise DatasetError("replacement is a newline, which ends a line")
        if self.documents == "corpus" and self.hold_out == "documents":
            raise DatasetError("a corpus that is one document has none to hold out: give --documents file or line")

    @property
    def held_out(self) -> HoldOut:
        """What is held out, whether it was said or not."""
        return self.hold_out or ("tail" if self.documents == "corpus" else "documents")


class IdFile:
    """Ids in a file (.npy), or a stretch of them, read where they are asked for: ``ids[start:stop]`` is an array.

    Nothing is mapped into memory, where all that was once read would count as in use.
    """

    def __init__(self, path: Path, start: int = 0, stop: int | None = None) -> None:
        """Raises ``DatasetError`` for a file that is cut off, ``OSError`` where there is none."""
        self._path = path
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        try:
            np.lib.format.read_magic(self._file)
            (count,), _, self._type = np.lib.format.read_array_header_1_0(self._file)
        except ValueError as error:
            raise DatasetError(f"{path}: damaged; remove its folder") from error
        self._first = self._file.tell()
        if path.stat().st_size != self._first + count * self._type.itemsize:
            raise DatasetError(f"{path}: cut off; remove its folder")
        self._start, self._stop, _ = slice(start, stop).indices(count)

    def __len__(self) -> int:
        return max(self._stop - self._start, 0)

    def __getitem__(self, part: slice) -> Ids:
        start, stop, _ = part.indices(len(self))
        size = self._type.itemsize
        # Reads at a place without moving to it first, so that processes that were forked do not disturb each other.
        content = os.pread(self._file.fileno(), max(stop - start, 0) * size, self._first + (self._start + start) * size)
        return np.frombuffer(content, self._type).astype(np.int64)

    def part(self, start: int, stop: int | None = None) -> IdFile:
        """A stretch of the file's ids."""
        return IdFile(self._path, start, stop)


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
                _Maker(corpus, rules, Path(scratch), show).make(folder)
        except OSError as error:
            reason = f"the dataset was not written: {error.strerror}; --cache names another folder"
            raise OSError(error.errno, reason, str(folder)) from error
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        alphabet = Alphabet(**{**facts["alphabet"], "symbols": tuple(facts.pop("alphabet")["symbols"])})
        for name in ("rarest", "rare"):
            facts[name] = tuple((character, count) for character, count in facts[name])
        return Dataset(corpus, rules, alphabet, Facts(**facts), folder, made, IdFile(folder / _IDS))
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


class _Maker:
    """The making of one dataset."""

    def __init__(self, corpus: Corpus, rules: Rules, scratch: Path, show: Callable[[str, float], None]) -> None:
        self._corpus, self._rules, self._scratch, self._show = corpus, rules, scratch, show
        self._random = np.random.default_rng(_SEED)
        # What the first pass counts:
        self._counts = np.zeros(_CODES, dtype=np.int64)  # of each character
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
        self._speller = _Speller(kept_text, rare, self._rules)
        alphabet = self._speller.alphabet
        self._characters = int(self._counts[kept if self._rules.rare == "drop" else slice(None)].sum())
        partial = self._scratch / "dataset"
        partial.mkdir()
        with _IdWriter(partial / _IDS, self._speller.type) as writer:
            write = {"corpus": self._write_corpus, "file": self._write_files, "line": self._write_lines}
            held_out_from = write[self._rules.documents](writer)
        ids = IdFile(partial / _IDS)
        ends = [_count_boundaries(ids.part(0, held_out_from)), _count_boundaries(ids.part(held_out_from))]
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
        with (partial / _FACTS).open("w", encoding="utf-8") as file:
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
            codes = _code_points(text.replace("\r\n", "\n") if self._rules.documents == "line" else text)
            counts = np.bincount(codes)
            self._counts[: len(counts)] += counts
            if number is not None:
                self._sizes[number] += len(codes)
            if self._rules.documents == "line":
                ends = codes == _LINE_END
                self._lines += int(np.count_nonzero(_shifted(ends, after_end) & ~ends))
                after_end = bool(ends[-1])
            self._show("counting characters", min(size / max(total, 1), 1.0))
        if self._rules.documents == "line":
            self._counts[_LINE_END] = 0  # it is the boundary, and no character
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

    def _write_corpus(self, writer: _IdWriter) -> int:
        left = self._characters * 9 // 10  # before what is held out
        held_out_from = None
        for _, ids, lengths in self._encoded():
            characters = len(ids) if lengths is None else len(lengths)
            if held_out_from is None and left < characters:
                held_out_from = writer.count + (left if lengths is None else int(lengths[:left].sum()))
            left -= characters
            writer.write(ids)
        return writer.count if held_out_from is None else held_out_from

    def _write_files(self, writer: _IdWriter) -> int:
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

    def _write_lines(self, writer: _IdWriter) -> int:
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


class _Speller:
    """Spells a corpus by look-up: rare characters as the rules say, and the ends of lines that are documents as
    boundaries. A row of the table has the ids of one code point, and ``_none`` where it has no more.
    """

    def __init__(self, kept: str, rare: NDArray[np.int64], rules: Rules) -> None:
        """Spells the characters in ``kept``, which are not one text: none composes with its neighbour."""
        symbols = {symbol for character in kept for symbol in Alphabet.of(character, rules.alphabet).symbols}
        self.alphabet = Alphabet(tuple(sorted(symbols)), rules.alphabet)
        self._none = self.alphabet.size
        self.type = np.min_scalar_type(self._none)
        spelled = {character: self.alphabet.spelled(character) or [] for character in kept}
        self._table = np.full((_CODES, max(map(len, spelled.values()))), self._none, dtype=self.type)
        for character, ids in spelled.items():
            self._table[ord(character), : len(ids)] = ids
        if rules.rare == "replace" and len(rare):
            self._table[rare] = self._table[ord(rules.replacement)]
        if rules.documents == "line":
            self._table[_LINE_END, 0] = BOUNDARY

    def spell(self, text: str) -> tuple[NDArray[Any], Ids | None]:
        """The ids of ``text``, and how many spell each character that is left; None: one."""
        codes = _code_points(text)
        if self._table.shape[1] == 1:
            ids = self._table[:, 0][codes]
            return ids[ids != self._none], None
        rows = self._table[codes]
        there = rows != self._none
        lengths = there.sum(axis=1)
        return rows[there], lengths[lengths > 0]


def _code_points(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


class _IdWriter:
    """Writes ids to a .npy file whose length is known at the end only."""

    def __init__(self, path: Path, type_: np.dtype[Any]) -> None:
        self._path, self._type = path, type_
        self.count = 0
        """Ids written so far."""

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        self._write_header()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file as file:
            if kind is None:
                file.seek(0)
                self._write_header()  # which is as long as before
                file.flush()
                os.fsync(file.fileno())

    def _write_header(self) -> None:
        header = {"descr": self._type.str, "fortran_order": False, "shape": (self.count,)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, ids: NDArray[Any]) -> None:
        """Adds ids."""
        self._file.write(np.ascontiguousarray(ids, self._type).data)
        self.count += len(ids)

    def end_document(self, start: int) -> int:
        """Adds the boundary to a document that began at ``start``, if it is not empty; gives where the next begins."""
        if self.count > start:
            self.write(np.array([BOUNDARY]))
        return self.count


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


def _count_boundaries(ids: IdFile) -> int:
    return sum(int(np.count_nonzero(ids[n : n + 2**20] == BOUNDARY)) for n in range(0, len(ids), 2**20))
