"""Ranks names by how odd a model finds them, the oddest first.

A character-level model knows how the names of its corpus are spelled, so typos, foreign names and machine-made ones
stand out. Give the names as arguments, or one per line on standard input. With ``nextchar-server`` running:

    $ python examples/score_names.py Juliet Romeo Xqzvkb Margaret Gandalf
    bits per character  name
                 16.34  Xqzvkb
                  4.79  Gandalf
                  1.96  Romeo
                  1.93  Juliet
                  1.82  Margaret
"""

from __future__ import annotations

import argparse
import math
import sys

from nextchar_client import DEFAULT_ENDPOINT, Client, InvalidArgumentError, NextcharError


def main() -> None:
    """Reads the names, scores them and prints the ranking."""
    parser = argparse.ArgumentParser(description="Ranks names by how odd a model finds them, the oddest first.")
    parser.add_argument("names", nargs="*", help="names; without any, they are read from standard input, one per line")
    parser.add_argument("--model", default="", help="name of the model (default: the server's)")
    parser.add_argument("--endpoint", default=DEFAULT_ENDPOINT, help="HOST:PORT of the server")
    arguments = parser.parse_args()
    names = arguments.names or [line.strip() for line in sys.stdin if line.strip()]
    try:
        ranking = rank(names, arguments.model, arguments.endpoint)
    except NextcharError as error:
        parser.exit(1, f"{error}\n")
    print("bits per character  name")
    for bits, name in ranking:
        print(f"{bits:18.2f}  {name}")


def rank(names: list[str], model: str, endpoint: str) -> list[tuple[float, str]]:
    """Returns each name with its bits per character, the oddest first."""
    with Client(endpoint) as client:
        return sorted(((oddness(client, name, model), name) for name in names), reverse=True)


def oddness(client: Client, name: str, model: str) -> float:
    """Returns the bits per character of ``name``; infinity if it has a character outside the model's alphabet."""
    try:
        return client.score(name, model=model).bits_per_character
    except InvalidArgumentError:
        return math.inf


if __name__ == "__main__":
    main()
