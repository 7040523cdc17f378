"""Constraints: how long it takes to compile them, and to refuse those that are hostile, impossible or too large.

The times are of the processor, without a server, after Unicode's properties were read as at a server's start.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.report import Claim, claims, table
from nextchar_model.alphabet import Alphabet
from nextchar_model.constraints.automaton import Automaton
from nextchar_model.constraints.choices import compile_choices
from nextchar_model.constraints.compiler import compile_regex, prepare
from nextchar_model.constraints.json_schema import compile_json_schema
from nextchar_model.constraints.work import ConstraintError

TITLE = "Constraints"
_MOST = 200.0  # ms
_TIMES = 3
_ASCII = "".join(map(chr, range(32, 127)))
_ALPHABETS = {
    "characters": Alphabet.of(_ASCII),
    "jamo": Alphabet.of(_ASCII + "".join(map(chr, range(0xAC00, 0xD7A4))), "jamo"),
    "bytes": Alphabet.of("", "bytes"),
}
_SERVED = {
    "date": r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])",
    "IPv4": r"((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)",
    "UUID": r"[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "e-mail": r"[a-z0-9._%+-]{1,64}@[a-z0-9.-]{1,64}\.[a-z]{2,24}",
    "long e-mail": r"[a-z0-9._%+-]{1,64}@[a-z0-9.-]{1,255}\.[a-z]{2,63}",
    "words": r"\w+( \w+){0,5}",
    "any": ".{1,100}",
}
_REFUSED = [
    *("(a|b)*a(a|b){18}", "(.*a){20}", "(a?){5000}", "(x?){2000}", "((a?){40}){40}", "((((a{9}){9}){9}){9}){9}"),
    *("a{1,100000}", "(a{1,300}){1,300}", ".*a.{15}", "(.*)(.*)(.*)[a-z]{1,200}a.{12}", "(a+)+$(a|b)*a(a|b){17}"),
    *("([a-z]*[0-9]*){9}x(.|a){14}y.*", "(" * 100 + ")" * 100, "a" * 5000, "(((((a*)*)*)*)*b|.{300}){300}"),
    *(r"(\w|\d|\s|[a-z]|[A-Z]){6000}", r"(?i:[\w\W]){1,9000}", "[^a]*a[^b]{16}b", "(a|aa|aaa)*b(a|b){17}"),
    "".join(f"[{chr(200 + n)}-{chr(300 + n)}]?" for n in range(600)),
    *("a(?=b)b", "(?<!a)b", r"(a)\1", "(a)?(?(1)b|c)", "(?>a|b)", "a*+", r"\bcat", "(", "[", "a**", "a{99999999999}"),
    *("a$b", r"a\Zb", "b^a"),
]


def measure(folder: Path) -> str:
    """Measures the compiler and returns the section of the results."""
    began = time.thread_time()
    prepare()
    prepared = time.thread_time() - began
    served = [[name, *(_figure(pattern, kind) for kind in _ALPHABETS)] for name, pattern in _SERVED.items()]
    refused, slowest = [], 0.0
    for pattern in _REFUSED:
        figures = [_timed(partial(compile_regex, pattern, alphabet)) for alphabet in _ALPHABETS.values()]
        seconds = max(seconds for seconds, _ in figures)
        slowest = max(slowest, seconds)
        result = figures[0][1]
        reason = f"{len(result)} states" if isinstance(result, Automaton) else str(result)
        shown = pattern if len(pattern) <= 40 else f"{pattern[:39]}…"
        refused.append([f"`{shown}`".replace("|", r"\|"), f"{1e3 * seconds:.1f}", reason.replace("|", r"\|")])
    others = [[name, f"{1e3 * seconds:.0f}", _size(result)] for name, (seconds, result) in _others().items()]
    return "\n\n".join(
        [
            f"Unicode's properties take {1e3 * prepared:.0f} ms, once. Best of {_TIMES}, in ms and states.",
            table(["expression", *_ALPHABETS], served),
            table(["other constraints, of characters", "ms", "tables"], others),
            f"{len(refused)} hostile, impossible and irregular ones, the slowest of the three alphabets.",
            table(["expression", "ms", "reason, of characters"], refused),
            claims([Claim("slowest refusal", _MOST, 1e3 * slowest, at_most=True, unit="ms")]),
        ]
    )


def _others() -> dict[str, tuple[float, Automaton | ConstraintError]]:
    draw = random.Random(15)  # noqa: S311 - no secret
    syllables = ["ka", "lo", "mi", "ra", "ten", "vor", "sel", "an", "is", "o", "el", "ju", "bri", "tha", "gor", "na"]
    names: set[str] = set()
    while len(names) < 100_000:
        names.add("".join(draw.choices(syllables, k=draw.choice([3, 4, 5])))[:9])
    person = {
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "mail": {"type": "string", "format": "email"},
            "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "maxItems": 3},
        },
        "required": ["name", "age"],
    }
    alphabet = _ALPHABETS["characters"]
    return {
        "100,000 names": _timed(lambda: compile_choices(sorted(names), alphabet)),
        "a JSON schema of four properties": _timed(lambda: compile_json_schema(json.dumps(person), alphabet)),
    }


def _figure(pattern: str, kind: str) -> str:
    seconds, result = _timed(lambda: compile_regex(pattern, _ALPHABETS[kind]))
    return f"{1e3 * seconds:.0f}, {len(result)}" if isinstance(result, Automaton) else f"{1e3 * seconds:.0f}, refused"


def _timed(compile_: Callable[[], Automaton]) -> tuple[float, Automaton | ConstraintError]:
    """Returns the least processor time of some compilations in seconds, and their result."""
    least = float("inf")
    result: Automaton | ConstraintError | None = None
    for _ in range(_TIMES):
        began = time.thread_time()
        try:
            result = compile_()
        except ConstraintError as error:
            result = error
        least = min(least, time.thread_time() - began)
    assert result is not None
    return least, result


def _size(result: Automaton | ConstraintError) -> str:
    if isinstance(result, ConstraintError):
        return str(result)
    return f"{len(result):,} states, {result.size / 2**20:.1f} MiB"
