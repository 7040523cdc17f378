"""The encodings: the likely kind of a file that isn't UTF-8, judged by its first bytes, and how to make a text of it.

Bytes can be valid UTF-8 and still no text: in UTF-16, Latin and Cyrillic letters are a letter's or a control
character's byte beside a zero or a four. So a text that holds control characters throughout is refused too.
"""

from __future__ import annotations

_FORMATS = {
    b"\x1f\x8b": "gzip: unpack it, or give its name the ending .gz",
    b"PK\x03\x04": "a zip archive: unpack it",
    b"%PDF": "a PDF: extract its text, e.g. with pdftotext",
    b"BZh": "bzip2: unpack it",
    b"\xfd7zXZ": "xz: unpack it",
    b"\x28\xb5\x2f\xfd": "zstandard: unpack it",
    b"\x7fELF": "a program",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
}

_MARKS = {  # UTF-32's begins with UTF-16's
    b"\xff\xfe\x00\x00": "UTF-32LE",
    b"\x00\x00\xfe\xff": "UTF-32BE",
    b"\xff\xfe": "UTF-16LE",
    b"\xfe\xff": "UTF-16BE",
}

_CONTROLS = bytes({*range(0x20)} - set(b"\t\n\v\f\r\x1b") | {0x7F})
_MANY = 1 / 20  # control characters per byte that no text has
_LOPSIDED = 0.7  # of the zeros, at one place of two
_ZEROS = 1 / 50  # of the bytes, at least: those of spaces and line ends


def is_text(content: bytes) -> bool:
    """Whether the beginning of a file that may be UTF-8 can be a text: few of its bytes are control characters."""
    return _controls(content) <= _MANY * len(content)


def hint(content: bytes) -> str:
    """Returns the kind of file that begins with ``content``, and the remedy."""
    for magic, remedy in _FORMATS.items():
        if content.startswith(magic):
            return f"it looks like {remedy}"
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None) or _wide(content)
    if encoding is not None:
        return f"it looks like {encoding}: convert it with iconv -f {encoding} -t UTF-8"
    if _controls(content) > _MANY * len(content):
        return "it looks like binary data, not like text"
    return "if it is text in another encoding, such as CP1252 or EUC-KR, convert it with iconv -f CP1252 -t UTF-8"


def _controls(content: bytes) -> int:
    return len(content) - len(content.translate(None, _CONTROLS))


def _wide(content: bytes) -> str | None:
    """The encoding of text without a mark whose characters take two or four bytes each, judged by its zeros."""
    zeros = [content[place::4].count(0) for place in range(4)]
    quarter = len(content) / 4
    if quarter and sum(zeros) > 2 * quarter:  # of UTF-32, more than half
        return "UTF-32LE" if zeros[3] >= zeros[0] else "UTF-32BE"
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if even + odd > _ZEROS * len(content) and max(even, odd) >= _LOPSIDED * (even + odd):
        return "UTF-16LE" if odd > even else "UTF-16BE"
    return None
