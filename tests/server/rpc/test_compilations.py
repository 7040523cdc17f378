"""Compilations: connections take turns, a bounded number waits, and nobody's work is done in vain."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from nextchar_model.alphabet import Alphabet
from nextchar_model.constraints.automaton import Automaton
from nextchar_model.constraints.compiler import compile_regex
from nextchar_model.constraints.work import ConstraintError
from nextchar_server.rpc.compilations import MOST_WAITING, Compilations, Key, Result
from nextchar_server.rpc.errors import OverloadedError

ALPHABET = Alphabet.of("ab")


def key(name: str) -> Key:
    return "model", "regex", name.encode()


class Work:
    """Compilations that wait until they may begin, and remember their order."""

    def __init__(self) -> None:
        self.counts: list[tuple[str, str]] = []
        self.compilations = Compilations(lambda key, result: self.counts.append((key[2].decode(), result)))
        self.order: list[str] = []
        self.may_begin = threading.Event()

    def ask(self, connection: str, name: str) -> asyncio.Task[Result]:
        return asyncio.create_task(self.compilations.result(key(name), self.compile_(name), connection))

    def compile_(self, name: str) -> Callable[[], Automaton]:
        def compile_() -> Automaton:
            assert self.may_begin.wait(30)
            self.order.append(name)
            return compile_regex("a+", ALPHABET)

        return compile_


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_connections_take_turns() -> None:
    work = Work()
    greedy = [work.ask("greedy", f"greedy {number}") for number in range(20)]
    await settled()
    modest = [work.ask(f"modest {number}", f"modest {number}") for number in range(3)]
    await settled()
    work.may_begin.set()
    await asyncio.gather(*greedy, *modest)
    assert max(work.order.index(f"modest {number}") for number in range(3)) <= 5


async def test_a_connection_with_more_loses_its_latest_to_one_with_less() -> None:
    work = Work()
    greedy = [work.ask("greedy", str(number)) for number in range(MOST_WAITING)]
    await settled()
    refused = work.ask("greedy", "one more")
    modest = work.ask("modest", "modest")
    await settled()
    work.may_begin.set()
    with pytest.raises(OverloadedError, match="constraints wait to be compiled") as caught:
        await refused
    assert caught.value.details  # when to try again
    assert isinstance(await modest, Automaton)
    results = await asyncio.gather(*greedy, return_exceptions=True)
    assert [isinstance(one, OverloadedError) for one in results] == [False] * (MOST_WAITING - 1) + [True]


async def test_what_nobody_waits_for_any_more_is_not_compiled() -> None:
    work = Work()
    first, second, both = work.ask("a", "first"), work.ask("a", "second"), work.ask("b", "second")
    left = work.ask("a", "left")
    await settled()
    for task in (second, left):
        task.cancel()
    await settled()
    work.may_begin.set()
    await asyncio.gather(first, both)
    assert work.order == ["first", "second"]
    assert not work.compilations._jobs


async def test_calls_that_want_the_same_share_one_compilation_and_later_ones_its_result() -> None:
    work = Work()
    work.may_begin.set()
    results = await asyncio.gather(*(work.ask(connection, "same") for connection in "aabbb"))
    assert await work.ask("c", "same") is results[0]
    assert len(set(map(id, results))) == 1
    assert work.counts == [("same", "compiled"), ("same", "kept")]


async def test_a_refusal_is_kept_like_an_automaton() -> None:
    work = Work()

    def refuse() -> Automaton:
        raise ConstraintError("too large")

    for _ in range(2):
        assert isinstance(await work.compilations.result(key("large"), refuse, "a"), ConstraintError)
    assert work.counts == [("large", "refused"), ("large", "kept")]


async def test_a_bug_ends_the_calls_that_wait_and_nothing_else() -> None:
    work = Work()
    work.may_begin.set()

    def fail() -> Automaton:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await work.compilations.result(key("bug"), fail, "a")
    assert isinstance(await work.ask("a", "next"), Automaton)
