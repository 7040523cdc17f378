"""Token keys: the secrets that sign resume tokens.

Replicas with a common key continue each other's texts. To replace a key, first add the new one everywhere as the
second, then make it the first, then remove the old one.

Invariant: there is at least one key, and each has at least ``LEAST_BYTES`` bytes; no message shows any part of one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from ..listening import StartError

LEAST_BYTES = 32
VARIABLE = "NEXTCHAR_TOKEN_KEY"

_log = structlog.get_logger()

TokenKeys = tuple[bytes, ...]
"""The keys, at least one. The first one signs."""


def load_keys(path: Path | None, environment: Mapping[str, str]) -> TokenKeys:
    """Returns the keys of the file at ``path``, or else of the variable, or else a random one.

    A file has a key per line. In the variable, which may have no lines, blanks part keys too. Raises ``StartError`` if
    a key is missing, is too short, or, in a file, has a blank.
    """
    if path is not None:
        try:
            return _keys(path.read_text(encoding="utf-8").splitlines(), f"--token-key-file {path}")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise StartError(f"--token-key-file {path}: can't be read: {reason}") from error
    if value := environment.get(VARIABLE, ""):
        return _keys(value.split(), VARIABLE, parted_by=" (blanks part keys)")
    return (secrets.token_bytes(LEAST_BYTES),)


def log_keys(keys: TokenKeys, path: Path | None, environment: Mapping[str, str]) -> None:
    """Writes to the log where ``keys`` come from, if that is surprising: from nowhere, or several from one place."""
    if path is None and not environment.get(VARIABLE, ""):
        _log.warning(
            "random_token_key",
            hint="resume tokens are lost when this server ends; set --token-key-file or NEXTCHAR_TOKEN_KEY",
        )
    elif len(keys) > 1:
        _log.info("token_keys", count=len(keys), hint="the first one signs, and all are accepted")


def _keys(texts: Sequence[str], source: str, parted_by: str = "") -> TokenKeys:
    keys = tuple(text.strip().encode() for text in texts if text.strip())
    if not keys:
        raise StartError(f"{source}: has no key; write one of at least {LEAST_BYTES} random bytes per line")
    for number, key in enumerate(keys, 1):
        place = f"{source}: key {number} of {len(keys)}{parted_by}"
        if len(key.split()) > 1:
            raise StartError(f"{place} has a blank in it; write each key on a line of its own, without blanks")
        if len(key) < LEAST_BYTES:
            raise StartError(
                f"{place} has {len(key)} bytes; it needs at least {LEAST_BYTES}, such as from `openssl rand -hex 32`"
            )
    return keys
