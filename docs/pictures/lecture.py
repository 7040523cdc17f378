"""Pictures of the lecture: `python docs/pictures/lecture.py`. Needs `.[training]`; some minutes on one core.

Writes `lecture-*.png` and the equations, `lecture-*.svg`, beside this file. The networks are those of
`nextchar_training.lecture`, so that a picture can't say other than the code does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nextchar_training.lecture import gap
from nextchar_training.lecture.__main__ import GAP, GAP_UNITS, GAP_UPDATES
from nextchar_training.lecture.terminal import CELLS
from nextchar_training.palette import BLUE, GREEN, ORANGE, SKY_BLUE, VERMILION

FOLDER = Path(__file__).parent
DISTANCE = 60
COLOURS = (VERMILION, SKY_BLUE, BLUE)
"""Of ``CELLS``: those of RNN and LSTM in the other pictures, and a pale one for the LSTM with half-open gates."""
MEMORY = 15
"""Unit that keeps the letter in the LSTM of seed 0."""
SEEDS = (0, 1, 2, 3, 4, 10, 11, 12, 13, 14)

EQUATIONS = {
    "rnn": [
        r"$h_t = \tanh(W_{xh}\,x_t + W_{hh}\,h_{t-1} + b_h)$",
        r"$y_t = W_{hy}\,h_t + b_y \qquad p_t = \mathrm{softmax}(y_t)$",
    ],
    "loss": [r"$L = -\sum_t \log p_t[k_t] \qquad \partial L / \partial y_t = p_t - e_{k_t}$"],
    "bptt": [
        r"$dh_t = W_{hy}^{\top}\,dy_t + W_{hh}^{\top}\left[(1 - h_{t+1}^2) \odot dh_{t+1}\right]$",
        r"$dW_{hh} = \sum_t \left[(1 - h_t^2) \odot dh_t\right] h_{t-1}^{\top}$",
    ],
    "lstm": [
        r"$i, f, o = \sigma(W_{i,f,o}\,[x_t, h_{t-1}] + b_{i,f,o}) \qquad g = \tanh(W_g\,[x_t, h_{t-1}] + b_g)$",
        r"$c_t = f \odot c_{t-1} + i \odot g \qquad h_t = o \odot \tanh(c_t)$",
    ],
    "belt": [
        r"$dc_{t-1} = f_t \odot dc_t + dh_{t-1} \odot o_{t-1} \odot (1 - \tanh^2 c_{t-1})$",
        r"$0.5^{20} \approx 10^{-6} \qquad 0.95^{20} \approx 0.36$",
    ],
}


def keep(figure: Figure, name: str) -> None:
    """Writes a picture on white, the same bytes from the same numbers."""
    plain = {"Date": None} if name.endswith("svg") else {"Software": None}
    figure.savefig(FOLDER / name, dpi=110, facecolor="white", bbox_inches="tight", metadata=plain)
    plt.close(figure)


def equations() -> None:
    """Writes each group of equations as curves, which need no font on the reader's machine."""
    matplotlib.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "lecture", "mathtext.fontset": "cm"})
    for name, lines in EQUATIONS.items():
        figure = plt.figure(figsize=(7, 0.5 * len(lines)))
        for place, line in enumerate(lines):
            figure.text(0.02, 1 - (place + 0.5) / len(lines), line, fontsize=15, va="center")
        keep(figure, f"lecture-{name}.svg")


