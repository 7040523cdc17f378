"""The output of ``nextchar generate`` for several samples of one request."""

from __future__ import annotations

from dataclasses import asdict

from ..samples import Samples
from .output import say, write, write_json, write_text


def write_samples(samples: Samples, *, json: bool, verbose: bool) -> None:
    """Writes the texts: a line each, or below lines with their numbers if one of them has several lines."""
    started, texts = samples.started, samples.texts
    if verbose:
        say(f"model {started.model} {started.model_digest[:12]}, seed {started.seed}, request {started.request_id}")
    if json:
        write_json({"event": "started"} | asdict(started))
    has_lines = any("\n" in text.text for text in texts)
    for text in texts:
        if json:
            write_json({"event": "sample"} | asdict(text))
            continue
        if has_lines:
            write(f"--- {text.index}\n")
        write_text(text.text)
        write("\n")
