"""Resume tokens: the content of their bytes, and the bytes that are refused."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import grpc
import numpy as np
import pytest

from nextchar_model.alphabet import Alphabet
from nextchar_model.cell import Precision
from nextchar_model.runner import Replay
from nextchar_server.catalog import ServedModel
from nextchar_server.engine.snapshot import Snapshot
from nextchar_server.rpc import tokens
from nextchar_server.rpc.errors import InvalidArgumentError, OtherModelError
from nextchar_server.rpc.tokens import Standing, Tokens, most_tail

OLD, NEW = b"k" * 32, b"n" * 32


def model(*, symbols: int = 60, precision: Precision = "int8", digest: str = "ab" * 32, bits: str = "1") -> ServedModel:
    """Returns a model of 2 layers with 3 units."""
    alphabet = Alphabet(tuple(map(chr, range(0x4E00, 0x4E00 + symbols))))
    description = SimpleNamespace(alphabet=alphabet, layers=2, hidden_size=3, precision=precision)
    runner = SimpleNamespace(description=description, digest=digest)
    replay = Replay(True, f"{precision}-cpu-{bits * 8}")
    nothing = cast("Any", None)
    return ServedModel("verse", cast("Any", runner), replay, nothing, nothing, nothing, loaded_at=0.0)


def standing(*, tail: int = 5, precision: Precision = "int8") -> Standing:
    """Returns where some text stands, with a state of arbitrary bits."""
    hidden = np.arange(6, dtype=np.uint8 if precision == "int8" else np.float32).reshape(2, 3)
    snapshot = Snapshot(0, 7, 1, hidden, np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3))
    return Standing(snapshot, 1 + np.arange(tail) % 60, 1, 2**64 - 1, 12345, 2)


def content(one: Standing) -> tuple[Any, ...]:
    """Returns the content of ``one``, to compare."""
    snapshot = one.snapshot
    state = snapshot.last_id, snapshot.automaton_state, snapshot.hidden.tolist(), snapshot.cell.tolist()
    return one.tail.tolist(), one.ahead, one.seed, one.position, one.skip, state


def refusal(token: bytes, served: ServedModel, *keys: bytes) -> str:
    """Returns the message with which ``token`` is refused as damaged or forged."""
    with pytest.raises(InvalidArgumentError) as caught:
        Tokens(keys or (OLD,)).read(token, served)
    assert caught.value.field == "resume_token"
    return caught.value.message


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("tail", [0, 1, 5, 60])
def test_a_token_holds_where_a_text_stands(precision: Precision, tail: int) -> None:
    served, here = model(precision=precision), standing(tail=tail, precision=precision)
    token = Tokens((OLD,)).make(here, served)
    assert content(Tokens((OLD,)).read(token, served)) == content(here)


@pytest.mark.parametrize("symbols", [1, 2, 60, 256, 5000, 20_000])
def test_the_longest_tail_fits_into_200_bytes(symbols: int) -> None:
    served = model(symbols=symbols)
    here = replace(standing(), tail=np.full(most_tail(served), symbols, np.int64))
    token = Tokens((OLD,)).make(here, served)
    assert len(token) <= tokens.MOST_BYTES + here.snapshot.hidden.nbytes + here.snapshot.cell.nbytes
    assert content(Tokens((OLD,)).read(token, served)) == content(here)


def test_no_bit_of_a_token_can_be_flipped() -> None:
    served = model()
    token = Tokens((OLD,)).make(standing(), served)
    for place in range(8 * len(token)):
        flipped = bytearray(token)
        flipped[place // 8] ^= 1 << place % 8
        assert "is damaged, or signed with a key that this server doesn't have" in refusal(bytes(flipped), served)


def test_no_token_can_be_cut_or_extended() -> None:
    served = model()
    token = Tokens((OLD,)).make(standing(), served)
    for changed in (
        b"",
        b"\0",
        token + b"\0",
        b"\0" + token,
        2 * token,
        bytes(2**20 + 1),
        *map(token.__getitem__, map(slice, range(len(token)))),
    ):
        assert "is damaged" in refusal(changed, served)


def test_a_token_of_another_key_is_refused() -> None:
    served = model()
    assert "signed with a key that this server doesn't have" in refusal(Tokens((NEW,)).make(standing(), served), served)


def test_the_first_key_signs_and_all_are_accepted() -> None:
    served, here = model(), standing()
    both = Tokens((NEW, OLD))
    assert both.make(here, served) == Tokens((NEW,)).make(here, served)
    for tokens_of_one in (Tokens((NEW,)), Tokens((OLD,))):
        assert content(both.read(tokens_of_one.make(here, served), served)) == content(here)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (model(digest="cd" * 32), f"resume_token: is of the model file {'cd' * 32}; verse is {'ab' * 32}"),
        (
            model(bits="2"),
            "resume_token: is of the numeric class int8-cpu-22222222; verse has int8-cpu-11111111 here",
        ),
    ],
    ids=["model", "numeric class"],
)
def test_a_token_of_another_model_or_numeric_class_is_refused(other: ServedModel, message: str) -> None:
    with pytest.raises(OtherModelError) as caught:
        Tokens((OLD,)).read(Tokens((OLD,)).make(standing(), other), model())
    assert (caught.value.code, caught.value.message) == (grpc.StatusCode.FAILED_PRECONDITION, message)


def test_a_token_of_another_version_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "VERSION", 3)
    later = Tokens((OLD,)).make(standing(), model())
    monkeypatch.undo()
    with pytest.raises(OtherModelError, match="is of version 3, made by another release; this one reads version 2"):
        Tokens((OLD,)).read(later, model())
