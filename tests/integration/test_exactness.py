"""Trained weights, through a real server: the bytes of a text whatever else its server does."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.cell import Precision
from nextchar_model.decoder import decode
from nextchar_model.runner import Runner
from nextchar_server.engine import admission as admission_module
from nextchar_server.engine import stream as stream_module
from nextchar_server.engine.admission import Admission
from nextchar_server.engine.portions import LONG
from nextchar_server.engine.stream import Stream
from tests.support.restless import RestlessLoads
from tests.support.serving import Serve, Serving
from tests.support.trained_model import trained_model

PROMPT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n\nFirst Citizen:\n"
SEEDS = range(4)
COUNT = 120


@pytest.fixture(scope="module", params=["int8", "fp32"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained weights in either precision."""
    precision: Precision = request.param
    return trained_model(precision, tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def expected(trained: Path) -> list[str]:
    """The texts of the runner alone."""
    runner = Runner(trained)
    read = len(runner.description.alphabet.encode(PROMPT))
    return [
        decode(runner.description.alphabet, runner.generate(PROMPT, seed, COUNT).ids[read:, 0].tolist())
        for seed in SEEDS
    ]


async def texts(serving: Serving, **parameters: Any) -> list[str]:
    return await asyncio.gather(
        *(serving.text(PROMPT, seed=seed, max_characters=COUNT, **parameters) for seed in SEEDS)
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"lanes": 1, "turn_budget": 1.0},
        {"lanes": 2, "max_batch": 1, "turn_budget": 1e-6},
        {"lanes": 1, "threads_per_lane": 2, "prefix_cache": 0},
    ],
    ids=["one batch", "rows apart", "two threads"],
)
async def test_a_trained_model_streams_the_texts_of_its_runner(
    serve: Serve, trained: Path, expected: list[str], settings: dict[str, Any]
) -> None:
    async with serve(trained, **settings) as serving:
        for _ in range(2):  # with a prefix cache, the second time its prompt is known
            assert await texts(serving) == expected


async def test_texts_do_not_change_if_their_rows_leave_the_batch_again_and_again(
    serve: Serve, trained: Path, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[Stream] = []
    pause = Admission.pause

    def counted(self: Admission, streams: list[Stream]) -> None:
        paused.extend(streams)
        pause(self, streams)

    monkeypatch.setattr(Admission, "pause", counted)
    monkeypatch.setattr(stream_module, "OUTBOX_IDS", 4)  # less than a turn
    async with serve(trained, turn_budget=1e-6) as serving:
        assert await texts(serving) == expected
    assert len(paused) > len(SEEDS)


async def test_texts_do_not_change_if_their_rows_move_between_lanes_all_the_time(
    serve: Serve, trained: Path, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[Stream] = []
    hand_over = Admission.hand_over

    def counted(self: Admission, lane: int, load: int, streams: list[Stream]) -> None:
        moved.extend(streams)
        hand_over(self, lane, load, streams)

    monkeypatch.setattr(Admission, "hand_over", counted)
    monkeypatch.setattr(admission_module, "Loads", RestlessLoads)
    async with serve(trained, lanes=2, turn_budget=1e-6) as serving:
        assert [*await asyncio.gather(texts(serving), texts(serving, top_logprobs=2))] == [expected] * 2
    assert len(moved) > 2 * len(SEEDS)


async def test_texts_after_long_prompts_do_not_depend_on_portions_that_move_between_lanes(
    serve: Serve, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission_module, "Loads", RestlessLoads)
    runner, prompt = Runner(trained), PROMPT * 5
    alphabet = runner.description.alphabet
    read = len(alphabet.encode(prompt))
    assert read > LONG
    async with serve(trained, lanes=2, turn_budget=1e-6, prefix_cache=0) as serving:
        given = await asyncio.gather(
            *(serving.text(prompt, seed=seed, max_characters=COUNT) for seed in SEEDS),
            *(serving.text(prompt, seed=seed, max_characters=COUNT, echo=True) for seed in SEEDS),
        )
    written = [decode(alphabet, runner.generate(prompt, seed, COUNT).ids[read:, 0].tolist()) for seed in SEEDS]
    assert given == [*written, *(prompt + text for text in written)]


async def test_a_stream_tells_the_digest_and_the_numeric_class_that_its_text_depends_on(
    serve: Serve, trained: Path
) -> None:
    async with serve(trained) as serving:
        events = [event async for event in serving.stream(PROMPT, max_characters=1)]
        model = (await serving.stub.GetModel(pb.GetModelRequest())).model
    started, runner = events[0].started, Runner(trained)
    assert (started.model_digest, started.numeric_class) == (runner.digest, runner.replay().numeric_class)
    assert (model.digest, model.numeric_class) == (started.model_digest, started.numeric_class)
