"""The lecture on a terminal: tables and bars of plain characters, in 80 columns for short texts.

Each function returns lines; ``__main__`` prints them.

Invariant: every number that is printed was computed by ``networks``, ``learning`` or ``gap`` in this run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any
from unicodedata import east_asian_width

import numpy as np

from . import gap
from .learning import Network, learn, loss, sample, say
from .networks import Lstm, Rnn, one_hot

COLUMNS = 5
"""Characters that tables show of a large alphabet: the first of the text."""
ROWS = 8
"""Steps that tables show, the first ones."""
BAR = 12
SNAPSHOTS = 5
DISTANCES = (0, 5, 10, 20, 40)
CELLS = {"RNN": "rnn", "LSTM f=0.50": "lstm0", "LSTM f=0.95": "lstm3"}
"""The cells that are compared; f is the forget gate of a fresh LSTM, σ(0) or σ(3)."""


def shown(character: str) -> str:
    """Returns a character that a terminal shows: one for a space, a line end or a control character."""
    return {" ": "␣", "\n": "⏎"}.get(character, character if character.isprintable() else "�")


def padded(text: str, width: int) -> str:
    """Returns ``text`` on the right of ``width`` columns. A Korean character takes two."""
    return " " * (width - sum(2 if east_asian_width(one) in "WF" else 1 for one in text)) + text


def bar(share: float) -> str:
    """Returns a bar of at most ``BAR`` blocks. A share too small for one block shows as a dot."""
    return "█" * round(min(share, 1) * BAR) or "·"


def power_bar(share: float) -> str:
    """Returns a bar with a block for each power of ten of ``share`` above ``10**-BAR``."""
    return "█" * round(BAR + min(0.0, float(np.log10(max(share, 10.0**-BAR))))) or "·"


class Text:
    """A text as ids of its own alphabet."""

    def __init__(self, text: str) -> None:
        self.alphabet = sorted(set(text))
        self.ids = [self.alphabet.index(character) for character in text]
        self.read, self.targets = self.ids[:-1], self.ids[1:]

    def spell(self, ids: Sequence[int]) -> str:
        """Returns the characters of ``ids`` as a terminal shows them."""
        return "".join(shown(self.alphabet[id_]) for id_ in ids)

    @property
    def columns(self) -> list[int]:
        """The ids that tables show, in the alphabet's order."""
        return sorted(list(dict.fromkeys(self.ids))[:COLUMNS])

    @property
    def rows(self) -> list[tuple[int, int]]:
        """The steps that tables show, input and target of each: the first ones, while ``columns`` has both."""
        steps = zip(self.read, self.targets, strict=True)
        return list(takewhile(lambda step: set(step) <= set(self.columns), steps))[:ROWS]


def one_hot_columns(text: Text) -> Iterator[str]:
    """The vector of each character, as a column."""
    V = len(text.alphabet)
    vectors = np.stack([one_hot(id_, V) for id_ in text.columns])
    yield "".join(padded(shown(text.alphabet[id_]), 4) for id_ in text.columns)
    for row in text.columns:
        yield "".join(f"{int(vector[row]):4}" for vector in vectors)


def table(network: Network, text: Text) -> Iterator[str]:
    """Score and probability of each next character, by step. The target's probability is in brackets."""
    yield "  reads  target" + " ".join(padded(shown(text.alphabet[id_]), 12) for id_ in text.columns)
    steps: Any = network.forward([read for read, _ in text.rows])
    for step, (read, target) in zip(steps, text.rows, strict=True):
        cells = "".join(
            f"{step.y[id_]:6.2f} " + (f"[{step.p[id_]:.2f}]" if id_ == target else f" {step.p[id_]:.2f} ")
            for id_ in text.columns
        )
        yield padded(text.spell([read]), 7) + padded(text.spell([target]), 8) + cells.rstrip()


def learning(network: Network, text: Text, updates: int, *, learning_rate: float) -> Iterator[str]:
    """The answer and the loss at some updates, while ``network`` learns."""
    marks = sorted({round(updates * k / (SNAPSHOTS - 1)) for k in range(SNAPSHOTS)})
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        steps: Any = network.forward(text.read)
        current = loss(steps, text.targets)
        yield f'  after {mark:4} updates: loss {current:6.3f} nats, says "{text.spell(say(network, text.read))}"'
        if following is not None:
            learn(network, text.ids, updates=following - mark, learning_rate=learning_rate)


def samples(network: Network, text: Text, seed: int) -> Iterator[str]:
    """Three texts, each character drawn from p."""
    random = np.random.default_rng(seed)
    for _ in range(3):
        yield f'  "{text.spell([text.ids[0], *sample(network, text.ids[0], len(text.read), random)])}"'


def flows(H: int, seed: int) -> Iterator[str]:
    """The share of the error that arrives some steps back, in fresh networks."""
    inputs, _ = gap.texts(max(DISTANCES) - 1, np.random.default_rng(seed))[0]
    found = [gap.flow(gap.make(cell, H, seed), inputs, gap.KEPT[0]) for cell in CELLS.values()]
    yield "  back" + "".join(f"{f'{name}, {state}':>24}" for name, state in zip(CELLS, ("dh", "dc", "dc"), strict=True))
    for back in DISTANCES:
        shares = [one[back][-1] for one in found]
        yield f"  {back:4}" + "".join(f"   {share:8.1e} {power_bar(share):{BAR}}" for share in shares).rstrip()


def gaps(H: int, seed: int, *, length: int, updates: int) -> Iterator[str]:
    """The task with a gap, for each cell."""
    for name, cell in CELLS.items():
        trial = gap.attempt(gap.make(cell, H, seed), gap=length, updates=updates)
        outcome = "learnt" if trial.learnt else "not learnt"
        yield f"  {name:11}  {outcome:10} after {len(trial.losses):3} updates: loss {trial.loss:.3f} {bar(trial.loss)}"


def fresh(cell: str, V: int, H: int, seed: int) -> Network:
    """Returns a network that has learnt nothing."""
    return Rnn(V, H, seed) if cell == "rnn" else Lstm(V, H, seed)
