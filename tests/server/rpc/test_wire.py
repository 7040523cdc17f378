"""The fields of a message are counted before it is parsed."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextchar.v1 import generation_pb2 as pb
from nextchar_server.rpc import wire
from nextchar_server.rpc.errors import InvalidArgumentError, MalformedMessageError

KIND: Any = pb.GenerateRequest.DESCRIPTOR
MANY = 100_000


def check(data: bytes, most: int, **most_listed: int) -> None:
    """Counts the fields of ``data``, a request to generate."""
    listed = {f"nextchar.v1.GenerationParameters.{name}": most for name, most in most_listed.items()}
    for _ in wire.check_fields(data, KIND, most, listed):
        pass


def message(number: int, content: bytes) -> bytes:
    """Returns a field of bytes."""
    length, rest = b"", len(content)
    while rest > 127:
        length, rest = length + bytes([rest & 127 | 128]), rest >> 7
    return bytes([number << 3 | 2]) + length + bytes([rest]) + content


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (message(4, message(7, b"") * MANY), "parameters.stop_sequences"),
        (message(4, message(11, b"") * MANY), "parameters.character_bias"),
        (message(4, message(11, message(1, b"") * MANY)), "parameters.character_bias.key"),
        (message(4, b"\x18\x00" * MANY), "parameters.top_k"),
        (message(4, b"") * MANY, "parameters"),
        (message(1, b"") * MANY, "model"),
        (b"\x78\x01" * MANY, "field 15"),
        (b"\x7b" * MANY, "field 15"),
        (message(4, b"\xa0\x06\x01" * MANY), "parameters.field 100"),
    ],
    ids=["stop", "bias", "key", "number", "parameters", "model", "unknown", "groups", "unknown parameters"],
)
def test_too_many_fields_are_refused_after_as_many_as_are_allowed(
    data: bytes, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    look: Callable[[bytes, int], tuple[int, int]] = wire._varint

    def counted(data: bytes, place: int) -> tuple[int, int]:
        nonlocal looks
        looks += 1
        return look(data, place)

    monkeypatch.setattr(wire, "_varint", counted)
    with pytest.raises(InvalidArgumentError) as caught:
        check(data, 50)
    assert caught.value.field == field
    assert looks <= 2 * 51


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 11, b"\x0a", b"\x0a\x05ab", b"\x0f", b"\x22\x02\x0a\x05", b"\x0d\x01", b"\x20"],
    ids=["endless number", "no length", "too short", "unknown type", "too short inside", "fixed", "no number"],
)
def test_fields_that_cannot_be_told_apart_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        check(data, 50)


@given(
    st.builds(
        pb.GenerateRequest,
        prompt=st.text(max_size=50),
        parameters=st.builds(
            pb.GenerationParameters,
            top_k=st.integers(0, 2**32 - 1),
            seed=st.integers(0, 2**64 - 1),
            temperature=st.floats(width=32),
            stop_sequences=st.lists(st.text(), max_size=5),
            character_bias=st.dictionaries(st.text(max_size=3), st.floats(width=32), max_size=5),
        ),
    )
)
def test_a_request_has_the_fields_that_it_was_given(request: Any) -> None:
    parameters = request.parameters
    fields = 2 + 3 + len(parameters.stop_sequences) + 3 * len(parameters.character_bias)
    data = request.SerializeToString()
    check(data, fields)
    with pytest.raises(InvalidArgumentError):
        check(data, fields - 1)


@pytest.mark.parametrize("size", [0, 5, 127, 128, 300])
def test_the_texts_of_a_long_list_are_counted_apart(size: int) -> None:
    request = pb.GenerateRequest(prompt="a", parameters=pb.GenerationParameters(choices=["a" * size] * 9000, top_k=1))
    data = request.SerializeToString()
    check(data, 3, choices=9000)
    with pytest.raises(InvalidArgumentError, match=r"parameters.choices: more than 8999"):
        check(data, 3, choices=8999)
    with pytest.raises(InvalidArgumentError, match=r"more than 2 fields"):
        check(data, 2, choices=9000)


def test_a_long_list_is_counted_in_steps() -> None:
    data = pb.GenerateRequest(parameters=pb.GenerationParameters(choices=["a"] * 50_000)).SerializeToString()
    steps = wire.check_fields(data, KIND, 9, {"nextchar.v1.GenerationParameters.choices": 50_000})
    assert len(list(steps)) >= 10
