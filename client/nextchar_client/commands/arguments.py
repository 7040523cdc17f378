"""The arguments that commands share, and how the keywords of the library are spelled as options.

Names, types and help come from ``GenerationOptions``. Invariant: an invalid value is refused in one line that
names the option or the variable, before a server is asked.
"""

from __future__ import annotations

import math
import re
import sys
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, get_args, get_type_hints

from cyclopts import Parameter, Token, ValidationError
from docstring_parser import parse_from_object

from nextchar_cli.command_line import UsageError, utf8

from ..endpoint import DEFAULT_ENDPOINT, endpoint_complaint, endpoints_of
from ..options import GenerationOptions, UnknownCharacters


def number(_: Any, tokens: Sequence[Token]) -> float:
    """Converts an argument to a finite number."""
    try:
        value = float(tokens[0].value)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _invalid(tokens[0].value, "a finite number")
    return value


def whole_number(_: Any, tokens: Sequence[Token]) -> int:
    """Converts an argument to an unsigned integer of 64 bits."""
    value = tokens[0].value
    if not (value.isascii() and value.isdigit() and int(value) < 2**64):
        raise _invalid(value, "a whole number from 0 to 2**64 - 1")
    return int(value)


def _texts(kind: Any, tokens: Sequence[Token]) -> list[str]:
    return [utf8(kind, [token]) for token in tokens]


def _content(_: Any, tokens: Sequence[Token]) -> str:
    """Returns the text of the file that the argument names."""
    name = tokens[0].value
    try:
        return Path(name).read_bytes().decode()
    except (OSError, ValueError) as error:  # a name with a null byte, or bytes that are not UTF-8, are a ValueError
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ValidationError(exception_message=f"cannot read {name}: {reason}") from None


def chosen(kind: Any, tokens: Sequence[Token]) -> str:
    """Converts an argument to one of the values of a literal type."""
    value = tokens[0].value
    if value not in get_args(kind):
        raise _invalid(value, " or ".join(get_args(kind)))
    return value


def _units(_: Any, tokens: Sequence[Token]) -> tuple[int, tuple[int, ...]]:
    """Converts an argument to a layer and units of it."""
    value = tokens[0].value
    if not re.fullmatch(r"\d{1,9}:\d{1,9}(,\d{1,9})*", value, re.ASCII):
        raise _invalid(value, "a layer and its units, such as 0:3,17")
    layer, _, units = value.partition(":")
    return int(layer), tuple(map(int, units.split(",")))


def _biases(kind: Any, tokens: Sequence[Token]) -> dict[str, float]:
    biases = {}
    for token in tokens:
        character, _, value = utf8(kind, [token]).rpartition("=")
        if not character:
            raise _invalid(token.value, "CHAR=VALUE")
        biases[character] = number(kind, [token.evolve(value=value)])
    return biases


def _invalid(value: str, requirement: str) -> ValidationError:
    return ValidationError(exception_message=f"{value!r} is invalid; it must be {requirement}")


def _token(_: Any, tokens: Sequence[Token]) -> bytes:
    """Converts an argument in Base64, as ``--json`` prints a token."""
    try:
        return b64decode(tokens[0].value, validate=True)
    except ValueError:
        raise _invalid(tokens[0].value[:_SHOWN], "a resume token as --json prints it, in Base64") from None


def _check_endpoint(_: Any, endpoint: str) -> None:
    for each in endpoints_of(endpoint):
        complaint = endpoint_complaint(each)
        if complaint:
            raise ValueError(complaint)


VARIABLES = {
    "endpoint": "NEXTCHAR_ENDPOINT",
    "tls_ca": "NEXTCHAR_ENDPOINT_CA",
    "tls_cert": "NEXTCHAR_ENDPOINT_CERT",
    "tls_key": "NEXTCHAR_ENDPOINT_KEY",
    "token": "NEXTCHAR_TOKEN",
}
"""The variables that stand for options, by keyword. ``NEXTCHAR_TLS_CERT`` and the like are the server's."""
_SHOWN = 20  # characters of a token in a message
_FIELD = re.compile(r"(parameters\.)?(?P<field>\w+)(\[(?P<key>.*?)\])?: ", re.DOTALL)
_HINTS = get_type_hints(GenerationOptions)
_HELP = {
    field.arg_name: " ".join((field.description or "").replace("``", "").split())
    for field in parse_from_object(GenerationOptions).params
}
_TYPES = {
    str: Parameter(converter=utf8),
    int: Parameter(converter=whole_number),
    float: Parameter(converter=number),
    bool: Parameter(),
    bytes: Parameter(converter=_token, metavar="BASE64"),
}
_SPELLINGS = {
    "stop": Parameter(
        converter=_texts,
        metavar="TEXT",
        allow_leading_hyphen=True,
        help="End the text just before this text appears. May be given several times.",
    ),
    "character_bias": Parameter(
        name="--bias",
        converter=_biases,
        n_tokens=-1,  # one token each time that it is given, all of them for one conversion
        accepts_keys=False,
        metavar="CHAR=VALUE",
        allow_leading_hyphen=True,
        help="Add VALUE to the logit of a character, -100 to 100. May be given several times.",
    ),
    "include_activations": Parameter(
        name="--activations",
        converter=_units,
        n_tokens=1,
        accepts_keys=False,
        metavar="LAYER:UNIT,…",
        help="Add the gates and states of these units, such as 0:3,17, after each character; with --json.",
    ),
    "unknown_characters": Parameter(name="--unknown", converter=chosen),
    "replacement_character": Parameter(name="--replacement", metavar="CHAR", allow_leading_hyphen=True),
    "regex": Parameter(metavar="REGEX", allow_leading_hyphen=True),
    "json_schema": Parameter(
        converter=_content,
        n_tokens=1,
        accepts_keys=False,
        metavar="FILE",
        help="The generated text is a document of the JSON Schema in this file.",
    ),
    "choices": Parameter(
        name="--choice",
        converter=_texts,
        metavar="TEXT",
        allow_leading_hyphen=True,
        help="The generated text is this one, or one of several such.",
    ),
    "token": Parameter(name="--token-file"),
    "model": Parameter(metavar="NAME"),
    "timeout": Parameter(metavar="SECONDS", help="Time limit of the call, retries included.", show_default="none"),
}


