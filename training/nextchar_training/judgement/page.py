"""The page of a judgement: one HTML file with its table, its plots and its examples, which needs no other file."""

from __future__ import annotations

import html
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from nextchar_cli.printable import printable

from ..palette import BLACK, BLUE, ORANGE
from ..picture import new_figure, png
from .judgement import Judged, Judgement
from .lines import LONGEST
from .stretches import LENGTHS
from .table import loss_line, rows, settings_line, warning

_SHOWN = 36  # characters whose frequencies are drawn
_EXAMPLE = 600  # characters of an example
_EXAMPLES = 3
_STRETCH = 2000  # characters of a copied stretch
_MOST_LINES = 0.99  # of the lines are in the plot of their lengths
_COLOURS = {"generated": BLUE, "held out": ORANGE, "training": BLACK}

_STYLES = {"generated": "-", "held out": "--", "training": ":"}
_MARKERS = {"generated": "o", "held out": "x"}

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # the page asks for nothing

_STYLE = """\
:root { --page: #fff; --ink: #000; --quiet: #4a4a4a; --line: #ccc; --box: #f4f4f4 }
@media (prefers-color-scheme: dark) {
  :root { --page: #181818; --ink: #fff; --quiet: #c4c4c4; --line: #555; --box: #262626 }
}
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; font-family: system-ui, sans-serif; line-height: 1.5;
  overflow-wrap: anywhere; background: var(--page); color: var(--ink) }
h1 { font-size: 1.5rem }
table { border-collapse: collapse; width: 100%; overflow-wrap: normal }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th[scope=row] { font-weight: normal }
th.number, td.number { text-align: right; white-space: nowrap }
td.meaning { color: var(--quiet); font-size: .9rem }
img { max-width: 100%; height: auto }
pre { white-space: pre-wrap; background: var(--box); padding: .6rem }
.warning { font-weight: bold }
@media (max-width: 40rem) {
  thead th:last-child { display: none }
  tr { display: grid; grid-template-columns: 1fr 6rem 6rem; border-bottom: 1px solid var(--line) }
  th, td { border: 0; padding: .3rem }
  td.meaning { grid-column: 1 / -1; padding-top: 0 }
}"""


def written_page(judgement: Judgement, examples: Sequence[str]) -> str:
    """Returns the page. ``examples`` are generated texts, of which it shows a few."""
    title = f"Text of a model, judged against {judgement.training.name}"
    parts = [
        f"<h1>{_escaped(title)}</h1>",
        f"<p>{_escaped(settings_line(judgement))}. Model file: <code>{judgement.generation.model_sha256}</code>.</p>",
        f"<p>{_escaped(_sentence(loss_line(judgement)))}</p>",
        "<p>Both texts are compared with the training text. Held-out text, which the model was not trained on, is the "
        "yardstick: generated text that copies as little, and is as far from the training text, is as good as new text "
        "of the same author by these measures.</p>",
        _table(judgement),
        "<h2>Copied stretches</h2>",
        _image(_stretches(judgement), "How much of each text is in copied stretches, by their length"),
        *(_stretch(_label(name, judgement), judged) for name, judged in _both(judgement).items()),
        "<h2>Lengths of lines</h2>",
        _image(_lengths(judgement), "The cumulative distribution of the lengths of lines"),
        "<h2>Characters</h2>",
        _image(_characters(judgement), "The frequencies of the most frequent characters"),
        "<h2>Examples</h2>",
        *(f"<pre>{_escaped(text[:_EXAMPLE])}</pre>" for text in examples[:_EXAMPLES]),
    ]
    if note := warning(judgement):
        parts.insert(3, f'<p class="warning">{_escaped(_sentence(note))}</p>')
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<link rel="icon" href="data:,">',
            f"<title>{_escaped(title)}</title>\n<style>\n{_STYLE}\n</style>",
            *parts,
            "</html>\n",
        ]
    )


def to_json(judgement: Judgement) -> str:
    """Returns the figures in JSON."""
    return f"{json.dumps(asdict(judgement), ensure_ascii=False, indent=1)}\n"


def _both(judgement: Judgement) -> dict[str, Judged]:
    return {"generated": judgement.generated, "held out": judgement.held_out}


def _label(name: str, judgement: Judgement) -> str:
    """Returns the words for one of the texts."""
    return judgement.training.part if name == "held out" else name


