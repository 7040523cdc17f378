"""Messages: what they hold, in how many steps they are made, and what they cost."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet
from nextchar_server.engine.stream import IdChunk
from nextchar_server.pacing import Steps
from nextchar_server.rpc.responses import StreamedText, WholeText, score
from nextchar_server.text.logprobs import Collected, Logprobs
from nextchar_server.text.text import Characters, TextChunk

MODEL: Any = SimpleNamespace(name="tiny", digest="00ff")
ALPHABET = Alphabet.of("".join(map(chr, range(97, 123))))


def columns(characters: int, alternatives: int) -> Logprobs:
    """Returns columns of ``characters`` characters in which every value is another one."""
    shape = characters, alternatives
    places = np.arange(characters * alternatives).reshape(shape)
    return Logprobs(
        -np.arange(characters, dtype=np.float32), (97 + places % 26).astype(np.uint32), -places.astype(np.float32)
    )


def made(steps: Steps[Any]) -> tuple[Any, int]:
    """Returns what ``steps`` make, and in how many steps."""
    count = 1
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, count
        count += 1


def whole(characters: int) -> WholeText:
    return WholeText(SimpleNamespace(most_characters=characters))  # type: ignore[arg-type]


def scored(characters: int, alternatives: int) -> tuple[pb.ScoreResponse, int]:
    logprobs = Collected(characters)
    logprobs.add(columns(characters, alternatives))
    return made(score("request-1", MODEL, "x" * characters, logprobs, -1.5))


# Sizes at which the length of a packed field takes another byte.
@pytest.mark.parametrize("characters", [1, 31, 32, 4095, 4096, 65_536])
@pytest.mark.parametrize("alternatives", [0, 1, 3])
def test_columns_arrive_as_they_are(characters: int, alternatives: int) -> None:
    expected = columns(characters, alternatives)
    message = pb.ScoreResponse.FromString(scored(characters, alternatives)[0].SerializeToString()).character_logprobs
    assert list(message.logprobs) == expected.own.tolist()
    assert message.alternatives_per_character == alternatives
    assert list(map(ord, message.alternatives)) == expected.alternatives.ravel().tolist()
    assert list(message.alternative_logprobs) == expected.alternative_logprobs.ravel().tolist()


def test_a_text_without_log_probabilities_has_no_columns() -> None:
    text = whole(9)
    text.add(TextChunk("abc"))
    message, steps = made(text.response())
    assert (message.text, message.HasField("character_logprobs"), steps) == ("abc", False, 1)


@pytest.mark.parametrize(("characters", "alternatives", "steps"), [(100, 20, 1), (65_536, 0, 4), (11_900, 20, 4)])
def test_a_large_answer_is_made_in_steps_and_a_small_one_at_once(
    characters: int, alternatives: int, steps: int
) -> None:
    assert scored(characters, alternatives)[1] == steps
    text = whole(characters)
    text.add(TextChunk("x" * characters, columns(characters, alternatives)))
    assert made(text.response())[1] == steps


def test_parts_of_a_whole_text_are_joined_in_order() -> None:
    text, given = whole(100), columns(50, 2)
    for start in range(0, 50, 7):
        part = slice(start, start + 7)
        text.add(TextChunk("abcdefghij" * 5, given)[part])
    message, _ = made(text.response())
    assert message.text == "abcdefghij" * 5
    assert list(message.character_logprobs.logprobs) == given.own.tolist()
    assert list(message.character_logprobs.alternative_logprobs) == given.alternative_logprobs.ravel().tolist()


async def test_a_message_has_no_python_object_per_alternative() -> None:
    sent: list[bytes] = []

    async def write(message: pb.GenerateStreamResponse) -> None:
        sent.append(message.SerializeToString())

    count = 5000
    ids = np.arange(count, dtype=np.int32) % 26 + 1
    shape = count, 20
    chunk = IdChunk(ids, -ids.astype(np.float32), np.ones(shape, np.int32), np.zeros(shape, np.float32))
    characters, out = Characters(ALPHABET), StreamedText(write)
    before = sys.getallocatedblocks()
    text = characters.feed(chunk)
    out.add(text)
    assert sys.getallocatedblocks() < before + 200
    await out.flush()
    assert len(pb.GenerateStreamResponse.FromString(sent[0]).delta.character_logprobs.alternatives) == 20 * count


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the resident memory from /proc")
def test_a_whole_text_takes_memory_in_proportion_to_its_length() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before, count = resident(), 20_000
    text = whole(10 * count)
    for _ in range(count):  # a message that grows by each would take the sum of all its lengths, 2 GB
        text.add(TextChunk("0123456789"))
        assert resident() < before + 50 * 2**20
    assert made(text.response())[0].text == "0123456789" * count