def option(keyword: str) -> Parameter:
    """The spelling of a ``keyword`` of ``GenerationOptions`` as an option."""
    kinds = [kind for kind in get_args(_HINTS[keyword]) or [_HINTS[keyword]] if kind in _TYPES]
    purpose, _, default = _HELP[keyword].rpartition(" Default: ")
    described = Parameter(help=purpose, show_default=False if bool in kinds else default.rstrip("."))
    return Parameter.combine(*(_TYPES[kind] for kind in kinds), described, _SPELLINGS.get(keyword))


def option_name(keyword: str, tokens: Sequence[str] | None = None) -> str:
    """The option that stands for a ``keyword`` of the library, or the variable if ``tokens`` don't have the option."""
    if keyword in ("prompt", "text", "requests") and not any(
        token.startswith(f"--{keyword}") for token in tokens or ()
    ):
        return keyword.upper()
    names = _SPELLINGS.get(keyword, Parameter()).name
    name = next(iter(names or [f"--{keyword.replace('_', '-')}"]))
    if tokens is not None and keyword in VARIABLES and not any(token.startswith(name) for token in tokens):
        return VARIABLES[keyword]
    return name


def with_option(message: str) -> str:
    """The server's ``message`` about a field of a request, with the option in place of the field.

    ``parameters.replacement_character: …`` becomes ``--replacement: …``; any other message stays.
    """
    match = _FIELD.match(message)
    if match is None:
        return message
    keyword = {"stop_sequences": "stop"}.get(match["field"], match["field"])
    if keyword not in {"prompt", "text", "count", "boundary", *_HINTS}:
        return message
    key, rest = match["key"], message[match.end() :]
    place = "" if key is None else f" number {int(key) + 1}" if key.isdigit() else f" {key}"
    return f"{option_name(keyword)}{place}: {rest.replace('UNKNOWN_CHARACTERS_REPLACE', '--unknown replace')}"


if TYPE_CHECKING:
    GenerationArguments = GenerationOptions
else:
    GenerationArguments = TypedDict(
        "GenerationArguments",
        {keyword: Annotated[hint, option(keyword)] for keyword, hint in _HINTS.items()},
        total=False,
    )

Text = Annotated[str, Parameter(converter=utf8)]
ModelName = Annotated[str, option("model")]
TopLogprobs = Annotated[int | None, option("top_logprobs")]
Unknown = Annotated[UnknownCharacters | None, option("unknown_characters")]
Replacement = Annotated[str | None, option("replacement_character")]
Timeout = Annotated[float | None, option("timeout")]
Endpoint = Annotated[
    str,
    Parameter(
        converter=utf8,
        validator=_check_endpoint,
        env_var=VARIABLES["endpoint"],
        metavar="HOST:PORT[,…]",
        help="Address of the server, or of several with commas between them, of which any may answer; with TLS "
        "grpcs://HOST:PORT.",
        show_default=lambda _: f"$NEXTCHAR_ENDPOINT, or {DEFAULT_ENDPOINT}",
    ),
]
Json = Annotated[bool, Parameter(help="Print JSON, one object per line.", show_default=False)]
File = Annotated[
    str | None,
    Parameter(
        name=("--file", "--prompt-file", "--text-file"),
        metavar="FILE",
        allow_leading_hyphen=True,
    ),
]


Verbatim = Annotated[
    bool,
    Parameter(
        show_default=False,
        help="Keep CR LF, CR and a byte order mark of the file; otherwise lines end with a newline, as in training.",
    ),
]


def text_of(argument: str | None, file: str | None, *, name: str, verbatim: bool = False) -> str | None:
    """Returns the text of the argument ``name``, exactly as it is, or of the file; None if both are absent.

    Unless ``verbatim``, CR LF and CR of the file become newlines and a byte order mark at its start is dropped, because
    models are trained on such text.

    Raises ``UsageError`` if both are given, or if the file can't be read or isn't UTF-8.
    """
    if file is None:
        return argument
    if argument is not None:
        raise UsageError(f"{name}, --file: give one of them, not both")
    source = "standard input" if file == "-" else file
    if file == "-" and sys.stdin is None:
        raise UsageError("--file: standard input is closed")
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except (OSError, ValueError) as error:  # a name with a null byte is a ValueError
        raise UsageError(f"--file: cannot read {source}: {getattr(error, 'strerror', error)}") from None
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"--file: {source}: byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8"
        ) from None
    return text if verbatim else text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