def _table(judgement: Judgement) -> str:
    lines = [
        '<table>\n<thead><tr><th scope="col">figure</th><th scope="col" class="number">generated</th>'
        f'<th scope="col" class="number">{judgement.training.part}</th>'
        '<th scope="col">meaning</th></tr></thead>\n<tbody>'
    ]
    for row in rows(judgement):
        name, generated, held_out, meaning = map(html.escape, row)
        lines.append(
            f'<tr><th scope="row">{name}</th><td class="number">{generated}</td><td class="number">{held_out}</td>'
            f'<td class="meaning">{meaning}</td></tr>'
        )
    return "\n".join([*lines, "</tbody>\n</table>"])


def _stretch(name: str, judged: Judged) -> str:
    length, text = judged.copied.longest, judged.copied.longest_text
    return f"<p>The longest one, {name}: {length:,} characters.</p>\n<pre>{_escaped(text[:_STRETCH])}</pre>"


def _stretches(judgement: Judgement) -> bytes:
    figure = new_figure(8, 3.6)
    axes = figure.add_subplot()
    for name, judged in _both(judgement).items():
        lengths, shares = zip(*judged.copied.shares, strict=True)
        axes.plot(
            lengths,
            100 * np.array(shares),
            marker=_MARKERS[name],
            linestyle=_STYLES[name],
            label=_label(name, judgement),
            color=_COLOURS[name],
        )
    longest = max(len(judged.copied.shares) for judged in _both(judgement).values())
    axes.set_xscale("log")
    axes.set_xticks(LENGTHS[:longest], list(map(str, LENGTHS[:longest])))
    axes.minorticks_off()
    axes.set(xlabel="characters of a stretch, at least", ylabel="% of the text in such stretches", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    return png(figure)


def _lengths(judgement: Judgement) -> bytes:
    figure = new_figure(8, 3.6)
    axes = figure.add_subplot()
    counts = {name: judged.lines.lengths for name, judged in _both(judgement).items()}
    counts["training"] = judgement.training.line_lengths
    most = 1
    for name, of_lengths in counts.items():
        shares = _cumulative(of_lengths)
        most = max(most, int(np.searchsorted(shares, _MOST_LINES)))
        axes.step(
            np.arange(len(shares)),
            100 * shares,
            where="post",
            label=_label(name, judgement),
            color=_COLOURS[name],
            linestyle=_STYLES[name],
            linewidth=1.4,
        )
    axes.set(xlabel="characters of a line, at most", ylabel="% of the lines", ylim=(0, 101), xlim=(0, most))
    axes.grid(alpha=0.3)
    axes.legend()
    return png(figure)


def _cumulative(counts: Sequence[int]) -> NDArray[np.float64]:
    padded = np.zeros(LONGEST + 1)
    padded[: len(counts)] = counts
    shares: NDArray[np.float64] = np.cumsum(padded) / max(1.0, padded.sum())
    return shares


def _characters(judgement: Judgement) -> bytes:
    shown = list(judgement.training.frequencies)[:_SHOWN]
    figure = new_figure(8, 3.6)
    axes = figure.add_subplot()
    shares = {name: judged.frequencies for name, judged in _both(judgement).items()}
    places = np.arange(len(shown))
    axes.bar(places, [100 * judgement.training.frequencies[one] for one in shown], color="#dddddd", label="training")
    for name, marker in _MARKERS.items():
        values = [100 * shares[name][one] for one in shown]
        axes.scatter(places, values, marker=marker, s=26, label=_label(name, judgement), color=_COLOURS[name], zorder=3)
    axes.set_xticks(places, [_named(one) for one in shown])
    axes.set(yscale="log", ylabel="% of all characters", xlim=(-1, len(shown)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3, axis="y")
    axes.legend()
    return png(figure)


def _named(character: str) -> str:
    return {" ": "␣", "\n": "↵", "\t": "→"}.get(character, printable(character))


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _image(content: bytes, alternative: str) -> str:
    return f'<img alt="{html.escape(alternative)}" src="data:image/png;base64,{b64encode(content).decode()}">'


def _escaped(text: str) -> str:
    """Returns ``text`` for a page, with an escape in place of each character that can't be seen, except line ends."""
    return "\n".join(html.escape(printable(line)) for line in text.split("\n"))