def box(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Draws a value."""
    shape = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": colour, "linewidth": 2}
    axes.text(x, y, text, ha="center", va="center", fontsize=12, bbox=shape)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, style: str = "-") -> None:
    """Draws a way from one value to another."""
    form = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "linestyle": style, "shrinkA": 17, "shrinkB": 17}
    axes.annotate("", xy=end, xytext=start, arrowprops=form)


def forward() -> None:
    """The network unrolled over "hell": the values go right and up, the error comes back left and down."""
    figure, axes = plt.subplots(figsize=(9, 4.2))
    for place, (read, target) in enumerate(zip("hell", "ello", strict=True)):
        x = place * 2.2
        box(axes, x, 0, f"x = '{read}'", GREEN)
        box(axes, x, 1.3, f"$h_{place + 1}$", BLUE)
        box(axes, x, 2.6, f"p, target '{target}'", ORANGE)
        arrow(axes, (x - 0.08, 0), (x - 0.08, 1.3), "black")
        arrow(axes, (x - 0.08, 1.3), (x - 0.08, 2.6), "black")
        arrow(axes, (x + 0.12, 2.6), (x + 0.12, 1.3), VERMILION, "--")
        axes.text(x - 0.18, 0.65, "Wxh", ha="right", va="center")
        axes.text(x - 0.18, 1.95, "Why", ha="right", va="center")
        arrow(axes, (x - 2.2 if place else x - 1.5, 1.38), (x, 1.38), "black")
        axes.text(x - (1.1 if place else 0.9), 1.5, "Whh", ha="center")
        if place:
            arrow(axes, (x, 1.18), (x - 2.2, 1.18), VERMILION, "--")
    axes.text(-1.6, 1.38, "0", ha="center", va="center", fontsize=12)
    axes.text(3.3, 3.25, "black: values forward     dashed red: errors back", ha="center", fontsize=11)
    axes.set(xlim=(-1.8, 7.6), ylim=(-0.4, 3.5))
    axes.axis("off")
    keep(figure, "lecture-forward.png")


def labelled(axes: Axes, *, x: str, y: str, title: str) -> None:
    """Names the axes and the curves."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)


def flow() -> None:
    """How much of the error arrives: fresh networks of 16 units, each of ten seeds."""
    figure, axes = plt.subplots(figsize=(7.5, 4))
    for (name, cell), colour, state in zip(CELLS.items(), COLOURS, ("dh", "dc", "dc"), strict=True):
        for seed in SEEDS:
            inputs, _ = gap.texts(DISTANCE - 1, np.random.default_rng(seed))[0]
            shares = [entry[-1] for entry in gap.flow(gap.make(cell, 16, seed), inputs, 0)]
            axes.semilogy(shares, color=colour, linewidth=1.3, label=f"{name}: {state}" if seed == 0 else None)
    labelled(axes, x="steps back", y="share of the error at the last step", title="The error on its way back")
    keep(figure, "lecture-flow.png")


def curves() -> None:
    """The losses on the task with a gap, ten first weights each."""
    figure, axes = plt.subplots(figsize=(7.5, 4))
    for (name, cell), colour in zip(CELLS.items(), COLOURS, strict=True):
        for seed in SEEDS:
            trial = gap.attempt(gap.make(cell, GAP_UNITS, seed), gap=GAP, updates=GAP_UPDATES)
            smooth = np.convolve(trial.losses, np.ones(10) / 10, "valid")
            label = name if seed == 0 else None
            axes.plot(
                np.arange(len(smooth)) + 10, smooth, color=colour, label=label, zorder=3 if cell == "lstm0" else 2
            )
            print(f"{name} seed {seed}: {'learnt' if trial.learnt else 'not learnt'} after {len(trial.losses)}")
    axes.axhline(np.log(2), color="black", linestyle=":", linewidth=1, label="a guess, log 2")
    axes.set_ylim(0, 1.6)
    labelled(axes, x="updates", y="loss at the answer, nats", title=f"Keep a letter across {GAP} others")
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 0.75))
    keep(figure, "lecture-gap.png")


def gates() -> None:
    """The gates and the cell of an LSTM that has learnt the task, along one text."""
    network = gap.make("lstm3", GAP_UNITS, 0)
    gap.attempt(network, gap=GAP, updates=GAP_UPDATES)
    figure, (*rows, last) = plt.subplots(5, 1, figsize=(8, 8.5), sharex=True, layout="constrained")
    inputs, _ = gap.texts(GAP, np.random.default_rng(1))[0]
    steps: Any = network.forward(inputs)
    for axes, (name, field, most) in zip(
        rows,
        (("input gate i", "i", 1), ("forget gate f", "f", 1), ("output gate o", "o", 1), ("cell c", "c", None)),
        strict=True,
    ):
        values = np.stack([getattr(step, field) for step in steps], axis=1)
        limit = most or float(np.abs(values).max())
        colours = "viridis" if most else "PuOr"
        image = axes.imshow(values, aspect="auto", cmap=colours, vmin=0 if most else -limit, vmax=limit)
        axes.set_ylabel("unit")
        axes.set_title(name, fontsize=10, loc="left")
        figure.colorbar(image, ax=axes, pad=0.01)
        axes.set_yticks((0, 5, 10, MEMORY))
    for kept, style in zip(gap.KEPT, ("-", "--"), strict=True):
        states: Any = network.forward([kept, *inputs[1:]])
        letter = gap.LETTERS[kept]
        last.plot([step.c[MEMORY] for step in states], style, color=BLUE, label=f"first letter {letter}")
    last.axhline(0, color="0.4", linewidth=1)
    last.set_title(f"cell c of unit {MEMORY}", fontsize=10, loc="left")
    last.legend(frameon=False, fontsize=9, loc="center right")
    last.spines[["top", "right"]].set_visible(False)
    last.set_xticks(range(len(inputs)), [gap.LETTERS[id_] for id_ in inputs])
    keep(figure, "lecture-gates.png")


def main() -> None:
    """Draws everything."""
    equations()
    forward()
    flow()
    curves()
    gates()


if __name__ == "__main__":
    main()
