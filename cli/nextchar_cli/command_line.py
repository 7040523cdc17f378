"""The command line: the common part of ``nextchar``, ``nextchar-server`` and ``nextchar-train``.

Options, their ranges and defaults come from functions and dataclasses, through cyclopts. Invariant: a mistake
is one line on standard error that names the option or the variable, and exit code 2; and no command complains of a
reader that has seen enough.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from cyclopts import (
    App,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    Token,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)
from cyclopts.argument import Argument, ArgumentCollection

from .printable import one_line
from .streams import OUTPUT_CLOSED, discard_output, flush, prepare
from .wording import explain, quoted

WRONG_USAGE = 2
"""Exit code of a mistake on the command line."""

FILE = "file"
"""Source of a value that a configuration file has; its token's keyword names the file and the key."""

_WHOLE_NUMBER = re.compile(r"\s*[+-]?\d+(_\d+)*(\.0+)?\s*", re.ASCII)

Reader = Callable[[App, tuple[str, ...], ArgumentCollection], Any]
"""Reads more values into the arguments of a command, or checks them, before they are converted."""


class UsageError(Exception):
    """Options that don't go together. Raised by a command; the message names them."""


def make_app(name: str, description: str, *, exit_codes: str = "", readers: Sequence[Reader] = ()) -> App:
    """An empty application; ``exit_codes`` stands below its help and that of its commands.

    Of an option that is given twice, the last one counts, so that an alias with options can be overridden.
    """
    return App(
        name=name,
        help=description,
        help_format="plaintext",
        help_epilogue=exit_codes or None,
        version=f"nextchar {version('nextchar')}",
        default_parameter=Parameter(negative=(), show_env_var=False, allow_repeating=True),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        config=(*readers, _check_whole_numbers),
    )


def run(app: App, arguments: Sequence[str] | None = None) -> int:
    """Runs ``app`` with ``arguments``, or those of the process, and returns the exit code.

    A command returns its own exit code, or None for 0. If the reader of standard output closes it, the command ends
    without a word, with ``OUTPUT_CLOSED``.
    """
    prepare()
    try:
        code = _run(app, list(sys.argv[1:] if arguments is None else arguments))
        flush()
    except BrokenPipeError:
        discard_output()
        return OUTPUT_CLOSED
    except SystemExit:  # rich's, when the reader of the help closes it
        return OUTPUT_CLOSED
    return code


def _run(app: App, tokens: list[str]) -> int:
    if not tokens and (commands := [command for command in app if not command.startswith("-")]):
        return _complain(app, f"a command is required: {', '.join(commands)}", ())
    try:
        code = app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        if (meant := _with_text_last(error, tokens)) is not None:
            return _run(app, meant)
        return _complain(app, _message(error), error.command_chain or ())
    except UsageError as error:
        return _complain(app, str(error), app.parse_commands(tokens)[0])
    return int(code) if code is not None else 0


def utf8(_: Any, tokens: Sequence[Token]) -> str:
    """Converts an argument to text: ``Parameter(converter=utf8)``. Refuses one that isn't UTF-8."""
    value = tokens[0].value
    try:
        value.encode()
    except UnicodeEncodeError as error:  # Python passes undecodable bytes of arguments on as lone surrogates
        offset = len(value[: error.start].encode())
        byte = ord(value[error.start]) & 0xFF
        raise ValidationError(exception_message=f"byte 0x{byte:02x} at offset {offset} is not UTF-8") from None
    return value


def _check_whole_numbers(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuses 2.5 and 0x2, which cyclopts would round and convert, if a whole number is meant."""
    for argument in arguments:
        if _without_none(argument.hint) is not int or argument.parameter.converter is not None:
            continue
        for token in argument.tokens:
            if not _WHOLE_NUMBER.fullmatch(token.value):
                raise CoercionError(argument=argument, token=token, target_type=int)


def _complain(app: App, message: str, command: Sequence[str]) -> int:
    name = app.name[0]
    usage = " ".join([name, *command, "--help"])
    print(f"{name}: error: {one_line(message)} (see {usage})", file=sys.stderr)
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
            return f"{_origin(argument)}: {quoted(token.value)} is invalid; it must be {_kind(argument.hint)}"
        case MissingArgumentError() if argument is not None:
            given = argument.name in (error.root_input_tokens or ())
            return f"{argument.name} needs a value" if given else f"{_origin(argument)} is required"
        case UnknownOptionError() if _place(error, error.root_input_tokens or ()) is None:
            return f"unexpected argument {_option(error)!r}"
        case UnknownOptionError() if _takes_arguments(error) and not _option(error).startswith("--"):
            return f"unknown option: {_option(error)}. Put -- before an argument that starts with a dash"
        case UnusedCliTokensError():
            return f"unexpected argument {(error.unused_tokens or [''])[0]!r}"
    message = str(error).strip().rstrip(".")
    return message[:1].lower() + message[1:]


def _takes_arguments(error: UnknownOptionError) -> bool:
    """Whether the command has positional arguments, such as a prompt."""
    return any(argument.index is not None for argument in error.argument_collection)


def _with_text_last(error: CycloptsError, tokens: Sequence[str]) -> list[str] | None:
    """Returns ``tokens`` with an unknown option moved behind ``--``, to be text; None if it may be an option.

    A dash alone and a dash in a text with a space can only be text.
    """
    if not isinstance(error, UnknownOptionError) or not _takes_arguments(error):
        return None
    option, place = _option(error), _place(error, tokens)
    if place is None or not (option == "-" or " " in option):
        return None
    end = tokens.index("--") if "--" in tokens else len(tokens)
    return [*tokens[:place], *tokens[place + 1 : end], "--", tokens[place], *tokens[end + 1 :]]


def _option(error: UnknownOptionError) -> str:
    return error.token.keyword or error.token.value


def _place(error: UnknownOptionError, tokens: Sequence[str]) -> int | None:
    """Where the unknown option stands in ``tokens``; None if it is text behind ``--`` that no argument takes."""
    for place, given in enumerate(tokens):
        if given == "--":
            return None
        if given == _option(error) or given.startswith(f"{_option(error)}="):  # without its value in the error
            return place
    return None


def _origin(argument: Argument, field: str = "") -> str:
    """The option, the environment variable or the key of a file that set ``argument``, or a field of it."""
    first = field.partition(".")[0]
    for child in argument.children:
        if child.keys[-1:] == (first,):
            argument = child
    for token in argument.tokens:
        if token.source in ("env", FILE) and token.keyword:
            return token.keyword
    return argument.name if argument.index is None else argument.name.lstrip("-").upper()


def _without_none(hint: Any) -> Any:
    alternatives = [kind for kind in get_args(hint) if kind is not NoneType]
    return alternatives[0] if NoneType in get_args(hint) and len(alternatives) == 1 else hint


def _kind(hint: Any) -> str:
    hint = _without_none(hint)
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
