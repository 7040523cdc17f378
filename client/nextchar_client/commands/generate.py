"""``nextchar generate``: the text that follows a prompt, as it comes."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Unpack

from cyclopts import Parameter

from nextchar_cli.command_line import UsageError

from ..endpoint import DEFAULT_ENDPOINT
from ..results import Delta, Event, Finished, FinishReason, Resumed, Started
from . import CommandError, ExitCode, calling
from .access import Access, options_of
from .arguments import Endpoint, File, GenerationArguments, Json, Text, Verbatim, text_of, whole_number
from .output import fields_of, say, write, write_json, write_text
from .samples import write_samples


def generate(
    prompt: Annotated[Text | None, Parameter(show_default="the start of a document")] = None,
    /,
    *,
    file: File = None,
    verbatim: Verbatim = False,
    newline: Annotated[bool, Parameter(show_default=False)] = False,
    samples: Annotated[int | None, Parameter(converter=whole_number, show_default="one text")] = None,
    first_sample: Annotated[int | None, Parameter(converter=whole_number, show_default="0")] = None,
    best_of: Annotated[int | None, Parameter(converter=whole_number, show_default="all are printed")] = None,
    verbose: Annotated[bool, Parameter(show_default=False)] = False,
    json: Json = False,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    access: Access = None,
    **options: Unpack[GenerationArguments],
) -> ExitCode:
    """Stream the text that follows a prompt.

    Parameters
    ----------
    prompt:
        Text that the model reads first; put -- before one that starts with a dash.
    file:
        Read the prompt from this file; - is standard input.
    newline:
        End with a newline, as on a terminal. Without this, a pipe or a file gets exactly the generated text.
    samples:
        Print this many texts, 1 to 64, a line each; if one has several lines, below lines with their numbers.
    first_sample:
        Number of the first sample. Text number i depends on the seed and on i only.
    best_of:
        Generate this many texts, and print those that are the likeliest per character.
    verbose:
        Show model, seed, request id, speed and the reason why the text ended, on standard error.
    """
    from ..client import Client

    if options.get("top_logprobs") is not None and not json:
        raise UsageError("--top-logprobs needs --json")
    if options.get("include_activations") is not None and not json:
        raise UsageError("--activations needs --json")
    text = text_of(prompt, file, name="PROMPT", verbatim=verbatim) or ""
    writer = _Writer(json=json, newline=newline, verbose=verbose)
    with calling(endpoint), Client(endpoint, **options_of(access)) as client:
        if (samples, first_sample, best_of) != (None, None, None):
            made = client.samples(text, count=samples, first=first_sample, best_of=best_of, **options)
            write_samples(made, json=json, verbose=verbose)
            return ExitCode.DONE
        try:
            for event in client.stream(text, with_resumed=True, **options):
                writer.take(event)
        finally:
            writer.end()
    assert writer.finished is not None  # or the stream would have raised
    if writer.finished.finish_reason is FinishReason.DRAINING:
        raise CommandError(f"the server at {endpoint} is shutting down and cut the text", ExitCode.UNAVAILABLE)
    return ExitCode.DONE


class _Writer:
    """Writes the events of one stream as they come."""

    def __init__(self, *, json: bool, newline: bool, verbose: bool) -> None:
        self.finished: Finished | None = None
        self._json = json
        self._newline = newline
        self._verbose = verbose
        self._last = ""
        self._began = time.perf_counter()
        self._first_after = 0.0

    def take(self, event: Event) -> None:
        """Writes one event."""
        if isinstance(event, Resumed):
            say(f"another server continued the text after {event.offset:,} characters (request {event.request_id})")
            return
        if self._json:
            write_json({"event": type(event).__name__.lower()} | fields_of(event))
        match event:
            case Started() if self._verbose:
                say(f"model {event.model} {event.model_digest[:12]}, seed {event.seed}, request {event.request_id}")
            case Delta():
                self._first_after = self._first_after or time.perf_counter() - self._began
                if not self._json:
                    write_text(event.text)
                    self._last = event.text[-1:]
            case Finished():
                self.finished = event

    def end(self) -> None:
        """Ends the output, also that of a stream that failed."""
        is_whole = self._json or self._last == "\n"
        has_output = self._last != "" or (self._newline and self.finished is not None)  # also of an empty text
        if has_output and not is_whole and (self._newline or sys.stdout.isatty()):
            write("\n")
        if self._verbose and self.finished is not None:
            seconds = time.perf_counter() - self._began
            characters = self.finished.usage.generated_characters
            say(
                f"{characters:,} characters in {seconds:.3f} s ({characters / seconds:,.0f} characters/s), "
                f"the first after {self._first_after * 1000:.1f} ms; ended by {self.finished.finish_reason}"
            )
