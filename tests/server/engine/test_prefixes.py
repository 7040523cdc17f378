"""The cache of prefixes: its finds, its drops and its bounds."""

import sys
import threading
import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextchar_model.alphabet import Ids
from nextchar_server.engine import prefixes as module
from nextchar_server.engine.prefixes import OVERHEAD, START, Prefix, Prefixes

ROOM = 2**20


def ids_of(text: str) -> Ids:
    return np.array([ord(character) for character in text], np.int64)


def state_of(ids: Ids) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Returns a state [1, 2] that tells which ids led to it."""
    return np.full((1, 2), len(ids) % 256, np.uint8), np.full((1, 2), float(ids.sum()), np.float32)


def keep(prefixes: Prefixes, text: str, after: Prefix = START) -> Prefix:
    ids = ids_of(text)
    return prefixes.keep(ids, after, *state_of(ids))


def found(prefixes: Prefixes, text: str) -> str:
    """Returns the part of ``text`` that the cache knows, after a look at its state."""
    prefix = prefixes.find(ids_of(text))
    if prefix is not START:
        hidden, cell = state_of(ids_of(text[: prefix.length]))
        assert np.array_equal(prefix.hidden, hidden)
        assert np.array_equal(prefix.cell, cell)
    return text[: prefix.length]


@pytest.mark.parametrize("head", [1, 2, 3, 64])
def test_the_longest_known_prefix_is_found(head: int) -> None:
    prefixes = Prefixes(ROOM)
    with patch.object(module, "_HEAD", head):
        check_finds(prefixes)


def check_finds(prefixes: Prefixes) -> None:
    for text in ("ab", "abcd", "abx", "b"):
        keep(prefixes, text)
    assert [found(prefixes, text) for text in ("abcde", "abce", "abxy", "ba", "ca")] == ["abcd", "ab", "abx", "b", ""]
    assert (prefixes.hits, prefixes.misses) == (4, 1)


def test_a_prefix_leaves_the_last_id_of_a_prompt_to_be_fed_in() -> None:
    prefixes = Prefixes(ROOM)
    keep(prefixes, "abc")
    assert (found(prefixes, "abc"), found(prefixes, "abcd")) == ("", "abc")


def test_a_prefix_that_extends_another_one_keeps_only_the_ids_after_it() -> None:
    prefixes = Prefixes(ROOM)
    longer = keep(prefixes, "abcdef", keep(prefixes, "abcd"))
    assert longer.ids == ids_of("ef").astype(np.int32).tobytes()
    assert found(prefixes, "abcdefg") == "abcdef"


def test_the_same_prefix_is_kept_once() -> None:
    prefixes = Prefixes(ROOM)
    assert keep(prefixes, "abc") is keep(prefixes, "abc", keep(prefixes, "ab"))


def test_ids_that_collide_are_told_apart() -> None:
    prefixes = Prefixes(ROOM)
    with patch.object(module, "crc32", lambda *_: 0):
        keep(prefixes, "abc")
        assert keep(prefixes, "xyz") is START
        assert found(prefixes, "xyzw") == ""
        assert found(prefixes, "abcd") == "abc"


def test_the_least_recently_used_prefix_is_dropped_first() -> None:
    prefixes = Prefixes(ROOM)
    size = keep(prefixes, "a").size
    prefixes.size = 3 * size
    for text in ("b", "c"):
        keep(prefixes, text)
    assert found(prefixes, "a.") == "a"
    keep(prefixes, "d")
    assert [found(prefixes, text) for text in ("a.", "b.", "c.", "d.")] == ["a", "", "c", "d"]


def test_a_prefix_after_one_that_was_dropped_is_still_found() -> None:
    prefixes = Prefixes(ROOM)
    first = keep(prefixes, "abc")
    prefixes.size = first.size
    keep(prefixes, "x")
    assert found(prefixes, "abcd") == ""
    prefixes.size = ROOM
    assert keep(prefixes, "abcde", first).parent is START
    assert found(prefixes, "abcdef") == "abcde"


def test_a_prefix_larger_than_the_cache_is_not_kept() -> None:
    prefixes = Prefixes(OVERHEAD)
    assert keep(prefixes, "abc") is START
    assert prefixes.used == 0


@pytest.mark.parametrize("head", [64, 2])
@given(st.lists(st.tuples(st.text("ab", min_size=1, max_size=8), st.booleans()), max_size=60), st.integers(1, 6))
def test_whatever_is_kept_and_looked_up_the_bytes_are_bounded_and_no_chain_is_broken(
    head: int, calls: list[tuple[str, bool]], room: int
) -> None:
    with patch.object(module, "_HEAD", head):
        check_chains(calls, room)


def check_chains(calls: list[tuple[str, bool]], room: int) -> None:
    prefixes = Prefixes(room * (OVERHEAD + 20))
    last = START
    for text, keeps in calls:
        begins = text.startswith("".join(map(chr, ids_of_chain(last))))
        if keeps:
            last = keep(prefixes, text, last if begins and last.length < len(text) else START)
        else:
            assert text.startswith(found(prefixes, text))
        alive = list(prefixes._prefixes.values())
        assert prefixes.used == sum(prefix.size for prefix in alive) <= prefixes.size
        assert all(prefix.parent in [START, *alive] for prefix in alive)
        heads = {prefix.head for prefix in alive}
        assert prefixes._lengths == {
            head: sorted(prefix.length for prefix in alive if prefix.head == head) for head in heads
        }


def ids_of_chain(prefix: Prefix) -> list[int]:
    own = np.frombuffer(prefix.ids, np.int32).tolist()
    return own if prefix.parent is None else [*ids_of_chain(prefix.parent), *own]


def test_a_prefix_takes_no_more_memory_than_is_counted() -> None:
    prefixes = Prefixes(100 * ROOM)
    ids = np.random.default_rng(0).integers(1, 60, (2000, 100))
    tracemalloc.start()
    try:
        for one in ids:
            prefixes.keep(one, START, *state_of(one))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.8 * prefixes.used < taken <= prefixes.used


def test_lanes_use_one_cache_at_once() -> None:
    prefixes = Prefixes(20 * OVERHEAD)
    trouble: list[BaseException] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        try:
            for _ in range(300):
                text = "".join(random.choice(["a", "b"], random.integers(2, 40)))
                if (known := found(prefixes, text)) == text[:-1]:
                    continue
                keep(prefixes, text[:-1], prefixes.find(ids_of(text)) if known else START)
        except BaseException as error:
            trouble.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not trouble
    assert prefixes.used == sum(prefix.size for prefix in prefixes._prefixes.values()) <= prefixes.size
