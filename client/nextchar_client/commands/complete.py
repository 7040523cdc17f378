"""``nextchar complete``: the likeliest continuations of a text."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from nextchar_cli.command_line import utf8

from ..completions import CompletionBoundary
from ..endpoint import DEFAULT_ENDPOINT
from . import ExitCode, calling
from .access import Access, options_of
from .arguments import (
    Endpoint,
    File,
    Json,
    ModelName,
    Replacement,
    Text,
    Timeout,
    Unknown,
    Verbatim,
    chosen,
    text_of,
    whole_number,
)
from .output import say, write_json, write_table

_Regex = Annotated[str | None, Parameter(converter=utf8, metavar="REGEX", allow_leading_hyphen=True)]
_Count = Annotated[int | None, Parameter(converter=whole_number, show_default="5")]
_Characters = Annotated[int | None, Parameter(converter=whole_number, show_default="24, or 1 with characters")]


def complete(
    prompt: Annotated[Text | None, Parameter(show_default="the start of a document")] = None,
    /,
    *,
    file: File = None,
    verbatim: Verbatim = False,
    count: _Count = None,
    boundary: Annotated[CompletionBoundary | None, Parameter(converter=chosen, show_default="word")] = None,
    regex: _Regex = None,
    max_characters: _Characters = None,
    json: Json = False,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    model: ModelName = "",
    unknown_characters: Unknown = None,
    replacement_character: Replacement = None,
    timeout: Timeout = None,
    access: Access = None,
) -> ExitCode:
    """Show the likeliest continuations of a text.

    Parameters
    ----------
    prompt:
        The text so far; put -- before one that starts with a dash.
    file:
        Read the text from this file; - is standard input.
    count:
        Most continuations to show, 1 to 20.
    boundary:
        Where a continuation ends: with the word, with the line, or after --max-characters characters.
    regex:
        Regular expression that a whole continuation matches, in the regular part of Python's syntax.
    max_characters:
        Most characters of a continuation, 1 to 64.
    """
    from ..client import Client

    text = text_of(prompt, file, name="PROMPT", verbatim=verbatim) or ""
    with calling(endpoint), Client(endpoint, timeout=timeout, **options_of(access)) as client:
        result = client.complete(
            text,
            count=count,
            boundary=boundary,
            regex=regex,
            max_characters=max_characters,
            model=model,
            unknown_characters=unknown_characters,
            replacement_character=replacement_character,
        )
    if json:
        write_json(asdict(result))
        return ExitCode.DONE
    if not result.completions:
        say("no continuation ends within --max-characters characters")
        return ExitCode.DONE
    rows = [(f"{one.probability:.2%}", f"{one.logprob:.3f}", repr(one.text)) for one in result.completions]
    write_table(rows, headings=("PROBABILITY", "NATS", "CONTINUATION"))
    if not result.is_exact:
        say("the search stopped at its bound: there may be likelier continuations")
    return ExitCode.DONE
