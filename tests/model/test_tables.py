"""Tables: the automata of a batch behind one another, each with its own states."""

import threading

import numpy as np
import pytest

from nextchar_model import tables
from nextchar_model.alphabet import Alphabet
from nextchar_model.constraints.automaton import FORBIDDEN, Automaton
from nextchar_model.constraints.compiler import compile_regex
from nextchar_model.tables import BEGINS, FREE, Stack, Tables

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


def stacked(own: Tables, *automata: Automaton) -> Stack:
    """Returns the stack of ``automata``, whose tables it has."""
    stack, first = own.stack(objects(*automata))
    assert first is not None
    for start, automaton in zip(first.tolist(), automata, strict=True):
        part = slice(start, start + len(automaton))
        assert (
            np.where(stack.transitions[part] < 0, -1, stack.transitions[part] - start) == automaton.transitions
        ).all()
        assert (stack.detours[part] == automaton.detours).all()
    return stack


def test_a_stack_serves_until_another_automaton_comes() -> None:
    one, other = compile_regex("a", ALPHABET), compile_regex("b", ALPHABET)
    own = Tables(ALPHABET)
    both = stacked(own, one, other)
    assert stacked(own, other) is both
    assert own.stack(objects(None))[1] is None
    third = stacked(own, compile_regex("ab", ALPHABET))
    assert third.automata[:2] == both.automata
    assert stacked(own, one, other) is third


def test_automata_come_behind_the_others_as_long_as_there_is_room() -> None:
    own = Tables(ALPHABET)
    large = compile_regex("a{90}", ALPHABET)
    first = stacked(own, large)
    small = [compile_regex(f"a{{{count}}}", ALPHABET) for count in range(1, 5)]
    stacks = [stacked(own, large, *small[:count]) for count in range(5)]
    assert all(np.shares_memory(first.transitions, stack.transitions) for stack in stacks)
    assert stacked(own, large, compile_regex("b{90}", ALPHABET)).automata[0] is large


def test_what_no_call_needed_lately_leaves_a_stack_that_has_too_much_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = compile_regex("a{90}", ALPHABET), compile_regex("a", ALPHABET)
    for kept_bytes, count in ((0, 1), (2**20, 2)):
        monkeypatch.setattr(tables, "KEPT_BYTES", kept_bytes)
        own = Tables(ALPHABET)
        stacked(own, large, small)
        for _ in range(200):
            stack = stacked(own, small)
        assert len(stack.automata) == count


def test_rows_that_come_and_go_do_not_push_out_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "KEPT_BYTES", 0)
    own = Tables(ALPHABET)
    automata = [compile_regex(f"a{{{count}}}", ALPHABET) for count in range(1, 20)]
    stacked(own, *automata)
    whole = stacked(own, *automata)
    assert all(stacked(own, automata[call % 19]) is whole for call in range(60))


def test_a_thread_that_rests_keeps_no_large_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    own, automaton = Tables(ALPHABET), compile_regex("a{90}", ALPHABET)
    before = stacked(own, automaton)
    own.rest()
    assert stacked(own, automaton) is before
    monkeypatch.setattr(tables, "KEPT_BYTES", 0)
    own.rest()
    assert stacked(own, automaton) is not before


def test_each_thread_has_a_stack_of_its_own() -> None:
    own, automaton = Tables(ALPHABET), compile_regex("a", ALPHABET)
    stacks = [own.stack(objects(automaton))[0]]
    thread = threading.Thread(target=lambda: stacks.append(own.stack(objects(automaton))[0]))
    thread.start()
    thread.join()
    assert stacks[0] is not stacks[1]
