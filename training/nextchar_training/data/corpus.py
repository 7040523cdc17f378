"""The corpus: where a text comes from.

Second stage of the flow. A corpus is text in normalization form C from any number of files, in the order of the
sources given. It may be larger than memory: it is read piece by piece, each time anew, and a piece is about 1 MiB.

A file whose name ends with ``.gz`` is what it holds. Everything is UTF-8, strictly: a file that is not is an error, or
is left out whole where that is asked for. Empty files are left out. Where texts are joined, one that follows another
starts on a new line.
"""

from __future__ import annotations

import codecs
import functools
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nextchar_model.composition import joins, normalize

PIECE_BYTES = 2**20  # bytes read at a time


class CorpusError(ValueError):
    """A source cannot be read, or its text cannot be trained on."""


@dataclass(frozen=True)
class TextFile:
    """A file of a corpus. ``identity`` tells it from every other and from what it was before; ``size`` is in bytes."""

    name: str
    size: int
    identity: tuple[str | int, ...]
    path: Path | None = None
    spool: BinaryIO | None = None
    """What came through a pipe, which cannot be read twice."""

    def read(self) -> Iterator[str]:
        """The text, piece by piece. Raises ``CorpusError``, with the offset of the byte where it is not UTF-8."""
        return _normalized(self._decoded())

    def changed(self) -> bool:
        """Whether the file is no longer the one that was found."""
        return self.path is not None and self.identity != identity_of(self.path)

    def _decoded(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        offset = 0  # of the piece
        try:
            for piece in self._pieces():
                yield decoder.decode(piece, final=not piece)
                offset += len(piece)
        except UnicodeDecodeError as error:  # of what the decoder kept, at most three bytes, and the piece
            byte, offset = error.object[error.start], offset - (len(error.object) - len(piece)) + error.start
            what = "its text is not UTF-8" if self._zipped else "not UTF-8"
            raise NotUtf8Error(f"{self.name}: {what}: byte 0x{byte:02x} at offset {offset}") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CorpusError(f"{self.name}: not gzip, damaged or cut off: {error}") from error
        except OSError as error:
            raise CorpusError(f"{self.name}: {error.strerror}") from error

    def _pieces(self) -> Iterator[bytes]:
        """The bytes, piece by piece, and an empty piece at the end."""
        if self.spool is not None:
            self.spool.seek(0)
            yield from iter(functools.partial(self.spool.read, PIECE_BYTES), b"")
        elif self.path is not None:
            with gzip.open(self.path) if self._zipped else self.path.open("rb") as file:
                yield from iter(functools.partial(file.read, PIECE_BYTES), b"")
        yield b""

    @property
    def _zipped(self) -> bool:
        return self.path is not None and self.path.suffix == ".gz"


class NotUtf8Error(CorpusError):
    """A file is not UTF-8."""


@dataclass(frozen=True)
class Corpus:
    """Files in their order; what they are called in reports, and the sources as they were given.

    ``left_out`` names the files that are not in it, and why: those that are empty, or not UTF-8.
    """

    name: str
    sources: tuple[str, ...]
    files: tuple[TextFile, ...]
    left_out: tuple[str, ...] = ()

    def sha256(self) -> str:
        """SHA-256 of the text in UTF-8, in hexadecimal."""
        digest = hashlib.sha256()
        for _, text in self.read():
            digest.update(text.encode())
        return digest.hexdigest()

    def head(self, characters: int) -> str:
        """The first so many characters."""
        text = ""
        for _, piece in self.read():
            text += piece
            if len(text) >= characters:
                break
        return text[:characters]

    @property
    def text(self) -> str:
        """The whole text in normalization form C."""
        return "".join(text for _, text in self.read())

    def read(self, order: Iterable[int] | None = None) -> Iterator[tuple[int | None, str]]:
        """The text piece by piece, each with the number of its file. The newline that is put between a text that does
        not end with one and the next is a piece of no file. ``order`` are the numbers of the files to read: all.
        """
        ended = True  # the text before, with a newline
        for number in range(len(self.files)) if order is None else order:
            begins = True
            try:
                for text in self.files[number].read():
                    if begins and not ended:
                        yield None, "\n"
                    yield number, text
                    begins, ended = False, text.endswith("\n")
            except NotUtf8Error as error:
                if len(self.files) == 1:
                    raise
                raise NotUtf8Error(
                    f"{error}; a pattern such as 'texts/**/*.txt' names the texts alone, "
                    "--skip-undecodable leaves out all files that are not UTF-8"
                ) from error


def identity_of(path: Path) -> tuple[str | int, ...]:
    """Where a file is, and what changes with its content: the time of its last change too, which no tool sets back."""
    status = path.stat()
    return str(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _normalized(pieces: Iterable[str]) -> Iterator[str]:
    """The text of ``pieces`` in normalization form C, piece by piece, none empty and none within a line end."""
    pending = ""
    for piece in pieces:
        text = pending + piece
        cut = next((n for n in range(len(text) - 1, 0, -1) if _separable(text[n - 1], text[n])), 0)
        if cut:
            yield normalize(text[:cut])
        pending = text[cut:]
    if pending:
        yield normalize(pending)


def _separable(before: str, after: str) -> bool:
    """Whether a text may be cut here: ``after`` neither changes what comes before it nor ends a line with it."""
    return not joins(after) and not (before == "\r" and after == "\n")
