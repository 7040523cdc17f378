"""``nextchar score``: how likely a text is, in total, per character or per line.

Reads the options and chooses: ``scored_text`` writes one text, ``lines`` the lines of a file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..endpoint import DEFAULT_ENDPOINT
from ..options import ScoreOptions
from ..results import Score
from ..scores import ScoredPart, ScoredText, ScoreEvent, ScoreStarted
from . import ExitCode, calling, dynamic
from .access import Access, options_of
from .arguments import Endpoint, File, ModelName, Replacement, Text, Timeout, TopLogprobs, Unknown, Verbatim
from .output import fields_of, write_json
from .reading import parts_of
from .score_arguments import Adaptive, AdaptiveArguments, Form, FormArguments, LineArguments, Lines, check

if TYPE_CHECKING:
    from ..client import Client
    from . import scored_text


def score(
    text: Text | None = None,
    /,
    *,
    file: File = None,
    verbatim: Verbatim = False,
    form: Form = None,
    lines: Lines = None,
    adaptive: Adaptive = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    model: ModelName = "",
    top_logprobs: TopLogprobs = None,
    unknown_characters: Unknown = None,
    replacement_character: Replacement = None,
    timeout: Timeout = None,
    access: Access = None,
) -> ExitCode:
    """Show how likely a text is; on a terminal, in the colours of its surprise.

    Parameters
    ----------
    text:
        The text, from the start of a document; - is standard input. Put -- before one that starts with a dash.
    file:
        Read the text from this file, of any size; - is standard input.
    """
    from ..client import Client
    from .lines import score_lines

    if text == "-" and file is None:
        text, file = None, "-"
    form, lines, adaptive = form or FormArguments(), lines or LineArguments(), adaptive or AdaptiveArguments()
    check(text, file, form, lines, adaptive, top_logprobs=top_logprobs)
    options = ScoreOptions(
        model=model, unknown_characters=unknown_characters, replacement_character=replacement_character, timeout=timeout
    )
    with calling(endpoint):
        if file is not None and lines.lines:
            score_lines(
                file,
                form.name,
                lines,
                adaptive,
                options,
                endpoint=endpoint,
                access=options_of(access),
                verbatim=verbatim,
            )
            return ExitCode.DONE
        options |= ScoreOptions(top_logprobs=top_logprobs, details=form.details or None)
        with Client(endpoint, **options_of(access)) as client:
            source = text if file is None else parts_of(file, name="--file", verbatim=verbatim)
            _write(client, source or "", form, adaptive, options, verbatim=verbatim)
    return ExitCode.DONE


def _write(
    client: Client,
    source: str | Iterator[str],
    form: FormArguments,
    adaptive: AdaptiveArguments,
    options: ScoreOptions,
    *,
    verbatim: bool,
) -> None:
    """Writes the scores of one text."""
    write, needs_parts = _form(form.name)
    options["totals_only"] = None if needs_parts or adaptive.is_set else True
    if form.activations is not None:
        whole = source if isinstance(source, str) else "".join(source)
        write_json(fields_of(_score(client, whole, options, include_activations=form.activations)))
        return
    events = _events(client, source, options)
    if adaptive.is_set:
        model = client.model(options["model"], timeout=options["timeout"])
        mixture = dynamic.adaptive(model, adaptive.adaptive_text, verbatim=verbatim)
        events = dynamic.adapted_events(events, mixture)
    write(events, adaptive.is_set)


def _form(name: str) -> tuple[scored_text.Form, bool]:
    """The form of the output that the option ``name`` asks for, and whether it needs each character."""
    from . import scored_text
    from .surprise import Painter

    forms: dict[str, scored_text.Form] = {
        "--characters": scored_text.as_characters,
        "--json": scored_text.as_json,
        "--json-lines": scored_text.as_json_lines,
        "--csv": scored_text.as_csv,
    }
    if name:
        return forms[name], True
    if sys.stdout.isatty() and (painter := Painter()).has_colours:
        return scored_text.as_colours(painter), True
    return scored_text.as_table, False


def _events(client: Client, source: str | Iterator[str], options: ScoreOptions) -> Iterator[ScoreEvent]:
    """The scores of one text, which goes in one message or, from a file, in a stream."""
    if not isinstance(source, str):
        yield from client.score_stream([source], **options)
        return
    score = _score(client, source, options)
    yield ScoreStarted(score.request_id, score.model, score.model_digest)
    yield ScoredPart(0, 0, score.characters)
    yield ScoredText(0, len(score.characters), score.total_logprob, score.bits_per_character)


def _score(
    client: Client,
    text: str,
    options: ScoreOptions,
    *,
    include_activations: tuple[int, Sequence[int]] | None = None,
) -> Score:
    return client.score(
        text,
        include_activations=include_activations,
        model=options["model"],
        top_logprobs=options["top_logprobs"],
        details=options["details"],
        unknown_characters=options["unknown_characters"],
        replacement_character=options["replacement_character"],
        timeout=options["timeout"],
    )
