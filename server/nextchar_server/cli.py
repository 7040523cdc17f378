"""The command ``nextchar-server``: from options and variables to a running server."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields

import structlog
import uvloop
from cyclopts import App
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Env

from nextchar_cli.command_line import UsageError, make_app, run
from nextchar_cli.printable import printable
from nextchar_cli.streams import discard_output
from nextchar_model.description import ModelFileError
from nextchar_model.providers import ProviderError

from . import logs, server, signals
from .config import Config
from .listening import StartError
from .model_paths import is_there, name_and_path

PREFIX = "NEXTCHAR_"

_SETTINGS = [setting.name.upper() for setting in fields(Config)]

_OTHERS = re.compile(
    # Variables of the client, of training, of Compose, and the key of resume tokens.
    r"ENDPOINT|CACHE_DIR|CORPUS_DIR|PUBLISHED_\w+|SECRETS|TRAIN_\w+|TOKEN_KEY"
    # Variables that Kubernetes sets in every container for a service called nextchar or nextchar-….
    r"|(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR))"
)
_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")  # value of Kubernetes' others, such as NEXTCHAR_PORT

_LAST_LINES = 0.5
"""Seconds in which the last lines of the log are written at the exit."""

_log = structlog.get_logger()


def main() -> int:
    """Runs the command and returns its exit code."""
    try:
        return run(app)
    except OSError as error:  # of the help or the version: ``serve`` handles its own
        discard_output()
        print(f"nextchar-server: error: the output can't be written: {error.strerror}", file=sys.stderr)
        return 1


def _ignore_unset(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Ignores variables that nobody meant to set.

    These are empty ones, with which Compose files and shells pass an absent value on, and those that Kubernetes sets
    for services called nextchar-grpc, nextchar-http and the like.
    """
    for argument in arguments:
        argument.tokens = [
            token
            for token in argument.tokens
            if token.source != "env" or _is_meant(os.environ.get(token.keyword or "", ""))
        ]


def _is_meant(value: str) -> bool:
    return value != "" and not _SERVICE_LINK.match(value)


app = make_app(
    "nextchar-server",
    "Serves text generation from character-level models over gRPC.\n\n"
    "Every option is also a variable: NEXTCHAR_GRPC_PORT for --grpc-port. An option takes precedence over its "
    "variable; an empty variable means the default.",
    exit_codes="Exit codes: 0: drained after SIGTERM or SIGINT. 1: could not start. 2: an option or a variable is "
    "wrong. 3: had to be ended by force, because it didn't end within the drain timeout and 2 seconds. 130 and 143: "
    "SIGINT and SIGTERM before it served.",
    readers=(Env(PREFIX, command=False), _ignore_unset),
)


@app.default
def serve(*, config: Config | None = None) -> int:
    """Runs the server until SIGTERM or SIGINT, and returns the exit code."""
    config = config or Config()
    unknown = list(unknown_variables(os.environ))
    logs.configure(config.log_level)
    signals.say_with(_say_last)
    for name in service_links(os.environ):
        _log.warning(
            "ignored_variable",
            variable=name,
            hint="Kubernetes set it for a service of that name; use the option, or set enableServiceLinks to false",
        )
    for name in unknown:
        _log.warning("unknown_variable", variable=name, hint="no setting has this name; see nextchar-server --help")
    try:
        uvloop.run(server.serve(config))
    except (ModelFileError, ProviderError, StartError) as error:
        logs.complain(f"nextchar-server: error: {printable(str(error))}{_path_hint(config)}")
        return 1
    except Exception:
        _log.exception("failed")
        return 1
    finally:
        logs.close(_LAST_LINES)
    return 0


def _say_last(event: str, **fields: str | int) -> None:
    _log.error(event, **fields)
    logs.close(signals.LAST_WORDS)


def service_links(environment: Mapping[str, str]) -> Iterator[str]:
    """Yields the variables that are settings by their name, and addresses of Kubernetes services by their value."""
    for setting in _SETTINGS:
        if _SERVICE_LINK.match(environment.get(PREFIX + setting, "")):
            yield PREFIX + setting


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yields the ``NEXTCHAR_*`` variables that nothing reads. Raises ``UsageError`` for a misspelt setting."""
    for name, value in environment.items():
        setting = name.upper().removeprefix(PREFIX)
        if setting == name.upper() or (name == PREFIX + setting and setting in _SETTINGS):
            continue
        if _OTHERS.fullmatch(setting) or not _is_meant(value):
            continue
        if similar := difflib.get_close_matches(setting, _SETTINGS, n=1, cutoff=0.8):
            raise UsageError(f"there is no setting {name}; did you mean {PREFIX}{similar[0]}?")
        yield name


def _path_hint(config: Config) -> str:
    """Explains a missing model file whose path may have been taken apart at a comma or an equals sign."""
    missing = [value for value in config.model if not is_there(name_and_path(value)[1])]
    if not missing:
        return ""
    if len(config.model) > 1 and ",".join(config.model) == os.environ.get("NEXTCHAR_MODEL"):
        return "; NEXTCHAR_MODEL is split at commas: use --model for a path with a comma"
    if "=" in missing[0] and str(name_and_path(missing[0])[1]) != missing[0]:
        return f"; {printable(missing[0])} was read as NAME=PATH"
    return ""
