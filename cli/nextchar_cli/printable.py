"""Text from outside as people see it: file names, arguments and messages that may hold any character.

Everything that a command says of such text passes through here. Invariant: the results hold no control character and
no half of a surrogate pair, so a terminal shows them, a line stays one line, and any file in UTF-8 takes them.
"""

from __future__ import annotations

import os
import shlex
import unicodedata

_JOINERS = "\u200c\u200d"  # invisible, and part of ordinary Persian and of emoji


def printable(text: str) -> str:
    r"""Returns ``text`` with an escape in place of each character that can't be seen, such as ``\n`` or ``\x1b``.

    A byte that isn't UTF-8, which Python passes on as half of a surrogate pair, becomes ``\xff``.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def one_line(message: str) -> str:
    """Returns ``message`` on one line, with single spaces."""
    return printable(" ".join(message.split()))


def shell_word(argument: str) -> str:
    """Returns ``argument`` as a shell reads it back, on one line.

    Bash, zsh and ksh know the form ``$'…'``, which is used if there are characters that can't be seen.
    """
    if argument.isprintable():
        return shlex.quote(argument)
    shown = []
    for byte in os.fsencode(argument):
        character = chr(byte)
        safe = character.isascii() and character.isprintable() and character not in "\\'"
        shown.append(character if safe else f"\\x{byte:02x}")
    return f"$'{''.join(shown)}'"


def shell_path(path: os.PathLike[str] | str) -> str:
    """Returns ``path`` as an argument that no command takes for an option."""
    text = os.fspath(path)
    return shell_word(f"./{text}" if text.startswith("-") else text)


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs":  # a space
        return character
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
