"""Requests and resume tokens with flipped bits, a small part of those of ``make faults``."""

from collections import Counter

import pytest

from benchmarks.fuzzer import KINDS, fuzz
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel

MESSAGES = 300


def statuses(serving: Serving) -> Counter[str]:
    """How many calls of the generation service ended with each status; whole once the server has stopped."""
    counted: Counter[str] = Counter()
    for family in serving.server._metrics.registry.collect():
        for sample in family.samples:
            if sample.name == "grpc_server_handled_total" and "nextchar" in sample.labels["grpc_service"]:
                counted[sample.labels["grpc_code"]] += int(sample.value)
    return +counted  # without zeros


@pytest.mark.parametrize("kind", KINDS)
async def test_flipped_bits_are_never_a_bug(kind: str, serve: Serve, tiny: TinyModel) -> None:
    async with serve(tiny.int8, max_characters=500) as serving:
        assert await fuzz(kind, MESSAGES, 13, serving.grpc_port) == 0
        assert await serving.text(max_characters=10)
    ended = statuses(serving)
    assert ended.total() == MESSAGES + 2
    assert ended["INTERNAL"] == ended["UNKNOWN"] == 0


async def test_no_token_with_flipped_bits_is_accepted(serve: Serve, tiny: TinyModel) -> None:
    async with serve(tiny.int8) as serving:
        await fuzz("tokens", MESSAGES, 7, serving.grpc_port)
    assert statuses(serving) == {"OK": 1, "INVALID_ARGUMENT": MESSAGES}
