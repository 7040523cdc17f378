"""The command line: the common part of ``nextchar``, ``nextchar-server`` and ``nextchar-train``.

Options, their ranges and defaults come from functions and dataclasses, through cyclopts. What always holds: a mistake
is one line on standard error that names the option or the variable, and exit code 2.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    RepeatArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)
from cyclopts.argument import Argument

from .wording import explain

WRONG_USAGE = 2
"""Exit code of a mistake on the command line."""


class UsageError(Exception):
    """Options that don't go together. Raised by a command; the message names them."""


def make_app(name: str, description: str, *, exit_codes: str = "", **options: Any) -> App:
    """An empty application; ``exit_codes`` stands below its help and that of its commands."""
    return App(
        name=name,
        help=description,
        help_format="plaintext",
        help_epilogue=exit_codes or None,
        version=f"nextchar {version('nextchar')}",
        default_parameter=Parameter(negative=(), show_env_var=False),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        **options,
    )


def run(app: App, arguments: Sequence[str] | None = None) -> int:
    """Runs ``app`` with ``arguments``, or those of the process, and returns the exit code.

    A command returns its own exit code, or None for 0.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _complain(app, _message(error), error.command_chain or ())
    except UsageError as error:
        return _complain(app, str(error), app.parse_commands(tokens)[0])
    return int(code) if code is not None else 0


def _complain(app: App, message: str, command: Sequence[str]) -> int:
    name = app.name[0]
    usage = " ".join([name, *command, "--help"])
    print(f"{name}: error: {' '.join(message.split())} (see {usage})", file=sys.stderr)
    return WRONG_USAGE


def _message(error: CycloptsError) -> str:
    argument = error.argument
    match error:
        case ValidationError(__cause__=cause) if cause is not None and hasattr(cause, "errors"):
            field, what = explain(cause)
            return f"{_origin(argument, field)}: {what}" if field and argument is not None else what
        case ValidationError() if argument is not None:
            return f"{_origin(argument)}: {error.exception_message}"
        case CoercionError() if argument is not None:
            token = error.token or argument.tokens[0]
            return f"{_origin(argument)}: {token.value!r} is invalid; it must be {_kind(argument.hint)}"
        case MissingArgumentError() if argument is not None:
            given = argument.name in (error.root_input_tokens or ())
            return f"{argument.name} needs a value" if given else f"{_origin(argument)} is required"
        case RepeatArgumentError() if error.token is not None:
            return f"{error.token.keyword} is given twice"
        case UnknownOptionError() if _may_be_text(error):
            option = error.token.keyword or error.token.value
            return f"unknown option: {option}. Put -- before an argument that starts with a dash"
        case UnusedCliTokensError():
            return f"unexpected argument {(error.unused_tokens or [''])[0]!r}"
    message = str(error).strip().rstrip(".")
    return message[:1].lower() + message[1:]


def _may_be_text(error: UnknownOptionError) -> bool:
    """Whether an unknown option may be meant as a positional argument, such as a prompt."""
    takes_arguments = any(argument.index is not None for argument in error.argument_collection)
    return takes_arguments and not (error.token.keyword or error.token.value).startswith("--")


def _origin(argument: Argument, field: str = "") -> str:
    """The option or the environment variable that gave ``argument``, or a field of it, its value."""
    first = field.partition(".")[0]
    for child in argument.children:
        if child.keys[-1:] == (first,):
            argument = child
    for token in argument.tokens:
        if token.source == "env" and token.keyword:
            return token.keyword
    return argument.name if argument.index is None else argument.name.lstrip("-").upper()


def _kind(hint: Any) -> str:
    alternatives = [kind for kind in get_args(hint) if kind is not NoneType]
    if NoneType in get_args(hint) and len(alternatives) == 1:
        (hint,) = alternatives
    if hint is bool:
        return "true or false"
    if hint is int:
        return "a whole number"
    if hint is float:
        return "a number"
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if get_origin(hint) is list:
        return _kind(get_args(hint)[0])
    return str(getattr(hint, "__name__", hint))
