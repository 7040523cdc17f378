"""``NEXTCHAR_*`` variables: which of them are settings, and which others may be there.

``cli`` reads settings from them, after options and before the configuration file. Invariant: a variable that looks like
a setting and isn't one is an error; one that nobody set for this server changes nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields

from nextchar_cli.command_line import UsageError

from .config import Config

PREFIX = "NEXTCHAR_"

_SETTINGS = [setting.name.upper() for setting in fields(Config)]

_ALSO_READ = ["CONFIG", "TOKEN_KEY"]
"""Read by this server too, though they are no fields of ``Config``."""

_OTHERS = re.compile(
    # Variables of the client, of training and of Compose.
    r"ENDPOINT(_CA|_CERT|_KEY)?|TOKEN|CACHE_DIR|CORPUS_DIR|PUBLISHED_\w+|SECRETS|TRAIN_\w+"
    # Variables that Kubernetes sets in every container for a service called nextchar or nextchar-….
    r"|(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR))"
)
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")  # value of Kubernetes' others, such as NEXTCHAR_PORT

_SIMILARITY = 0.705
"""From 0 to 1: how alike a variable and a setting are if one is the other, misspelt."""


def is_meant(value: str) -> bool:
    """Whether somebody meant to set a variable to ``value``.

    Not if it is empty, with which Compose files and shells pass an absent value on, and not if it is an address that
    Kubernetes sets for a service called nextchar-grpc, nextchar-http or the like.
    """
    return value != "" and not _SERVICE_LINK.match(value)


def service_links(environment: Mapping[str, str]) -> Iterator[str]:
    """Yields the variables that are settings by their name, and addresses of Kubernetes services by their value."""
    for setting in _SETTINGS:
        if _SERVICE_LINK.match(environment.get(PREFIX + setting, "")):
            yield PREFIX + setting


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yields the ``NEXTCHAR_*`` variables that nothing reads. Raises ``UsageError`` for a misspelt setting.

    The others are no errors: whoever packages a server may have variables of his own, such as NEXTCHAR_VERSION.
    """
    names = [*_SETTINGS, *_ALSO_READ]
    for name, value in environment.items():
        setting = name.upper().removeprefix(PREFIX)
        if setting == name.upper() or (name == PREFIX + setting and setting in names):
            continue
        if _OTHERS.fullmatch(setting) or not is_meant(value):
            continue
        if similar := difflib.get_close_matches(setting, names, n=1, cutoff=_SIMILARITY):
            raise UsageError(f"there is no setting {name}; did you mean {PREFIX}{similar[0]}?")
        yield name
