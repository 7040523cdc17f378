"""The list of tokens: the callers that an operator names, and the digests of their tokens.

A file has one token per line: NAME SHA256HEX, and after these ``streams=NUMBER`` and ``rate=NUMBER`` if the caller's
limits aren't the default ones. Lines that start with # are comments. A caller has several lines while its token is
replaced.

Invariant: a token is never in the file, in memory beyond its call, or in a message; nor is a word of a line, because
it may be a token that was written by mistake.

Tokens are compared by looking up their digests in a dictionary. That takes a different time for different tokens, but
these times tell at most something about the digests in the list, of which no token follows: the digest of a guess can't
be steered, and a token of 256 random bits can't be guessed from its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ..listening import StartError
from .callers import Identity, Limits

MOST_NAME_BYTES = 255
"""Most bytes of a caller's name."""

_DIGEST_BYTES = hashlib.sha256().digest_size
_MOST_DIGITS = 9  # of a limit

TokenList = Mapping[bytes, Identity]
"""The callers by the digests of their tokens."""


class CredentialError(Exception):
    """There is no credential, or none that is accepted. The message says why, and quotes nothing of it."""


class _LineError(Exception):
    """A line is wrong. The message says why."""


def digest(token: str) -> bytes:
    """Returns the SHA-256 of a token that a caller presents."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def is_name(name: str) -> bool:
    """Whether ``name`` can stand in a line of the log and in a metric."""
    return 0 < len(name.encode("utf-8", "surrogatepass")) <= MOST_NAME_BYTES and name.isprintable()


def read_token_list(path: Path, default: Limits) -> TokenList:
    """Returns the callers of the file. ``default`` are the limits of those whose lines have none.

    Raises ``StartError`` with the first line that is wrong.
    """
    source = f"--auth-tokens-file {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise StartError(f"{source}: can't be read: {reason}") from None
    tokens: dict[bytes, Identity] = {}
    limits: dict[str, Limits] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not (words := line.split()) or words[0].startswith("#"):
            continue
        try:
            key, identity = _read_line(words, default)
            if key in tokens:
                raise _LineError("its token is on an earlier line already")
            if limits.setdefault(identity.name, identity.limits) != identity.limits:
                raise _LineError("its limits differ from those of an earlier line of the same name; write the same")
        except _LineError as error:
            raise StartError(f"{source}: line {number}: {error}") from None
        tokens[key] = identity
    if not tokens:
        raise StartError(f"{source}: has no token; write a line: NAME SHA256HEX")
    return MappingProxyType(tokens)


def _read_line(words: list[str], default: Limits) -> tuple[bytes, Identity]:
    if len(words) == 1:
        raise _LineError("it has one word; write NAME SHA256HEX")
    name, key, *settings = words
    if not is_name(name):
        raise _LineError(f"its name has an invisible character, or more than {MOST_NAME_BYTES} bytes")
    try:
        found = bytes.fromhex(key)
    except ValueError:
        found = b""
    if len(found) != _DIGEST_BYTES:
        raise _LineError("its second word isn't a SHA-256 of 64 hexadecimal digits")
    given: dict[str, int] = {}
    for setting in settings:
        limit, _, value = setting.partition("=")
        if limit not in ("streams", "rate") or limit in given:
            raise _LineError("after the digest it may have streams=NUMBER and rate=NUMBER, each once")
        if not (value.isascii() and value.isdecimal() and len(value) <= _MOST_DIGITS):
            raise _LineError(f"its {limit} isn't a number of at most {_MOST_DIGITS} digits; 0 is no limit")
        given[limit] = int(value)
    return found, Identity(name, Limits(**{"streams": default.streams, "rate": default.rate, **given}), is_listed=True)
