"""Several texts of one call, through a real server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_model.draws import sample_seed
from tests.support.known_callers import TOKEN, Open, shown, value
from tests.support.serving import Serve, Serving, details, failure
from tests.support.tiny_model import TinyModel, make_text
from tests.support.waiting import until

SEED = 2**64 - 5


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8) as serving:
        yield serving


def request(prompt: str = "", *, samples: dict[str, Any], **parameters: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt=prompt, parameters=pb.GenerationParameters(**parameters), **samples)


async def alone(serving: Serving, sample: pb.Sample, prompt: str, parameters: dict[str, Any]) -> pb.Sample:
    """The sample as a call for one text with its seed returns it."""
    one = await serving.stub.Generate(request(prompt, samples={}, **{**parameters, "seed": sample.seed}))
    one.finished.resume_token = b""
    return pb.Sample(
        index=sample.index,
        seed=one.started.seed,
        text=one.text,
        finished=one.finished,
        character_logprobs=one.character_logprobs if one.HasField("character_logprobs") else None,
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"temperature": 0.7, "top_k": 9, "top_p": 0.9, "min_p": 0.01, "character_bias": {"e": 2.0}},
        {"stop_sequences": ["e", "th"], "include_stop_sequence": True},
        {"top_logprobs": 3, "echo": True},
        {"echo": True, "stop_sequences": ["o"]},
        {"regex": "[a-z]{2,9}( [a-z]+)?"},
        {"choices": ["yes, ", "no.", "night"], "top_logprobs": 0},
        {"min_characters": 30, "ignore_end_of_document": False},
    ],
)
@pytest.mark.parametrize("prompt", ["", "the sun; the moon, the stars, the light!"])
async def test_a_sample_is_the_text_of_a_call_with_its_seed(
    serving: Serving, prompt: str, parameters: dict[str, Any]
) -> None:
    parameters = {"max_characters": 40, "seed": SEED, **parameters}
    wanted = {"samples": 5, "first_sample": 3}
    answer = await serving.stub.Generate(request(prompt, samples=wanted, **parameters))
    assert [sample.index for sample in answer.samples] == [3, 4, 5, 6, 7]
    assert [sample.seed for sample in answer.samples] == [sample_seed(SEED, index) for index in range(3, 8)]
    assert answer.started.seed == SEED
    assert not answer.text
    for sample in answer.samples:
        assert sample == await alone(serving, sample, prompt, parameters)


async def test_the_first_sample_continues_a_token_as_a_call_for_one_text_does(serving: Serving) -> None:
    begun = await serving.stub.Generate(request("the", samples={}, max_characters=20, seed=SEED))
    parameters = pb.GenerationParameters(max_characters=30)
    start = {"resume_token": begun.finished.resume_token, "parameters": parameters}
    one = await serving.stub.Generate(pb.GenerateRequest(**start))
    several = await serving.stub.Generate(pb.GenerateRequest(**start, samples=3))
    assert several.samples[0].text == one.text
    assert len({sample.text for sample in several.samples}) == 3


async def test_the_best_of_several_have_the_highest_mean_log_probability(serving: Serving) -> None:
    parameters = {"max_characters": 12, "seed": SEED, "temperature": 1.5}
    every = await serving.stub.Generate(request("the", samples={"samples": 9}, top_logprobs=0, **parameters))
    best = await serving.stub.Generate(request("the", samples={"best_of": 9, "samples": 2}, **parameters))
    totals = {sample.index: sum(sample.character_logprobs.logprobs) for sample in every.samples}
    ranked = sorted(totals, key=lambda index: -totals[index])
    assert [sample.index for sample in best.samples] == ranked[:2]
    assert [sample.total_logprob for sample in best.samples] == pytest.approx([totals[index] for index in ranked[:2]])
    assert not any(sample.HasField("character_logprobs") for sample in best.samples)


@pytest.mark.parametrize(
    ("samples", "field"),
    [
        ({"samples": 0}, "samples"),
        ({"samples": 65}, "samples"),
        ({"samples": 3, "best_of": 2}, "best_of"),
        ({"best_of": 65}, "best_of"),
        ({"first_sample": 1}, "first_sample"),
        ({"samples": 2, "first_sample": 2**64 - 1}, "first_sample"),
    ],
)
async def test_a_wrong_number_of_samples_is_refused_by_name(
    serving: Serving, samples: dict[str, int], field: str
) -> None:
    error = await failure(serving.stub.Generate(request(samples=samples)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(error, error_details_pb2.BadRequest).field_violations[0].field == field


async def test_samples_with_too_many_characters_together_are_refused(serving: Serving) -> None:
    error = await failure(serving.stub.Generate(request(samples={"samples": 64}, max_characters=2000)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "more than 100000 characters" in str(error.details())


async def test_activations_of_samples_are_refused(serving: Serving) -> None:
    wanted = pb.ActivationRequest(layer=0, units=[1])
    error = await failure(serving.stub.Generate(request(samples={"samples": 2}, include_activations=wanted)))
    assert details(error, error_details_pb2.BadRequest).field_violations[0].field == "parameters.include_activations"


async def test_a_prompt_is_charged_once_for_all_samples(opened: Open) -> None:
    async with opened() as serving:
        call = request("the sun", samples={"samples": 5}, max_characters=10)
        await serving.stub.Generate(call, metadata=shown(TOKEN))
        assert value(serving, "nextchar_caller_characters_total", caller="ann") == 7 + 5 * 10
        assert value(serving, "nextchar_prompt_characters_total", model="int8") == 7


async def test_samples_above_their_callers_rate_take_their_time(opened: Open) -> None:
    async with opened(caller_rate=200) as serving:
        answer = await serving.stub.Generate(request(samples={"samples": 6}, max_characters=60), metadata=shown(TOKEN))
        assert [len(sample.text) for sample in answer.samples] == [60] * 6


async def test_samples_take_places_as_they_become_free(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=2, queue_size=1) as serving:
        answer = await serving.stub.Generate(request("the", samples={"samples": 20}, max_characters=30, seed=SEED))
        assert len({sample.text for sample in answer.samples}) == 20
        assert serving.engine.admission.held == 0


async def test_samples_leave_a_place_to_others_and_end_nevertheless(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=2, queue_size=2) as serving:
        several = serving.stub.Generate(request(samples={"samples": 8}, max_characters=4000))
        await until(lambda: serving.engine.admission.held == 4)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{serving.grpc_port}") as other:
            stub: Any = generation_pb2_grpc.GenerationServiceStub(other)  # type: ignore[no-untyped-call]
            assert (await stub.Generate(request("the", samples={}, max_characters=5))).text
        assert [len(sample.text) for sample in (await several).samples] == [4000] * 8


async def test_samples_that_are_left_free_their_places(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, lanes=1, max_batch=2, queue_size=2) as serving:
        several = serving.stub.Generate(request("the", samples={"samples": 20}, max_characters=5000))
        await until(lambda: serving.engine.admission.held == 4)
        several.cancel()
        await until(lambda: serving.engine.admission.held == 0)


async def test_a_long_prompt_from_the_cache_leads_to_the_same_samples(serving: Serving) -> None:
    prompt = make_text(80, seed=3)
    wanted = request(prompt, samples={"samples": 4}, max_characters=20, seed=SEED)
    cold, warm = [await serving.stub.Generate(wanted) for _ in range(2)]
    assert list(cold.samples) == list(warm.samples)
    for sample in warm.samples:
        assert sample == await alone(serving, sample, prompt, {"max_characters": 20})


async def test_samples_keep_to_the_number_of_texts_of_their_caller(opened: Open) -> None:
    async with opened(caller_streams=2) as serving:
        answer = await serving.stub.Generate(request(samples={"samples": 9}, max_characters=20), metadata=shown(TOKEN))
        assert len(answer.samples) == 9


async def test_a_draining_server_refuses_the_whole_call(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, max_characters=100_000, drain_timeout=0.1) as serving:
        call = serving.stub.Generate(request(samples={"samples": 4}, max_characters=25_000))
        await until(lambda: serving.engine.admission.active > 0)
        stopping = asyncio.create_task(serving.service.drain(0.0))
        assert (await failure(call)).code() is grpc.StatusCode.UNAVAILABLE
        await stopping
