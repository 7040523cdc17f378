"""The table of a judgement: its figures in words, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from nextchar_cli.printable import printable

from .judgement import Judged, Judgement
from .lines import LONG

_NAMES = {1: "characters", 2: "pairs of characters", 3: "triples of characters"}


class Row(NamedTuple):
    """A figure of both texts."""

    name: str
    generated: str
    held_out: str
    meaning: str
    """The meaning of the figure, in a sentence."""


def rows(judgement: Judgement) -> list[Row]:
    """Returns the rows of the table."""
    generated, held_out = dict(_figures(judgement.generated)), dict(_figures(judgement.held_out))
    return [
        Row(name, generated.get(name, _percent(0)), held_out.get(name, _percent(0)), _meaning(name))
        for name in dict.fromkeys([*generated, *held_out])
    ]


def show(judgement: Judgement, console: Console) -> None:
    """Prints the table and the sentences around it."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("generated", justify="right")
    table.add_column(judgement.training.part, justify="right")
    for row in rows(judgement):
        table.add_row(row.name, row.generated, row.held_out)
    console.print(settings_line(judgement), soft_wrap=True)
    console.print(table)
    console.print(loss_line(judgement), soft_wrap=True)
    console.print(f"the longest copied stretch: {printable(judgement.generated.copied.longest_text)}", soft_wrap=True)
    if note := warning(judgement):
        console.print(f"warning: {note}", soft_wrap=True)


def loss_line(judgement: Judgement) -> str:
    """Returns the sentence on the loss."""
    loss = judgement.held_out_loss
    return (
        f"loss on {loss.characters:,} characters of the {judgement.training.part}: "
        f"{loss.nats_per_character:.4f} nats per character, {loss.bits_per_character:.4f} bits per character"
    )


def settings_line(judgement: Judgement) -> str:
    """Returns the sentence on how the texts were generated."""
    one = judgement.generation
    return (
        f"{one.samples:,} texts of at most {one.max_characters:,} characters, temperature {one.temperature:g}, "
        f"seed {one.seed}"
    )


def warning(judgement: Judgement) -> str:
    """Returns the sentence that says that the corpus isn't the model's own, or an empty string."""
    if judgement.training.is_own:
        return ""
    return (
        f"the model was not trained on {judgement.training.name} as it is now: "
        f"the {judgement.training.part} may be text that it was trained on"
    )


def _figures(judged: Judged) -> Iterator[tuple[str, str]]:
    lines = judged.lines
    yield "characters", f"{judged.characters:,}"
    yield "texts", f"{judged.texts:,}"
    yield "distinct texts", _percent(judged.distinct_texts)
    yield "lines", f"{lines.count:,}"
    yield "distinct lines", _percent(lines.distinct)
    yield "copied lines", _percent(lines.copied)
    yield f"copied lines of {LONG} characters or more", _percent(lines.long_copied)
    yield "longest copied stretch, in characters", f"{judged.copied.longest:,}"
    for length, share in judged.copied.shares[::2]:
        yield f"text in copied stretches of {length} or more", _percent(share)
    least, middle, most = lines.quantiles
    yield "length of lines: 10 %, median, 90 %", f"{least}, {middle}, {most}"
    yield "distance of the lengths of lines", f"{lines.distance:.4f}"
    for one in judged.distances:
        yield f"distance of {_NAMES[one.order]}", f"{one.total_variation:.4f}"


def _meaning(name: str) -> str:
    return next((meaning for beginning, meaning in _MEANINGS.items() if name.startswith(beginning)), "")


_MEANINGS = {
    "characters": "Both texts are equally long, as far as the corpus holds out enough.",
    "distinct texts": "Texts that differ from all before them.",
    "lines": "Lines that are neither empty nor cut off.",
    "distinct lines": "Lines that differ from all before them.",
    "copied lines of": "The same, without the short lines that anybody would write again.",
    "copied lines": "Lines that are also whole lines of the training text.",
    "longest copied": "The longest part of the text that is in the training text, character by character.",
    "text in copied": "The share of the text that is in such parts, at least this long.",
    "length of lines": "The lengths that a tenth, a half and nine tenths of the lines do not exceed.",
    "distance of the lengths": "Largest difference of the cumulative distributions from the training text's, 0 to 1.",
    "distance of": "Total variation from the training text's distribution, 0 to 1.",
}


def _percent(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")
