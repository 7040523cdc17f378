"""The corpus: the text of any number of files, one after another.

The second stage of the flow. The text is in Unicode normalization form C, in the order of the sources. It may be larger
than memory, so it is read in pieces of about 1 MiB, and read again each time it is needed.

A file whose name ends with ``.gz`` stands for its unpacked content. Every file must be text in UTF-8; one that isn't is
an error, or is left out as a whole if the rules say so. Empty files are left out. If a file doesn't end with a newline,
one is put between it and the next.

Names of files are data: those in messages and reports are printable (see ``nextchar_cli.printable``).
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

from .encodings import hint, is_text

BLOCK_BYTES = 2**20  # bytes read at a time


class CorpusError(ValueError):
    """A source can't be found or read. The message names it."""


class NotUtf8Error(CorpusError):
    """A file is not text in UTF-8. The message has the offset of the first invalid byte, and a remedy."""


@dataclass(frozen=True)
class TextFile:
    """A file of a corpus."""

    name: str
    """The name in messages, printable."""
    size: int
    """Bytes, before unpacking."""
    identity: tuple[str | int, ...]
    """Differs from that of any other file, and changes when the file changes."""
    path: Path | None = None
    """The file, unless it was read from a pipe."""
    spool: BinaryIO | None = None
    """A copy of the bytes that came through a pipe, which can't be read twice."""

    def pieces(self) -> Iterator[str]:
        """The text in pieces, none of them empty. Raises ``CorpusError`` if the file can't be read or isn't UTF-8."""
        return _normalized(self._decoded())

    def changed(self) -> bool:
        """Whether the file is gone, or no longer the one that was found."""
        try:
            return self.path is not None and self.identity != identity_of(self.path)
        except OSError:
            return True

    def _decoded(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        offset = 0  # of the block
        head = b""
        problem = "its text is not UTF-8" if self._zipped else "not UTF-8"
        try:
            for block in self._blocks():
                if not offset and not is_text(head := block):
                    raise NotUtf8Error(f"{self.name}: {problem}: control characters throughout; {hint(head)}")
                yield decoder.decode(block, final=not block)
                offset += len(block)
        except UnicodeDecodeError as error:  # its object: the bytes that the decoder kept, at most three, and the block
            byte, offset = error.object[error.start], offset - (len(error.object) - len(block)) + error.start
            place = f"byte 0x{byte:02x} at offset {offset}"
            raise NotUtf8Error(f"{self.name}: {problem}: {place}; {hint(head)}") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CorpusError(f"{self.name}: not gzip, damaged or cut off: {error}") from error
        except OSError as error:
            raise CorpusError(f"{self.name}: {error.strerror}") from error

    def _blocks(self) -> Iterator[bytes]:
        """The bytes in blocks, with an empty block at the end."""
        if self.spool is not None:
            self.spool.seek(0)
            yield from iter(functools.partial(self.spool.read, BLOCK_BYTES), b"")
        elif self.path is not None:
            with gzip.open(self.path) if self._zipped else self.path.open("rb") as file:
                yield from iter(functools.partial(file.read, BLOCK_BYTES), b"")
        yield b""

    @property
    def _zipped(self) -> bool:
        return self.path is not None and self.path.suffix == ".gz"


@dataclass(frozen=True)
class Corpus:
    """The files of a training or an evaluation, in their order."""

    name: str
    """The name in reports, printable."""
    sources: tuple[str, ...]
    """The sources as they were given on the command line."""
    files: tuple[TextFile, ...]
    left_out: tuple[str, ...] = ()
    """Names of the files that were left out, each with the reason."""
    folder: str = ""
    """The folder in which relative sources were found; empty: unknown."""

    @property
    def size(self) -> int:
        """Bytes of all files, before unpacking."""
        return sum(file.size for file in self.files)

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(text for _, text in self.pieces())

    def sha256(self) -> str:
        """SHA-256 of the text in UTF-8, in hexadecimal."""
        digest = hashlib.sha256()
        for _, text in self.pieces():
            digest.update(text.encode())
        return digest.hexdigest()

    def pieces(self, order: Iterable[int] | None = None) -> Iterator[tuple[int | None, str]]:
        """The text in pieces, each with the number of its file.

        A newline between two files is a piece with None for a number. ``order`` has the numbers of the files to read;
        None reads all. Raises ``CorpusError`` if a file can't be read or isn't UTF-8.
        """
        ended = True  # the text so far, with a newline
        for number in range(len(self.files)) if order is None else order:
            begins = True
            try:
                for text in self.files[number].pieces():
                    if begins and not ended:
                        yield None, "\n"
                    yield number, text
                    begins, ended = False, text.endswith("\n")
            except NotUtf8Error as error:
                if len(self.files) == 1:
                    raise
                raise NotUtf8Error(
                    f"{error}; name only the texts with a pattern such as 'texts/**/*.txt', "
                    "or leave out all files that are not UTF-8 with --skip-undecodable"
                ) from error


def identity_of(path: Path) -> tuple[str | int, ...]:
    """The file's place, its size, and when its content and its inode changed last; no tool sets the latter back."""
    status = path.stat()
    return str(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _normalized(pieces: Iterable[str]) -> Iterator[str]:
    """``pieces`` of text in normalization form C, none of them empty, and none ending between CR and LF."""
    pending: list[str] = []  # none of them with a place to cut at
    for piece in filter(None, pieces):
        last = pending[-1][-1] if pending else ""
        text = last + piece
        cut = next((n for n in range(len(text) - 1, 0, -1) if _separable(text[n - 1], text[n])), 0)
        if cut:
            yield normalize("".join([*pending, text[len(last) : cut]]))
            pending, piece = [], text[cut:]
        pending.append(piece)
    if pending:
        yield normalize("".join(pending))


def _separable(before: str, after: str) -> bool:
    """Whether a text can be cut here: ``after`` doesn't compose with ``before``, nor do they end a line together."""
    return not joins(after) and not (before == "\r" and after == "\n")
