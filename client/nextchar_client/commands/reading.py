"""Files of any size, in parts, for the commands that needn't hold them whole."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator

from nextchar_cli.command_line import UsageError

_PART = 2**16  # bytes


def parts_of(file: str, *, name: str, verbatim: bool = False) -> Iterator[str]:
    """Yields the text of ``file``, of standard input for ``-``, as it comes; none is empty.

    Unless ``verbatim``, CR LF and CR become newlines and a byte order mark at the start is dropped, because models are
    trained on such text. Raises ``UsageError``, which begins with ``name``, the option, if the file can't be read or
    isn't UTF-8.
    """
    source = "standard input" if file == "-" else file
    decoder = codecs.getincrementaldecoder("utf-8" if verbatim else "utf-8-sig")()
    lines = io.IncrementalNewlineDecoder(None, translate=True)
    before = 0  # bytes that were read before the piece at hand
    try:
        for piece in _pieces(file, name):
            kept = len(decoder.getstate()[0])
            text = decoder.decode(piece, final=not piece)
            if not verbatim:
                text = lines.decode(text, final=not piece)
            before += len(piece)
            if text:
                yield text
    except (OSError, ValueError) as error:  # a name with a null byte is a ValueError
        if isinstance(error, UnicodeDecodeError):
            place, byte = before - kept + error.start, error.object[error.start]
            raise UsageError(f"{name}: {source}: byte 0x{byte:02x} at offset {place} is not UTF-8") from None
        raise UsageError(f"{name}: cannot read {source}: {getattr(error, 'strerror', error)}") from None


def _pieces(file: str, name: str) -> Iterator[bytes]:
    """Yields the bytes of ``file`` as they come, and an empty piece at the end."""
    if file != "-":
        with open(file, "rb", buffering=0) as opened:  # noqa: PTH123 - unbuffered
            while piece := opened.read(_PART):
                yield piece
    elif sys.stdin is None:
        raise UsageError(f"{name}: standard input is closed")
    else:
        # Not through the buffer, whose lock a thread that still waits for a terminal or a pipe would hold at exit.
        stream = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        while piece := stream.read(_PART):
            yield piece
    yield b""


def require_readable(file: str, *, name: str) -> None:
    """Raises ``UsageError``, which begins with ``name``, if ``file`` can't be opened: before a server is asked."""
    if file == "-":
        if sys.stdin is None:
            raise UsageError(f"{name}: standard input is closed")
        return
    try:
        os.close(os.open(file, os.O_RDONLY))
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: cannot read {file}: {getattr(error, 'strerror', error)}") from None
