"""``python -m nextchar_training.lecture``: the lecture, in five parts.

Invariant: the same options print the same lines.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from nextchar_cli.streams import OUTPUT_CLOSED, discard_output, prepare

from . import terminal
from .learning import RATE

GAP, GAP_UNITS, GAP_UPDATES = 15, 16, 300
NAMES = {"rnn": "RNN", "lstm": "LSTM"}


def at_least(least: int, text: str) -> int:
    """Returns the number of an option. Raises ``argparse.ArgumentTypeError`` if it is no number or below ``least``."""
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
    return number


def rate_of(text: str) -> float:
    """Returns a learning rate. Raises ``argparse.ArgumentTypeError`` if it is no number above 0 and at most 1."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and at most 1")
    return rate


def text_of(text: str) -> str:
    """Returns a text to learn. Raises ``argparse.ArgumentTypeError`` if it is shorter than two characters."""
    if len(text) < 2:
        raise argparse.ArgumentTypeError(
            f"{text!r} is shorter than two characters: one to read, and one to answer with"
        )
    return text


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns the options. Exits with code 2 and a line on standard error if one is invalid."""
    parser = argparse.ArgumentParser(
        prog="python -m nextchar_training.lecture",
        description='A recurrent network reads "hell" and learns to say "ello", with every step in sight: vectors, '
        "scores, learning, the gradient through time, and a task that tells the two cells apart.",
        epilog="Part 4 takes --hidden and --seed, and part 5 --seed only.",
    )
    parser.add_argument("--text", type=text_of, default="hello", help="text to learn (default: hello)")
    parser.add_argument(
        "--hidden", type=lambda text: at_least(1, text), default=16, help="units of the state (default: 16)"
    )
    parser.add_argument(
        "--steps", type=lambda text: at_least(0, text), default=200, help="updates on the text (default: 200)"
    )
    parser.add_argument(
        "--rate", type=rate_of, default=RATE, help=f"learning rate: less for an RNN and a long text (default: {RATE})"
    )
    parser.add_argument("--seed", type=lambda text: at_least(0, text), default=0, help="first weights (default: 0)")
    parser.add_argument("--cell", choices=list(NAMES), help="teach the text to this cell only (default: to both)")
    return parser.parse_args(arguments)


def lecture(chosen: argparse.Namespace) -> Iterator[str]:
    """Returns the lines of the lecture."""
    text = terminal.Text(chosen.text)
    V = len(text.alphabet)
    yield f"1. Characters become vectors: one column for each of {V} characters"
    if len(text.columns) < V:
        yield f"   (tables show the first {len(text.columns)} of the text)"
    yield from terminal.one_hot_columns(text)
    for cell in NAMES if chosen.cell is None else [chosen.cell]:
        network = terminal.fresh(cell, V, chosen.hidden, chosen.seed)
        weights = sum(value.size for value in network.weights.values())
        yield from ("", f"2. {NAMES[cell]}, {weights} weights: scores and probabilities, the target's in brackets")
        yield from terminal.table(network, text)
        yield from ("", f'3. {NAMES[cell]} reads "{text.spell(text.read)}" and learns "{text.spell(text.targets)}"')
        yield from terminal.learning(network, text, chosen.steps, learning_rate=chosen.rate)
        yield from ("  the table now:", *terminal.table(network, text))
        yield f'  from "{text.spell(text.ids[:1])}", drawn from p instead of the likeliest:'
        yield from terminal.samples(network, text, chosen.seed)
    yield from ("", "4. The share of an error that arrives some steps back, in fresh networks")
    yield f"   (f is the forget gate; a block for each power of ten above 1e-{terminal.BAR})"
    yield from terminal.flows(chosen.hidden, chosen.seed)
    yield from ("", f"5. A task that tells them apart: keep a letter across {GAP} others, then say it")
    yield f"   (a guess costs 0.693; {GAP_UNITS} units, {GAP_UPDATES} updates at most)"
    yield from terminal.gaps(GAP_UNITS, chosen.seed, length=GAP, updates=GAP_UPDATES)
    yield "   The first weights decide too: try other seeds. docs/lecture.md counts ten."


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the lecture. Returns 0, or 141 if its reader leaves; exits with code 2 if an option is invalid."""
    prepare()
    try:
        for line in lecture(options(arguments)):
            print(line, flush=True)
    except BrokenPipeError:
        discard_output()
        return OUTPUT_CLOSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
