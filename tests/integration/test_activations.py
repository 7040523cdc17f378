"""Activations through a server: those of the probe, and the same however a text is asked for."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from numpy.typing import NDArray

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import AsyncClient, Delta, GenerationOptions
from nextchar_model.alphabet import BOUNDARY, Kind
from nextchar_model.batch import SamplingSettings
from nextchar_model.probe import Probe
from nextchar_model.runner import Runner
from tests.support.command import Run
from tests.support.korean_model import KINDS, KOREAN, make_korean_model
from tests.support.serving import Serve, Serving, details, failure
from tests.support.tiny_model import TinyModel

UNITS = [7, 0, 30]
WANTED = pb.ActivationRequest(layer=0, units=UNITS)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], Path]:
    return cache(lambda kind: make_korean_model(kind, tmp_path_factory.mktemp("korean"), endless=True))


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8) as serving:
        yield serving


def probed(model: Path, text: str, layer: int = 0) -> NDArray[np.float32]:
    """Returns the values after the last id of each character of ``text``, [characters, units x quantities]."""
    runner = Runner(model)
    spelling = runner.description.alphabet.spell(text)
    probe, batch = Probe(runner, layer, UNITS), runner.start([SamplingSettings()])
    probe.feed(batch, np.array([BOUNDARY]))
    values = probe.read(batch, spelling.ids)
    return values[np.cumsum(spelling.lengths) - 1].reshape(len(text), -1)


def columns(activations: pb.Activations) -> NDArray[np.float32]:
    """Returns the values of a message, [characters, units x quantities]."""
    return np.array(activations.values, np.float32).reshape(-1, len(activations.units) * len(activations.quantities))


async def traced(serving: Serving, start: str | bytes = "", **parameters: Any) -> tuple[str, NDArray[np.float32], Any]:
    """Returns a streamed text, its values, and its last event."""
    place: dict[str, Any] = {"prompt": start} if isinstance(start, str) else {"resume_token": start}
    parameters = {"include_activations": WANTED, **parameters}
    request = pb.GenerateStreamRequest(parameters=pb.GenerationParameters(**parameters), **place)
    events = [event async for event in serving.stub.GenerateStream(request)]
    deltas = [event.delta for event in events if event.HasField("delta")]
    for delta in deltas:
        assert len(columns(delta.activations)) == len(delta.text)
    text = "".join(delta.text for delta in deltas)
    return text, np.concatenate([columns(delta.activations) for delta in deltas]), events[-1].finished


@pytest.mark.parametrize("layer", [0, 1])
async def test_a_score_has_the_values_of_the_probe(tiny: TinyModel, serving: Serving, layer: int) -> None:
    text = tiny.text[:150]
    wanted = pb.ActivationRequest(layer=layer, units=UNITS)
    score = await serving.stub.Score(pb.ScoreRequest(text=text, include_activations=wanted))
    assert (score.activations.layer, list(score.activations.units)) == (layer, UNITS)
    assert list(score.activations.quantities) == ["input", "forget", "output", "candidate", "cell", "hidden"]
    assert np.array_equal(columns(score.activations), probed(tiny.int8, text, layer))
    score.ClearField("activations")
    score.request_id = ""
    plain = await serving.stub.Score(pb.ScoreRequest(text=text))
    plain.request_id = ""
    assert score == plain


@pytest.mark.parametrize("kind", KINDS)
async def test_a_text_has_the_values_of_its_score_in_each_alphabet(
    models: Callable[[Kind], Path], serve: Serve, kind: Kind
) -> None:
    async with serve(models(kind)) as serving:
        plain = await serving.text("서울값", max_characters=60, seed=5, echo=True)
        text, values, _ = await traced(serving, "서울값", max_characters=60, seed=5, echo=True)
        assert text == plain
        assert text.startswith("서울값")
        if kind != "bytes":  # its decoder may write what no spelling has
            assert np.array_equal(values, probed(models(kind), text))
        whole = await serving.stub.Generate(
            pb.GenerateRequest(
                prompt="서울값",
                parameters=pb.GenerationParameters(max_characters=60, seed=5, include_activations=WANTED),
            )
        )
        assert whole.text == text[3:]
        assert np.array_equal(columns(whole.activations), values[3:])


async def test_a_score_in_bytes_has_the_values_after_the_last_byte(
    models: Callable[[Kind], Path], serve: Serve
) -> None:
    async with serve(models("bytes")) as serving:
        score = await serving.stub.Score(pb.ScoreRequest(text=KOREAN[:30], include_activations=WANTED))
    assert np.array_equal(columns(score.activations), probed(models("bytes"), score.text))


async def test_a_continued_text_has_the_values_of_the_undisturbed_one(serving: Serving) -> None:
    _, whole, _ = await traced(serving, "the ", max_characters=120, seed=3)
    _, first, finished = await traced(serving, "the ", max_characters=50, seed=3)
    _, rest, _ = await traced(serving, finished.resume_token, max_characters=70)
    assert np.array_equal(np.concatenate([first, rest]), whole)


async def test_text_that_is_held_back_for_a_stop_sequence_keeps_its_values(tiny: TinyModel, serving: Serving) -> None:
    text, whole, _ = await traced(serving, "the ", max_characters=100, seed=3)
    stop = text[40:46]
    end = text.index(stop)
    _, values, finished = await traced(serving, "the ", max_characters=100, seed=3, stop_sequences=[stop])
    assert finished.finish_reason == pb.FINISH_REASON_STOP_SEQUENCE
    assert np.array_equal(values, whole[:end])


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (pb.ActivationRequest(layer=2, units=[0]), ".layer"),
        (pb.ActivationRequest(units=[]), ".units"),
        (pb.ActivationRequest(units=[48]), ".units"),
        (pb.ActivationRequest(units=[1, 1]), ".units"),
        (pb.ActivationRequest(units=range(65)), ".units"),
    ],
)
async def test_invalid_units_are_refused_with_the_name_of_their_field(
    serving: Serving, wanted: pb.ActivationRequest, field: str
) -> None:
    score = serving.stub.Score(pb.ScoreRequest(text="a", include_activations=wanted))
    for call, prefix in ((score, ""), (serving.stream(include_activations=wanted), "parameters.")):
        (violation,) = details(await failure(call), error_details_pb2.BadRequest).field_violations
        assert violation.field == f"{prefix}include_activations{field}"


@pytest.mark.parametrize(("units", "characters"), [(1, 1001), (48, 900)])
async def test_a_text_with_more_values_than_an_answer_holds_is_refused(
    serving: Serving, units: int, characters: int
) -> None:
    wanted = pb.ActivationRequest(units=range(units))
    for call in (
        serving.stub.Score(pb.ScoreRequest(text="a" * characters, include_activations=wanted)),
        serving.stream("a" * 100, max_characters=characters - 100, include_activations=wanted),
    ):
        error = await failure(call)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "include_activations: " in str(error.details())


async def test_several_texts_of_one_call_have_no_activations(serving: Serving) -> None:
    request = pb.GenerateRequest(parameters=pb.GenerationParameters(include_activations=WANTED), samples=2)
    assert "samples" in str((await failure(serving.stub.Generate(request))).details())


async def test_a_model_file_that_was_replaced_is_a_precondition_that_fails(
    tiny: TinyModel, serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny.int8.read_bytes())
    async with serve(path) as serving:
        path.unlink()
        error = await failure(serving.stub.Score(pb.ScoreRequest(text="a", include_activations=WANTED)))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert await serving.text(max_characters=5)


@pytest.fixture
async def client(serving: Serving) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(f"127.0.0.1:{serving.grpc_port}") as client:
        yield client


async def test_the_client_returns_the_columns_of_a_score(tiny: TinyModel, client: AsyncClient) -> None:
    text = tiny.text[:40]
    score = await client.score(text, include_activations=(0, UNITS))
    assert score.activations is not None
    expected = probed(tiny.int8, text).reshape(40, 3, -1)
    assert score.activations.column(30, "cell") == tuple(expected[:, 2, 4].tolist())


async def test_the_client_returns_the_same_activations_whole_and_streamed(client: AsyncClient) -> None:
    options: GenerationOptions = {"seed": 3, "max_characters": 90, "include_activations": (1, UNITS)}
    whole = await client.generate("the ", **options)
    deltas = [event async for event in client.stream("the ", **options) if isinstance(event, Delta)]
    assert whole.activations is not None
    assert whole.activations.values == tuple(
        values for delta in deltas if delta.activations for values in delta.activations.values
    )
    assert len(whole.activations.values) == 90


async def test_the_command_prints_activations_in_its_json(serving: Serving, client: AsyncClient, run: Run) -> None:
    endpoint = f"127.0.0.1:{serving.grpc_port}"
    code, output, _ = await asyncio.to_thread(
        run, "score", "the moon", "--json", "--activations", "1:7,0,30", "--endpoint", endpoint
    )
    score = await client.score("the moon", include_activations=(1, UNITS))
    assert score.activations is not None
    assert code == 0
    (printed,) = [line for line in output.splitlines() if line.startswith("{")]  # among the server's log
    assert json.loads(printed)["activations"] == json.loads(json.dumps(asdict(score.activations)))


async def test_a_drained_text_continues_with_its_values(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, turn_budget=1e-6) as serving:
        _, whole, _ = await traced(serving, "the ", max_characters=400, seed=3)
        parts, finished = [], pb.Finished()
        async for event in serving.stream("the ", max_characters=400, seed=3, include_activations=WANTED):
            if event.HasField("delta"):
                parts.append(columns(event.delta.activations))
                serving.engine.drain()
            finished = event.finished
        if finished.finish_reason == pb.FINISH_REASON_DRAINING:  # otherwise the lane was done before
            left = 400 - sum(map(len, parts))
            parts.append((await traced(serving, finished.resume_token, max_characters=left))[1])
        assert np.array_equal(np.concatenate(parts), whole)
