"""``nextchar score``: how likely a text is, in total and per character."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from nextchar_cli.command_line import UsageError

from ..endpoint import DEFAULT_ENDPOINT
from ..results import Score
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
    TopLogprobs,
    Unknown,
    Verbatim,
    text_of,
)
from .output import write, write_json, write_table


def score(
    text: Text | None = None,
    /,
    *,
    file: File = None,
    verbatim: Verbatim = False,
    characters: Annotated[bool, Parameter(show_default=False)] = False,
    json: Json = False,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    model: ModelName = "",
    top_logprobs: TopLogprobs = None,
    unknown_characters: Unknown = None,
    replacement_character: Replacement = None,
    timeout: Timeout = None,
    access: Access = None,
) -> ExitCode:
    """Show how likely a text is.

    Parameters
    ----------
    text:
        The text, from the start of a document; put -- before one that starts with a dash.
    file:
        Read the text from this file; - is standard input.
    characters:
        Add a table with the log-probability of each character.
    """
    from ..client import Client

    if top_logprobs is not None and not (json or characters):
        raise UsageError("--top-logprobs needs --json or --characters")
    scored = text_of(text, file, name="TEXT", verbatim=verbatim)
    if scored is None:
        raise UsageError("TEXT or --file is required")
    with calling(endpoint), Client(endpoint, timeout=timeout, **options_of(access)) as client:
        result = client.score(
            scored,
            model=model,
            top_logprobs=top_logprobs,
            unknown_characters=unknown_characters,
            replacement_character=replacement_character,
        )
    if json:
        write_json(asdict(result))
        return ExitCode.DONE
    if characters:
        _write_characters(result)
        write("\n")
    write_table(
        [
            ("characters", str(len(result.characters))),
            ("log-probability", f"{result.total_logprob:.4f} nats"),
            ("bits per character", f"{result.bits_per_character:.4f}"),
        ]
    )
    return ExitCode.DONE


def _write_characters(score: Score) -> None:
    rows = []
    for offset, place in enumerate(score.characters):
        likeliest = "  ".join(f"{other.character!r} {other.logprob:.3f}" for other in place.alternatives)
        bits = -place.logprob / math.log(2)
        rows.append((str(offset), f"{place.logprob:.4f}", f"{bits:.4f}", repr(place.character), likeliest))
    has_alternatives = any(place.alternatives for place in score.characters)
    write_table(
        rows,
        headings=("OFFSET", "LOG-PROBABILITY (NATS)", "BITS", "CHARACTER", "LIKELIEST" if has_alternatives else ""),
    )
