"""The command ``nextchar-server``: from options and variables to a running server."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import structlog
from cyclopts import App, Parameter
from cyclopts.argument import Argument, ArgumentCollection
from cyclopts.config import Env

from nextchar_cli.command_line import FILE, make_app, run
from nextchar_cli.printable import printable
from nextchar_cli.streams import discard_output

from . import cores, ram, signals
from .listening import StartError
from .logs import logs
from .settings.config import Config
from .settings.config_file import read_file, written
from .settings.variables import PREFIX, is_meant, service_links, unknown_variables
from .shares import SUPERVISOR_BYTES, default_workers, shares
from .workers.supervisor import supervise

_LAST_LINES = 0.5
"""Seconds in which the last lines of the log are written at the exit."""

_ACTIONS = ("--check", "--print-config")
"""Options that are no settings of a server."""

_origins: dict[str, str] = {}
"""Where the value of each field of the configuration comes from. Read with the command line, of which there is one."""

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
    """Ignores variables that nobody meant to set, and those for options that aren't settings."""
    for argument in arguments:
        argument.tokens = [
            token
            for token in argument.tokens
            if token.source != "env"
            or (is_meant(os.environ.get(token.keyword or "", "")) and argument.name not in _ACTIONS)
        ]


def _read_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Reads the configuration file, if one is named."""
    settings = {argument.name.removeprefix("--"): argument for argument in arguments if argument.keys}
    options = [argument.name for argument in arguments if not argument.keys]
    (named,) = (argument.tokens for argument in arguments if argument.name == "--config")
    if named:
        read_file(Path(named[-1].value), named[-1].keyword or "--config", settings, options)
    _origins.clear()
    _origins.update((argument.keys[0], _origin(argument)) for argument in arguments if argument.keys)


def _origin(argument: Argument) -> str:
    if not argument.tokens:
        return "default"
    first = argument.tokens[0]
    keyword = first.keyword or argument.name
    return keyword if first.source != FILE else keyword.rpartition(": ")[0]


app = make_app(
    "nextchar-server",
    "Serves text generation from character-level models over gRPC.\n\n"
    "Every option but --check and --print-config is also a variable, NEXTCHAR_GRPC_PORT for --grpc-port, and, "
    "except --config, a key of the file that --config names: grpc-port. An option takes precedence over its variable, "
    "and a variable over the file; an empty variable counts as absent.",
    exit_codes="Exit codes: 0: drained after SIGTERM or SIGINT; nothing is wrong (--check). 1: could not start; "
    "something is wrong (--check). 2: an option, a variable or the configuration file is wrong. 3: had to be ended by "
    "force, because it didn't end within the lame duck, the drain timeout and 2 seconds. 130 and 143: SIGINT and "
    "SIGTERM before it served.",
    readers=(Env(PREFIX, command=False), _ignore_unset, _read_file),
)


@app.default
def serve(
    *,
    config: Config | None = None,
    file: Annotated[
        Path | None,
        Parameter(
            name="--config",
            metavar="FILE",
            show_default="none",
            help="Configuration file in TOML: keys are the names of these options, without dashes before them. "
            "Relative paths in it start from its folder.",
        ),
    ] = None,
    check: Annotated[
        bool,
        Parameter(help="Don't serve: load all that a server would load, print one line for each part, and exit."),
    ] = False,
    print_config: Annotated[
        bool,
        Parameter(
            help="Don't serve: print the effective configuration as a file that --config reads, with the origin of "
            "each value, and exit."
        ),
    ] = False,
) -> int:
    """Runs the server until SIGTERM or SIGINT, and returns the exit code."""
    config = config or Config()
    unknown = list(unknown_variables(os.environ))
    if print_config:
        print(written(config, _origins), end="")
        return 0
    if check:
        return _check(config)
    run = _runner(config)
    logs.configure(config.log_level, config.log_format)
    signals.say_with(_say_last)
    for name in service_links(os.environ):
        _log.warning(
            "ignored_variable",
            variable=name,
            hint="Kubernetes set it for a service of that name; use the option, or set enableServiceLinks to false",
        )
    for name in unknown:
        _log.warning("unknown_variable", variable=name, hint="no setting has this name; see nextchar-server --help")
    return _run(config, run)


def _check(config: Config) -> int:
    from .check import checked

    logs.configure("error")  # the lines of the check say the rest
    try:
        return checked(config)
    finally:
        logs.close(_LAST_LINES)


def _runner(config: Config) -> Callable[[], int]:
    """Returns the function that runs the server or its supervisor and returns the exit code."""
    usable = cores.usable()
    workers = config.workers
    if workers == "auto":
        workers = default_workers(usable, ram.usable() - _common_bytes(config), _model_bytes(config))
    if workers > 1:
        return partial(supervise, config, shares(workers, usable, os.sched_getaffinity(0)))
    from . import life  # a supervisor needs none of it, and it is most of the memory and of the time to start

    return partial(life.run, config)


def _model_files(config: Config) -> list[Path]:
    folder = config.models_dir
    return [*config.models.values(), *(folder.glob("*.onnx") if folder is not None else ())]


def _model_bytes(config: Config) -> int:
    """Returns the size of all model files; those that can't be read are reported by whoever opens them."""
    size = 0
    for path in _model_files(config):
        with suppress(OSError):
            size += path.stat().st_size
    return size


def _common_bytes(config: Config) -> int:
    """Returns the memory that all workers together take beside their own: for calls, caches and the supervisor."""
    caches = config.prefix_cache * len(_model_files(config))
    return SUPERVISOR_BYTES + (config.memory_budget + caches) * 2**20


def _run(config: Config, run: Callable[[], int]) -> int:
    try:
        return run()
    except StartError as error:
        from .check import path_hint

        logs.complain(f"nextchar-server: error: {printable(str(error))}{path_hint(config, os.environ)}")
        return 1
    except Exception:
        _log.exception("failed")
        return 1
    finally:
        logs.close(_LAST_LINES)


def _say_last(event: str, **fields: str | int) -> None:
    _log.error(event, **fields)
    logs.close(signals.LAST_WORDS)
