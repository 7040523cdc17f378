"""The check of a configuration: loads all that a server loads before it serves, and opens no port.

Behind ``nextchar-server --check``. Invariant: each part is one line, and a part that is wrong keeps no other from being
looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NoReturn

from prometheus_client import CollectorRegistry

from nextchar_cli.printable import printable

from .access.credentials import Credentials
from .listening import StartError
from .metrics import CallerMetrics, TracingMetrics
from .rpc.token_keys import VARIABLE, load_keys
from .settings.config import Config
from .settings.model_paths import is_there, name_and_path
from .tls.certificate import CertificateFiles, load_certificate
from .tracing.export import Export
from .tracing.variables import asked_by
from .versions.loading import load
from .versions.sources import ModelSource, ModelSources, Refused
from .watching import Watch

Part = tuple[str, Callable[[], str]]
"""The name of a part, and the function that loads it and describes it."""


def checked(config: Config) -> int:
    """Prints a line for each part of a server, and returns the exit code: 1 if a part is wrong, or else 0."""
    code = 0
    for name, describe in _parts(config):
        try:
            line = f"{name}: good: {describe()}"
        except StartError as error:
            line, code = f"{name}: wrong: {error}", 1
        print(printable(line))
    return code


def path_hint(config: Config, environment: Mapping[str, str]) -> str:
    """Explains a missing model file whose path may have been taken apart at a comma or an equals sign."""
    missing = [value for value in config.model if not is_there(name_and_path(value)[1])]
    if not missing:
        return ""
    if len(config.model) > 1 and ",".join(config.model) == environment.get("NEXTCHAR_MODEL"):
        return "; NEXTCHAR_MODEL is split at commas: use --model for a path with a comma"
    if "=" in missing[0] and str(name_and_path(missing[0])[1]) != missing[0]:
        return f"; {printable(missing[0])} was read as NAME=PATH"
    return ""


def _parts(config: Config) -> Iterator[Part]:
    if (files := config.certificate_files) is not None:
        yield "certificate", lambda: _certificate(files)
    if config.has_callers:
        yield "callers", lambda: _callers(config)
    if asked_by(os.environ):
        yield "traces", _traces
    yield "token keys", lambda: _keys(config)
    try:
        sources = ModelSources(config.models, config.models_dir).find()
    except OSError as error:
        message = f"--models-dir {config.models_dir}: can't be read: {error.strerror}"
        yield "models", lambda: _refused(message)
        return
    if not sources:
        yield "models", lambda: _refused(f"--models-dir {config.models_dir}: has no file that ends in .onnx")
    for source in sources:
        yield f"model {source.key}", partial(_model, source, config)


def _certificate(files: CertificateFiles) -> str:
    return f"{files.chain}, valid until {load_certificate(files).ends:%Y-%m-%d}"


def _traces() -> str:
    export = Export(TracingMetrics(CollectorRegistry()))
    return f"to {' and '.join(export.names)}, sampled by {export.sampler}"


def _keys(config: Config) -> str:
    if config.token_key_file is None and not os.environ.get(VARIABLE):
        return "a random one, with which resume tokens end with the server"
    count = len(load_keys(config.token_key_file, os.environ))
    return f"{count} from {config.token_key_file or VARIABLE}"


def _callers(config: Config) -> str:
    Credentials(config, Watch(), CallerMetrics(CollectorRegistry()))
    return " and ".join(str(path) for path in (config.auth_tokens_file, config.auth_jwks_file) if path is not None)


def _model(source: ModelSource, config: Config) -> str:
    loaded = source.refused or load(source.path, config)
    if isinstance(loaded, Refused):
        _refused(loaded.message)
    runner, replay = loaded.runner, loaded.replay
    return (
        f"{source.path}, {runner.description.precision} on {runner.provider}, replays "
        f"{'exactly' if replay.exact else 'closely'}, digest {runner.digest[:12]}"
    )


def _refused(message: str) -> NoReturn:
    raise StartError(message)
