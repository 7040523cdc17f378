"""The command ``nextchar-server``."""

from __future__ import annotations

import sys

import uvloop
from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from nextchar_server import logs
from nextchar_server.config import Config
from nextchar_server.server import StartError, serve
from nextchar_training.model_file import ModelFileError
from nextchar_training.runner import ProviderError


def main() -> None:
    """Runs the server. Exit codes: 0 drained after a signal, 1 could not start, 2 wrong flag or variable."""
    try:
        config = CliApp.run(Config)
    except ValidationError as error:
        for problem in error.errors():
            flag = "-".join(str(part) for part in problem["loc"][:1]).replace("_", "-")
            print(f"nextchar-server: error: --{flag}: {problem['msg']}, not {problem['input']!r}", file=sys.stderr)
        sys.exit(2)
    except SettingsError as error:
        sys.exit(f"nextchar-server: error: {error}")
    logs.configure(config.log_level)
    try:
        uvloop.run(serve(config))
    except (ModelFileError, ProviderError, StartError) as error:
        print(f"nextchar-server: error: {error}", file=sys.stderr)
        sys.exit(1)
