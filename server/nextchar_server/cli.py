"""The command ``nextchar-server``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from importlib.metadata import version
from typing import Any

import uvloop
from pydantic import ValidationError
from pydantic_settings import CliApp, CliSettingsSource, SettingsError

from nextchar_model.description import ModelFileError
from nextchar_model.providers import ProviderError

from . import logs
from .config import Config
from .server import StartError, serve


def main() -> int:
    """Runs the server; gives 0 drained after a signal, 1 could not start, 2 wrong flag or variable."""
    source = CliSettingsSource[Any](Config, add_argument_method=_add_argument)
    source.root_parser.add_argument(
        "--version", action="version", version=f"nextchar {version('nextchar')}", help="show the version and exit"
    )
    try:
        config = CliApp.run(Config, cli_settings_source=source)
    except ValidationError as error:
        for problem in error.errors():
            flag = str(problem["loc"][0]).replace("_", "-")
            own = problem["type"] == "value_error"  # one of ours, which names the value itself
            message = str(problem["ctx"]["error"]) if own else f"{problem['msg']}, not {problem['input']!r}"
            print(f"nextchar-server: error: --{flag}: {message}", file=sys.stderr)
        return 2
    except SettingsError as error:
        print(f"nextchar-server: error: {error}", file=sys.stderr)
        return 2
    logs.configure(config.log_level)
    try:
        uvloop.run(serve(config))
    except (ModelFileError, ProviderError, StartError) as error:
        print(f"nextchar-server: error: {error}", file=sys.stderr)
        return 1
    return 0


_PLACE_HOLDERS = {"tuple[str,...]": "[NAME=]PATH", "str": "ADDRESS", "int": "NUMBER", "float": "SECONDS"}


def _add_argument(parser: ArgumentParser, *names: str, **options: Any) -> Any:
    """Adds an argument whose place holder says what it is in words, where pydantic's would be a Python type."""
    if options.get("metavar") in _PLACE_HOLDERS:
        options["metavar"] = _PLACE_HOLDERS[options["metavar"]]
    return parser.add_argument(*names, **options)
