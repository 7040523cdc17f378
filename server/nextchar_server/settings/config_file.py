"""The configuration file: values of settings that neither an option nor a variable sets, in TOML.

``cli`` reads it, and writes the effective configuration in the same form. A key is the name of the option:
``grpc-port`` for ``--grpc-port``. Relative paths start from the folder of the file, so that a file and its neighbours
can be mounted anywhere.

Invariant: a key or a value that can't be used is an error that names the file, the key and the remedy; a file that was
written is read as the same configuration, from any folder.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from cyclopts import Token
from cyclopts.argument import Argument

from nextchar_cli.command_line import FILE, UsageError
from nextchar_cli.wording import quoted

from .config import Config
from .model_paths import name_and_path

_SIMILARITY = 0.6  # of a key and the one that was meant, from 0 to 1


def read_file(path: Path, origin: str, settings: Mapping[str, Argument], options: Sequence[str]) -> None:
    """Adds the values of the file at ``path`` to those of ``settings`` that have none.

    ``origin`` is the option or the variable that names the file, ``settings`` has the arguments by key, and ``options``
    the names of other options. Raises ``UsageError``.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{origin}: {path}: can't be read: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: is not valid TOML: {error}") from error
    for key, value in content.items():
        if key not in settings:
            raise UsageError(f"{path}: {_unknown(key, value, settings, options)}")
        setting = settings[key]
        try:
            texts = _texts(setting, value, path.parent)
        except ValueError as error:
            raise UsageError(f"{path}: {key}: {error}") from error
        if setting.tokens:
            continue
        for index, text in enumerate(texts):
            setting.append(Token(keyword=f"{path}: {key}", value=text, source=FILE, index=index))


def written(config: Config, origins: Mapping[str, str]) -> str:
    """Returns ``config`` as a file; ``origins`` tells, by the name of a field, where its value comes from."""
    lines = []
    for setting in fields(Config):
        key, value = setting.name.replace("_", "-"), getattr(config, setting.name)
        if value in (None, (), ""):
            lines.append(f"# {key} is not set")
            continue
        try:
            lines.append(f"{key} = {_toml(setting.name, value)}  # {origins.get(setting.name, 'default')}")
        except UnicodeEncodeError:
            raise UsageError(f"{key}: {value!r} can't be written, because a file in TOML is UTF-8") from None
    return "".join(f"{line}\n" for line in lines)


def _unknown(key: str, value: object, settings: Mapping[str, Argument], options: Sequence[str]) -> str:
    if (dashed := key.replace("_", "-").lower()) in settings:
        return f"there is no key {key!r}; write {dashed}, as in the option"
    if f"--{key}" in options:
        return f"there is no key {key!r}; --{key} is an option only"
    if similar := difflib.get_close_matches(dashed, settings, n=1, cutoff=_SIMILARITY):
        return f"there is no key {key!r}; did you mean {similar[0]}?"
    if isinstance(value, dict):
        return f"there is no table [{key}]; all keys stand at the top of the file"
    return f"there is no key {key!r}; keys are the names of the options, such as grpc-port"


def _texts(setting: Argument, value: object, folder: Path) -> list[str]:
    """Returns ``value`` as the option would have it. Raises ``ValueError`` if it has another type."""
    hint = _plain(setting.hint)
    match hint:
        case type() if hint is bool:
            is_right, kind = isinstance(value, bool), "true or false, without quotes"
        case type() if hint is int:
            is_right, kind = type(value) is int, "a whole number, without quotes"
        case type() if hint is float:
            is_right, kind = type(value) in (int, float), "a number, without quotes"
        case _ if int in get_args(hint):
            is_right, kind = type(value) is int or isinstance(value, str), 'a whole number, or "auto" in quotes'
        case _ if get_origin(hint) is tuple:
            values = value if isinstance(value, list) else [value]
            if not values or not all(isinstance(each, str) for each in values):
                raise ValueError(f"{quoted(value)} is invalid; it must be a text in quotes, or a list of them")
            return [_anchored(setting, str(each), folder) for each in values]
        case _:
            is_right, kind = isinstance(value, str), "a text in quotes"
    if not is_right:
        raise ValueError(f"{quoted(value)} is invalid; it must be {kind}")
    if isinstance(value, str):
        return [_anchored(setting, value, folder)]
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def _anchored(setting: Argument, value: str, folder: Path) -> str:
    """Returns ``value``; if it has a relative path, that path from ``folder``."""
    if setting.keys == ("model",):
        return _anchored_model(value, folder)
    return str(folder / value) if Path in (setting.hint, *get_args(setting.hint)) and value else value


def _anchored_model(value: str, folder: Path) -> str:
    _, path = name_and_path(value, folder)
    if path == Path(value):
        return str(folder / path) if value else value
    return f"{value.partition('=')[0]}={folder / path}"


def _toml(name: str, value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case tuple():
            return f"[{', '.join(_toml(name, each) for each in value)}]"
        case Path():
            value = os.path.abspath(value)  # noqa: PTH100 - keeps symbolic links, as a reader would
        case str() if name == "model":
            value = _anchored_model(value, Path.cwd())
    text = str(value)
    text.encode()
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _plain(hint: Any) -> Any:
    alternatives = [kind for kind in get_args(hint) if kind is not NoneType]
    return alternatives[0] if NoneType in get_args(hint) and len(alternatives) == 1 else hint
