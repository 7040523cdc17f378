"""Streams a text from a nextchar server, character by character as the model generates it.

With ``nextchar-server`` running:

    $ python examples/stream.py "ROMEO:" --seed 7 --max-characters 120
    ROMEO:
    He come to him.

    MENENIUS:
    Hark, 'tis true, who shall be much in a gentleman,
    of the gallant of courted-manging.

    LEONT

    [120 characters, ended by max_characters]
"""

from __future__ import annotations

import argparse

from nextchar_client import DEFAULT_ENDPOINT, Client, Delta, Finished, NextcharError


def main() -> None:
    """Reads the arguments and streams one text."""
    parser = argparse.ArgumentParser(description="Streams a text from a nextchar server.")
    parser.add_argument("prompt", nargs="?", default="ROMEO:", help="text that the model reads first")
    parser.add_argument("--seed", type=int, help="the same seed generates the same text")
    parser.add_argument("--max-characters", type=int, default=400)
    parser.add_argument("--endpoint", default=DEFAULT_ENDPOINT, help="HOST:PORT of the server")
    arguments = parser.parse_args()
    try:
        stream(arguments.prompt, arguments.seed, arguments.max_characters, arguments.endpoint)
    except NextcharError as error:
        parser.exit(1, f"{error}\n")


def stream(prompt: str, seed: int | None, max_characters: int, endpoint: str) -> None:
    """Prints the text that follows ``prompt`` as it comes, and then why it ended."""
    with Client(endpoint) as client:
        for event in client.stream(prompt, seed=seed, max_characters=max_characters, echo=True):
            match event:
                case Delta():
                    print(event.text, end="", flush=True)
                case Finished():
                    print(f"\n\n[{event.usage.generated_characters} characters, ended by {event.finish_reason}]")


if __name__ == "__main__":
    main()
