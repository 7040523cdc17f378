"""Measures passwords by the bits that a guesser needs who knows how people choose them.

A model learns a list of passwords, made up here in the ways of people: words, names, years, keys in a row. The bits of
a password under the model tell how many guesses it takes: n bits are 2 to the power of n guesses of a guesser who tries
the likeliest first, about. A password that only looks random to a rule of "8 characters, a capital and a digit" is
weak here.

    $ python examples/password_meter.py Dragon1987! qwerty123 x7#Kq9v2Lp
     27.7 bits  weak    Dragon1987!
     10.4 bits  weak    qwerty123
     74.5 bits  strong  x7#Kq9v2Lp
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
from random import Random

from nextchar_client import Client
from training_and_serving import numbers, served

WORDS = (
    "angel baby banana butterfly charlie cheese chocolate computer cookie dragon eagle flower football freedom ginger "
    "happy hunter jordan killer letmein love master michael monkey mustang orange password pepper phoenix princess "
    "purple secret shadow silver snoopy soccer star summer sunshine superman tiger welcome winter"
).split()
ROWS = ("qwerty", "asdfgh", "zxcvbn", "12345", "123456789", "abc123", "1q2w3e4r")
LEAST = tuple("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&*+-.?@_")
LEVELS = ((28, "weak"), (45, "fair"), (60, "good"))


def chosen(random: Random) -> str:
    """Returns a password as people choose them."""
    word = random.choice(WORDS)
    if random.random() < 0.3:
        word = word.capitalize()
    if random.random() < 0.1:
        word = word.translate(str.maketrans("aeio", "@310"))
    match random.randint(0, 5):
        case 0:
            return word + str(random.randint(1950, 2025))
        case 1:
            return word + random.choice(("1", "12", "123", "!", "1!", "123!"))
        case 2:
            return random.choice(ROWS) + random.choice(("", "1", "123", "!"))
        case 3:
            return word + random.choice(WORDS)
        case 4:
            return "".join(random.choices(LEAST, k=8))  # some do choose at random
        case _:
            return word + str(random.randint(0, 99))


def bits(client: Client, password: str) -> float:
    """Returns the bits of ``password`` under the model. A character that it doesn't know counts as 10 bits."""
    score = client.score(password, unknown_characters="skip")
    return -score.total_logprob / math.log(2) + 10 * (len(password) - len(score.characters))


def level(bits: float) -> str:
    """Returns the name of a strength."""
    return next((name for most, name in LEVELS if bits < most), "strong")


def meter(client: Client, passwords: Iterable[str]) -> None:
    """Prints the strength of each password."""
    for password in passwords:
        found = bits(client, password)
        print(f"{found:5.1f} bits  {level(found):6}  {password}")


def main() -> None:
    """Reads the arguments, trains a model and measures passwords."""
    parser = argparse.ArgumentParser(description="Measures passwords under a model of chosen ones.")
    parser.add_argument("passwords", nargs="*", help="passwords; without any, they are read from standard input")
    parser.add_argument("--epochs", type=int, default=6, help="passes over the 4,000 passwords to learn from")
    arguments = parser.parse_args()
    random = numbers()
    with served([chosen(random) for _ in range(4000)], epochs=arguments.epochs) as client:
        meter(client, arguments.passwords or filter(None, (line.strip("\n") for line in sys.stdin)))


if __name__ == "__main__":
    main()
