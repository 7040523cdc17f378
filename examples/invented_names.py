"""Invents names of towns that match a pattern and are in no list.

A model learns how the names of a list are built. A regular expression says which names are wanted, so every text
matches; those of the list are left out. The list is made up here; give a file with a name per line to use your own.

    $ python examples/invented_names.py --pattern "B[a-z]{3,7}(ton|ford|ley)" --count 5
    Brackathley
    Birchfieley
    Barkenbuley
    Blenerbyley
    Brackerton
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from nextchar_client import Client
from training_and_serving import numbers, served

BEGINNINGS = (
    "Ack Alder Ash Ayl Bam Bark Bell Birch Bland Brad Brack Burn Cal Carl Chel Clay Cold Crow Dal Darl Del Dray Eck "
    "Elm Fal Farn Fen Gan Gil Graf Hal Hart Haw Hol Kel Kirk Lang Lin Mar Mel Mil Nor Oak Pem Pen Rad Red Rip Sal Sel "
    "Shel Sken Stan Stock Swin Tad Thorn Tor Wal War Wel Whit Win Wood Yar"
).split()
MIDDLES = ("", "", "", "er", "ing", "en", "el", "a")
ENDINGS = ("ton", "ford", "ley", "ham", "by", "wick", "bury", "worth", "stead", "field", "mouth", "thorpe")


def made_up() -> list[str]:
    """Returns a list of names, without repetitions."""
    random = numbers()
    parts = (BEGINNINGS, MIDDLES, ENDINGS)
    return sorted({"".join(map(random.choice, parts)) for _ in range(3000)})


def invented(client: Client, pattern: str, known: set[str], temperature: float) -> Iterator[str]:
    """Yields names that match ``pattern`` and are not ``known``, each once."""
    seen = set(known)
    for seed in count(1):
        name = client.generate(regex=pattern, max_characters=24, seed=seed, temperature=temperature).text
        if name not in seen:
            seen.add(name)
            yield name


def main() -> None:
    """Reads the arguments, trains a model and prints names."""
    parser = argparse.ArgumentParser(description="Invents names that match a pattern and are in no list.")
    parser.add_argument("list", nargs="?", type=Path, help="file with a name per line (default: a list made up here)")
    parser.add_argument("--pattern", default="[A-Z][a-z]{5,10}", help="regular expression that each name matches")
    parser.add_argument("--count", type=int, default=10, help="names to invent")
    parser.add_argument("--temperature", type=float, default=0.8, help="lower: closer to the list")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the list")
    arguments = parser.parse_args()
    known = arguments.list.read_text(encoding="utf-8").split("\n") if arguments.list else made_up()
    known = [name for name in known if name]
    with served(known, epochs=arguments.epochs) as client:
        names = invented(client, arguments.pattern, set(known), arguments.temperature)
        print(*islice(names, arguments.count), sep="\n")


if __name__ == "__main__":
    main()
