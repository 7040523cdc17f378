"""Completes words while one types: after each key, the likeliest words, and at the end the slowest answer.

With ``nextchar-server`` running:

    $ python examples/autocomplete.py "Where is my l" --keys 4
    Where is m  my 91%, me 2%, mine 1%
    Where is my  myself 1%, myon 0%, mys 0%
    Where is my   lord 5%, heart 3%, father 3%
    Where is my l  lord 33%, life 19%, love 11%
"""

from __future__ import annotations

import argparse
import time

from nextchar_client import DEFAULT_ENDPOINT, Client, NextcharError


def main() -> None:
    """Reads the arguments and types the text."""
    parser = argparse.ArgumentParser(description="Completes words while one types.")
    parser.add_argument("text", nargs="?", default="Where is my l", help="text to type")
    parser.add_argument("--keys", type=int, default=4, help="keys at the end of the text to complete after")
    parser.add_argument("--count", type=int, default=3, help="words after each key")
    parser.add_argument("--endpoint", default=DEFAULT_ENDPOINT, help="HOST:PORT of the server")
    arguments = parser.parse_args()
    try:
        type_out(arguments.text, arguments.keys, arguments.count, arguments.endpoint)
    except NextcharError as error:
        parser.exit(1, f"{error}\n")


def type_out(text: str, keys: int, count: int, endpoint: str) -> None:
    """Prints the completions after each of the last ``keys`` of ``text``, and the slowest time."""
    slowest = 0.0
    with Client(endpoint) as client:
        client.complete(text[:-keys])  # connects; from here on, each key is one character for the server to read
        for length in range(len(text) - keys + 1, len(text) + 1):
            began = time.perf_counter()
            found = client.complete(text[:length], count=count).completions
            slowest = max(slowest, time.perf_counter() - began)
            words = ", ".join(f"{text[:length].split(' ')[-1]}{one.text} {one.probability:.0%}" for one in found)
            print(f"{text[:length]}  {words}")
    print(f"slowest: {1000 * slowest:.1f} ms")


if __name__ == "__main__":
    main()
