"""Heavy work of a real server: which of it is paced, and how large a message becomes."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_server.engine.lane import MAX_STEPS
from nextchar_server.engine.stream import OUTBOX_BYTES
from nextchar_server.pacing import Pacer
from nextchar_server.rpc import responses
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until

ENDLESS = 2**31
STOPS = ["e" * 200 + "h" * number for number in range(10)]


class CountingPacer(Pacer):
    """Counts its pieces."""

    pieces = 0

    def piece(self, **options: Any) -> Any:
        self.pieces += 1
        return super().piece(**options)


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8) as serving:
        yield serving


@pytest.fixture
def pacer(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> CountingPacer:
    """Counts the pieces of the service."""
    pacer = CountingPacer()
    monkeypatch.setattr(serving.service, "_pacer", pacer)
    return pacer


@pytest.mark.parametrize("parameters", [{}, {"stop_sequences": ["\n\n"]}, {"echo": True}])
async def test_an_ordinary_stream_is_not_paced(
    serving: Serving, pacer: CountingPacer, parameters: dict[str, Any]
) -> None:
    await serving.text("the", seed=1, max_characters=300, **parameters)
    await serving.stub.Generate(
        pb.GenerateRequest(parameters=pb.GenerationParameters(max_characters=300, **parameters))
    )
    assert pacer.pieces == 0


async def test_a_short_score_is_not_paced(serving: Serving, pacer: CountingPacer) -> None:
    await serving.stub.Score(pb.ScoreRequest(text="the"))
    assert pacer.pieces == 0


@pytest.mark.parametrize("parameters", [{"top_logprobs": 20}, {"top_logprobs": 0}, {"stop_sequences": STOPS}])
async def test_every_message_of_a_heavy_stream_is_a_piece(
    serving: Serving, pacer: CountingPacer, parameters: dict[str, Any]
) -> None:
    events = [event async for event in serving.stream("the", seed=1, max_characters=300, **parameters)]
    assert pacer.pieces >= len([event for event in events if event.HasField("delta")]) > 0


async def test_a_message_with_alternatives_is_bounded_however_late_it_is_read(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_characters=ENDLESS) as serving:
        call = serving.stream("the", max_characters=ENDLESS, top_logprobs=20)
        events = aiter(call)
        await anext(events)
        await until(lambda: serving.engine.admission.paused == 1)  # gRPC's windows and the outbox are full
        lengths = [len((await anext(events)).delta.text) for _ in range(20)]
        call.cancel()
    assert 0 < max(lengths) <= max(OUTBOX_BYTES // 168, MAX_STEPS)


async def test_a_model_is_described_once_and_not_at_each_call(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(responses, "model")
    one = await serving.stub.GetModel(pb.GetModelRequest())
    every = await serving.stub.ListModels(pb.ListModelsRequest())
    assert [one.model] == list(every.models)
    assert one.model.is_default
