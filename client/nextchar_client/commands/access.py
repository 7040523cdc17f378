"""The options that say how to connect: TLS, and the token by which the server knows the caller.

Every command takes them, in one argument. Invariant: a token comes from a file or a variable, never from the command
line, which other users of the machine can read; and no message quotes it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from nextchar_cli.command_line import UsageError

from ..options import AccessOptions
from .arguments import VARIABLES

_TOKEN = VARIABLES["token"]


def _path(_: Any, tokens: Sequence[Token]) -> str:
    return tokens[0].value


def _file(text: str, *, default: str, variable: str | None = None) -> Parameter:
    """The spelling of an option that names a file, as does ``variable``."""
    shown = default if variable is None else f"${variable}, or {default}"
    return Parameter(
        converter=_path, env_var=variable, metavar="FILE", allow_leading_hyphen=True, help=text, show_default=shown
    )


@dataclass(frozen=True)
class AccessArguments:
    """The options of a command that say how to connect."""

    tls: Annotated[
        bool,
        Parameter(
            help="Use TLS, as for an endpoint that begins with grpcs:// or https://; --tls-ca and --tls-cert imply it.",
            show_default=False,
        ),
    ] = False
    tls_ca: Annotated[
        str | None,
        _file(
            "Certificates of the authorities that may sign the server's, in PEM.",
            default="the public authorities",
            variable=VARIABLES["tls_ca"],
        ),
    ] = None
    tls_cert: Annotated[
        str | None,
        _file(
            "Certificate of the caller, in PEM, for a server that wants one.",
            default="none",
            variable=VARIABLES["tls_cert"],
        ),
    ] = None
    tls_key: Annotated[
        str | None,
        _file(
            "Private key of --tls-cert, in PEM, without a passphrase.", default="none", variable=VARIABLES["tls_key"]
        ),
    ] = None
    token_file: Annotated[
        str | None,
        _file(
            "File with the token by which the server knows the caller; lines that begin with # are comments.",
            default=f"the token in ${_TOKEN}, or none",
        ),
    ] = None
    allow_plaintext_token: Annotated[
        bool,
        Parameter(
            help="Send the token without TLS to another machine too, although it is readable on the way.",
            show_default=False,
        ),
    ] = False

    def options(self) -> AccessOptions:
        """The keywords for a client. Raises ``UsageError`` if the token can't be used."""
        return {
            "tls": self.tls,
            "tls_ca": self.tls_ca,
            "tls_cert": self.tls_cert,
            "tls_key": self.tls_key,
            "token": self._token(),
            "allow_plaintext_token": self.allow_plaintext_token,
        }

    def _token(self) -> str | None:
        from ..access import token_complaint

        name = _TOKEN if self.token_file is None else "--token-file"
        token = os.environ.get(_TOKEN) or None if self.token_file is None else _token_in(self.token_file)
        complaint = None if token is None else token_complaint(token)
        if complaint:
            raise UsageError(f"{name}: the token is malformed: {complaint}")
        return token


Access = Annotated[AccessArguments | None, Parameter(name="*")]


def options_of(access: AccessArguments | None) -> AccessOptions:
    """The keywords for a client; ``access`` is None if none of its options was given."""
    return (access or AccessArguments()).options()


def _token_in(file: str) -> str:
    """The token in ``file``: its only line that is neither empty nor a comment. Raises ``UsageError`` otherwise."""
    try:
        text = Path(file).read_bytes().decode()
    except (OSError, ValueError) as error:  # also of a name with a null byte, and of bytes that aren't UTF-8
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", error)
        raise UsageError(f"--token-file: cannot read {file}: {reason}") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        found = "no token" if not lines else f"{len(lines)} lines with a token"
        raise UsageError(f"--token-file: {file} has {found}; it must have one, on a line of its own")
    return lines[0].strip()
