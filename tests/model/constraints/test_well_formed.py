"""Well-formed texts: every text is one, and no walk through the automaton makes a broken one."""

import random

import pytest

from nextchar_model.alphabet import Alphabet, Kind
from nextchar_model.constraints.well_formed import well_formed
from nextchar_model.decoder import continuing, decode
from tests.support.automata import accepts

TEXT = "서울특별시 값 없는 물건, 읽는 책 ㅋㅋ café q\u0301x\n"
JAMO = range(0x1100, 0x1200)


@pytest.mark.parametrize("kind", ["characters", "jamo", "bytes"])
def test_a_text_is_well_formed(kind: Kind) -> None:
    alphabet = Alphabet.of(TEXT, kind)
    assert accepts(well_formed(alphabet), alphabet.encode(TEXT).tolist())


@pytest.mark.parametrize("kind", ["characters", "jamo", "bytes"])
def test_no_walk_makes_a_broken_text_or_ends_within_a_character(kind: Kind) -> None:
    alphabet = Alphabet.of(TEXT, kind)
    automaton, random_ = well_formed(alphabet), random.Random(0)
    for _ in range(100):
        state, ids = 0, list[int]()
        while len(ids) < 30 or not automaton.accepts[state]:
            possible = (automaton.transitions[state, 1:] >= 0).nonzero()[0] + 1
            ids.append(int(random_.choice(possible.tolist())))
            state = int(automaton.transitions[state, ids[-1]])
        text = decode(alphabet, ids)
        assert "\ufffd" not in text
        assert kind == "bytes" or not any(ord(character) in JAMO for character in text)


@pytest.mark.parametrize("kind", ["characters", "jamo", "bytes"])
def test_the_first_id_begins_a_character(kind: Kind) -> None:
    alphabet = Alphabet.of(TEXT, kind)
    first = well_formed(alphabet).transitions[0]
    assert (first[continuing(alphabet)] == -1).all()
