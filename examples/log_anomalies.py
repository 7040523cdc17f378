"""Finds odd lines in a log: a model of normal lines finds them unlikely.

It learns normal lines of a log that is made up here, then scores new lines, normal ones and odd ones: a call far too
slow, a path of another service, a status or a number of retries never seen, a path that climbs. A line's score is the
bits of its least likely character, since a single odd place makes a line odd, however long it is. ROC AUC is the
probability that an odd line scores higher than a normal one.

    $ python examples/log_anomalies.py
    bits  oddest lines
    18.7  18:11:31 INFO orders GET /cart/items/../../user 200 76ms
    17.3  13:31:51 INFO orders GET /cart/../../user 200 9ms
    17.3  12:14:20 INFO orders GET /cart/../../user 200 16ms
    17.3  00:47:25 INFO orders GET /cart/../../user 200 14ms
    17.3  23:39:46 INFO orders GET /cart/../../user 200 14ms
    ROC AUC 0.992
"""

from __future__ import annotations

import argparse
import math
from random import Random

from nextchar_client import Client, InvalidArgumentError
from training_and_serving import numbers, served

PATHS = {
    "gateway": ("/login", "/health", "/static/app.js"),
    "orders": ("/cart", "/cart/items", "/health"),
    "payments": ("/checkout", "/refund", "/health"),
    "users": ("/login", "/profile", "/health"),
}


def normal(random: Random) -> str:
    """Returns a normal line."""
    time = f"{random.randint(0, 23):02}:{random.randint(0, 59):02}:{random.randint(0, 59):02}"
    service = random.choice(list(PATHS))
    path = random.choice(PATHS[service])
    match random.choices(range(5), weights=(50, 25, 20, 3, 2))[0]:
        case 0:
            return f"{time} INFO {service} GET {path} 200 {random.randint(2, 99)}ms"
        case 1:
            return f"{time} INFO {service} POST {path} 201 {random.randint(10, 300)}ms"
        case 2:
            return f"{time} DEBUG {service} cache hit user={random.randint(1000, 9999)}"
        case 3:
            return f"{time} WARN {service} GET {path} 404 {random.randint(2, 99)}ms"
        case _:
            return f"{time} ERROR {service} timeout after 5000ms, retry {random.randint(1, 3)}"


def odd(random: Random) -> str:
    """Returns a line as it should not be. Each of its characters occurs in normal lines too."""
    time = normal(random)[:8]
    service, other = random.sample(list(PATHS), 2)
    path = random.choice(PATHS[service])
    match random.randint(0, 5):
        case 0:
            return f"{time} INFO {service} GET {path} 200 {random.randint(1000, 9999)}ms"
        case 1:
            foreign = random.choice([one for one in PATHS[other] if one not in PATHS[service]])
            return f"{time} INFO {service} POST {foreign} 201 {random.randint(10, 300)}ms"
        case 2:
            return f"{time} ERROR {service} GET {path} 500 {random.randint(2, 99)}ms"
        case 3:
            return f"{time} DEBUG {service} cache hit user={random.randint(10**5, 10**8)}"
        case 4:
            return f"{time} INFO {service} GET {path}/../../user 200 {random.randint(2, 99)}ms"
        case _:
            return f"{time} ERROR {service} timeout after 5000ms, retry {random.randint(4, 9)}"


def oddness(client: Client, line: str) -> float:
    """Returns the bits of the least likely character of ``line``, infinity if the model doesn't know it."""
    try:
        characters = client.score(line).characters
    except InvalidArgumentError:  # a character that no line had
        return math.inf
    return max(-one.logprob for one in characters) / math.log(2)


def auc(normal: list[float], odd: list[float]) -> float:
    """Returns the area under the ROC curve: the share of pairs that are in the right order; a tie counts half."""
    pairs = [(high > low) + (high == low) / 2 for high in odd for low in normal]
    return sum(pairs) / len(pairs)


def main() -> None:
    """Reads the arguments, trains a model, scores lines and prints the result."""
    parser = argparse.ArgumentParser(description="Finds odd lines in a log.")
    parser.add_argument("--lines", type=int, default=200, help="normal lines to score, and as many odd ones")
    parser.add_argument("--epochs", type=int, default=6, help="passes over the 2,000 normal lines to learn from")
    arguments = parser.parse_args()
    random = numbers()
    learned = [normal(random) for _ in range(2000)]
    usual, unusual = ([make(random) for _ in range(arguments.lines)] for make in (normal, odd))
    with served(learned, epochs=arguments.epochs) as client:
        scores = {line: oddness(client, line) for line in {*usual, *unusual}}
    print("bits  oddest lines")
    for line in sorted(scores, key=lambda line: -scores[line])[:5]:
        print(f"{scores[line]:4.1f}  {line}")
    print(f"ROC AUC {auc([scores[line] for line in usual], [scores[line] for line in unusual]):.3f}")


if __name__ == "__main__":
    main()
