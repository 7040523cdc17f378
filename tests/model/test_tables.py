"""Tables: the automata of a batch behind one another, each with its own states."""

import threading

import numpy as np
import pytest

from nextchar_model import tables
from nextchar_model.alphabet import Alphabet
from nextchar_model.constraints.automaton import FORBIDDEN, Automaton
from nextchar_model.constraints.compiler import compile_regex
from nextchar_model.tables import BEGINS, FREE, Tables

ALPHABET = Alphabet.of("ab\u0301")


def objects(*automata: Automaton | None) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    array = np.empty(len(automata), np.object_)
    for place, one in enumerate(automata):
        array[place] = one
    return array


def test_without_automata_all_ids_are_free_or_those_that_begin_a_character() -> None:
    stack, first = Tables(ALPHABET).stack(objects(None, None))
    assert first is None
    assert (stack.transitions[FREE] == 0).all()
    assert (stack.detours[FREE] == 0).all()
    assert stack.transitions[BEGINS].tolist() == [0, 0, 0, -1]
    assert stack.detours[BEGINS].tolist() == [0, 0, 0, FORBIDDEN]


def test_each_row_finds_its_own_automaton() -> None:
    one, other = compile_regex("ab*", ALPHABET), compile_regex("(ab){2}", ALPHABET)
    stack, first = Tables(ALPHABET).stack(objects(other, None, one, other))
    assert first is not None
    assert first[1] == 0
    assert first[0] == first[3]
    for place, automaton in ((0, other), (2, one)):
        part = slice(first[place], first[place] + len(automaton))
        own = np.where(stack.transitions[part] < 0, -1, stack.transitions[part] - first[place])
        assert (own == automaton.transitions).all()
        assert (stack.detours[part] == automaton.detours).all()


def test_a_stack_serves_until_another_automaton_comes() -> None:
    one, other = compile_regex("a", ALPHABET), compile_regex("b", ALPHABET)
    own = Tables(ALPHABET)
    both, _ = own.stack(objects(one, other))
    assert own.stack(objects(other))[0] is both
    assert own.stack(objects(None))[1] is None
    third, _ = own.stack(objects(compile_regex("ab", ALPHABET)))
    assert len(third.automata) == 3


def test_a_stack_keeps_no_more_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "KEPT_BYTES", 0)
    own = Tables(ALPHABET)
    for count in range(1, 5):
        stack, _ = own.stack(objects(compile_regex("a" * count, ALPHABET)))
        assert len(stack.automata) == 1


def test_each_thread_has_a_stack_of_its_own() -> None:
    own, automaton = Tables(ALPHABET), compile_regex("a", ALPHABET)
    stacks = [own.stack(objects(automaton))[0]]
    thread = threading.Thread(target=lambda: stacks.append(own.stack(objects(automaton))[0]))
    thread.start()
    thread.join()
    assert stacks[0] is not stacks[1]
