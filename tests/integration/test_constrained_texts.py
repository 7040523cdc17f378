"""Thousands of texts over fifty expressions, of models of random weights: all match, and none is cut."""

import re
from pathlib import Path

import numpy as np
import pytest

from nextchar_model.alphabet import Alphabet, Kind
from nextchar_model.batch import SAMPLE, SamplingSettings
from nextchar_model.constraints.automaton import Automaton
from nextchar_model.constraints.compiler import compile_regex
from nextchar_model.decoder import decode, max_ids
from nextchar_model.draws import uniform
from nextchar_model.runner import Runner
from tests.support import korean_model
from tests.support.korean_model import KINDS, make_korean_model

TEXT = korean_model.KOREAN + "나 가각 바보 사슴 0123456789 abcdefghijklmnopqrstuvwxyz ABCDEF -:@_/+#.?!'\n"
ROWS, STEPS, MOST = 32, 32, 45
TEMPERATURES = (0.7, 1.0, 1.5, 3.0)

OCTET = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
EXPRESSIONS = [
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])",
    r"(?s)[^a]*a.?",
    rf"({OCTET}\.){{3}}{OCTET}",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"[a-z0-9]+@[a-z]{2,9}\.[a-z]{2,3}",
    *(r"\d{2}:\d{2}(:\d{2})?", r"\+\d{1,3}( \d{2,4}){2,4}", r"#[0-9A-F]{6}", r"[a-f]+(_[a-f]+)*", r"(/[a-z0-9]+)+/?"),
    *(r"-?\d+(\.\d+)?", r"\w{3,8}", r"\S+( \S+){2}", r".{5,25}", r"(ab|cd|e)*f", r"(a|b)*abb", r"[^aeiou]{4,}"),
    *(r"(?i)abc+", r"^\d+$", "(?m)^a$\\n^b$", r"(?s).{3}.*", r"[A-F][a-z]{2,7}", r"(the|my|your) [a-z]+", r"[A-F]+:"),
    *(r"[a-z ']+[.!?]", r"([a-z]+ ){3}[a-z]+\.", r"(?i)cafe.*decade", r".*love.*", r"[^\n]{20,40}\n", r"(no|yes)+ ?"),
    *(r"[b-df-hj-np-tv-z][aeiou]([b-df-hj-np-tv-z][aeiou]){1,4}", r"\w+\W\w+\W\w+", r"(?:who|how) [^?]{1,30}\?"),
    *(
        r"[가-힣]{2,4}",
        r"[가-힣]+ [가-힣]+",
        r"(서울|강남)[가-힣]*[시구]",
        r"[가-힣]{1,3}(로|동) ?\d{1,3}호?",
        r"[ㄱ-ㅎㅏ-ㅣ]+",
    ),
    *(r"[가-힣 ,]+\.", r".*값.*", r"[^가-힣]{3,}", r"(각|가)+나?", r"\w+é\w*", r"[가-힣]{2}\d{2}[가-힣]{2}"),
    *(
        r"(읽|밟|없)[가-힣]",
        r"(?:[가-힣]{1,2} ){2,3}[가-힣]+",
        r"é*[가-힣]?é",
        r"[바-싷]{3,6}",
        r"a*?b+?",
        r"(\d[a-c]?)*,",
    ),
]


def sampled(runner: Runner, automaton: Automaton, most: int) -> list[str]:
    """Returns texts of at most ``most`` characters, at several temperatures."""
    alphabet = runner.description.alphabet
    slack = most - automaton.shortest
    batch = runner.start(
        [SamplingSettings(automaton=automaton, slack=slack, temperature=TEMPERATURES[row % 4]) for row in range(ROWS)]
    )
    ids = np.empty((0, ROWS), np.int64)
    while len(ids) < max_ids(alphabet, most) and not (ids == 0).any(axis=0).all():
        steps = min(STEPS, max_ids(alphabet, most) - len(ids))
        draws = np.stack([uniform(row, len(ids), steps) for row in range(ROWS)], axis=1)
        ids = np.concatenate([ids, runner.advance(batch, np.full((steps, ROWS), SAMPLE), draws).ids])
    ends = np.where((ids == 0).any(axis=0), (ids == 0).argmax(axis=0), len(ids))
    return [decode(alphabet, one[:end].tolist()) for one, end in zip(ids.T, ends, strict=True)]


def test_there_are_fifty_expressions() -> None:
    assert len(set(EXPRESSIONS)) >= 50


@pytest.mark.parametrize("kind", KINDS)
def test_all_texts_match_and_none_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    monkeypatch.setattr(korean_model, "KOREAN", TEXT * 3)
    runner = Runner(make_korean_model(kind, tmp_path))
    alphabet: Alphabet = runner.description.alphabet
    for pattern in EXPRESSIONS:
        automaton = compile_regex(pattern, alphabet)
        most = max(MOST, automaton.shortest)
        wrong = [one for one in sampled(runner, automaton, most) if not re.fullmatch(pattern, one) or len(one) > most]
        assert wrong == [], pattern
