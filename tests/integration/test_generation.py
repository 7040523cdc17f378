"""Generation through a real server: the events of a stream, and the same bytes whatever else the server does."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.decoder import decode
from nextchar_model.runner import Runner
from tests.support.serving import Serve, Serving
from tests.support.tiny_model import TinyModel


@pytest.fixture
async def serving(tiny: TinyModel, serve: Serve) -> AsyncIterator[Serving]:
    async with serve(tiny.int8) as serving:
        yield serving


async def test_the_events_of_a_stream_are_started_deltas_and_finished(serving: Serving) -> None:
    events = [event async for event in serving.stream("the sun", seed=7, max_characters=100)]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert set(kinds[1:-1]) == {"delta"}
    assert events[0].started.seed == 7
    assert events[0].started.model == "int8"
    assert events[-1].finished.finish_reason == pb.FINISH_REASON_MAX_CHARACTERS
    assert events[-1].finished.usage == pb.Usage(prompt_characters=7, generated_characters=100)


async def test_offsets_count_the_characters_before_each_delta(serving: Serving) -> None:
    deltas = [event.delta async for event in serving.stream("the", max_characters=500) if event.HasField("delta")]
    lengths = [len(delta.text) for delta in deltas]
    assert sum(lengths) == 500
    assert [delta.offset for delta in deltas] == list(itertools.accumulate([0, *lengths[:-1]]))


async def test_generate_returns_the_text_of_generate_stream(serving: Serving) -> None:
    parameters = pb.GenerationParameters(seed=3, max_characters=60, top_logprobs=2, echo=True)
    whole = await serving.stub.Generate(pb.GenerateRequest(prompt="the", parameters=parameters))
    stream = serving.stub.GenerateStream(pb.GenerateStreamRequest(prompt="the", parameters=parameters))
    deltas = [event.delta async for event in stream if event.HasField("delta")]
    assert whole.text == "".join(delta.text for delta in deltas)
    joined = pb.CharacterLogprobs()
    for delta in deltas:
        columns = delta.character_logprobs
        joined.alternatives_per_character = columns.alternatives_per_character
        joined.logprobs.extend(columns.logprobs)
        joined.alternatives += columns.alternatives
        joined.alternative_logprobs.extend(columns.alternative_logprobs)
    assert whole.character_logprobs == joined
    assert len(joined.logprobs) == len(whole.text)
    assert whole.finished.finish_reason == pb.FINISH_REASON_MAX_CHARACTERS


async def test_a_drawn_seed_leads_to_the_same_text_again(serving: Serving) -> None:
    first = await serving.stub.Generate(pb.GenerateRequest(prompt="the"))
    again = await serving.stub.Generate(
        pb.GenerateRequest(prompt="the", parameters=pb.GenerationParameters(seed=first.started.seed))
    )
    other = await serving.stub.Generate(pb.GenerateRequest(prompt="the"))
    assert again.text == first.text
    assert other.text != first.text


@pytest.mark.parametrize("precision", ["int8", "fp32"])
async def test_a_text_is_the_same_bytes_alone_and_beside_63_other_streams(
    tiny: TinyModel, serve: Serve, precision: str
) -> None:
    async with serve(getattr(tiny, precision)) as serving:
        alone = await serving.text("the sun", seed=7, max_characters=400)

        async def disturb(seed: int) -> str:
            return await serving.text(
                tiny.text[: seed * 3],
                seed=seed,
                max_characters=200 + 17 * seed,
                temperature=(seed % 4) / 2,
                top_k=seed % 7,
                top_p=1.0 - (seed % 3) / 4,
            )

        others = [asyncio.create_task(disturb(seed)) for seed in range(63)]
        texts = await asyncio.gather(*(serving.text("the sun", seed=7, max_characters=400) for _ in range(3)))
        await asyncio.gather(*others)
        assert texts == [alone] * 3


@pytest.mark.parametrize("precision", ["int8", "fp32"])
async def test_a_text_does_not_depend_on_lanes_threads_batch_or_turn_budget(
    tiny: TinyModel, serve: Serve, precision: str
) -> None:
    texts = set()
    for settings in (
        {"lanes": 1, "turn_budget": 1.0},
        {"lanes": 2, "max_batch": 1, "turn_budget": 1e-6},
        {"lanes": 1, "threads_per_lane": 2, "turn_budget": 0.001},
    ):
        async with serve(getattr(tiny, precision), **settings) as serving:
            both = await asyncio.gather(*(serving.text("the sun", seed=7, max_characters=300) for _ in range(2)))
            texts |= set(both)
    assert len(texts) == 1


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
async def test_a_model_of_any_cell_streams_the_text_of_the_runner(
    tiny_of: Callable[[str], TinyModel], serve: Serve, cell: str, precision: str
) -> None:
    tiny = tiny_of(cell)
    path = getattr(tiny, precision)
    prompt, seeds, count = "the sun", range(8), 200
    runner = Runner(path)
    expected = [
        decode(tiny.alphabet, runner.generate(prompt, seed, count).ids[len(prompt) :, 0].tolist()) for seed in seeds
    ]
    async with serve(path, lanes=2, turn_budget=1e-6) as serving:
        texts = await asyncio.gather(*(serving.text(prompt, seed=seed, max_characters=count) for seed in seeds))
        model = (await serving.stub.GetModel(pb.GetModelRequest())).model
    assert texts == expected
    assert (model.cell, model.precision, model.replay) == (cell, precision, pb.REPLAY_EXACT)


async def test_int8_and_fp32_are_served_side_by_side_by_name(tiny: TinyModel, serve: Serve) -> None:
    async with serve(f"small={tiny.int8}", f"exact={tiny.fp32}") as serving:
        models = (await serving.stub.ListModels(pb.ListModelsRequest())).models
        assert [(model.name, model.precision, model.is_default) for model in models] == [
            ("small", "int8", True),
            ("exact", "fp32", False),
        ]
        assert (await serving.stub.GetModel(pb.GetModelRequest(name="exact"))).model == models[1]
        assert models[0].replay == pb.REPLAY_EXACT
        assert "".join(models[0].alphabet) == "".join(tiny.alphabet.symbols)
        assert await serving.text("the", model="exact", seed=1) == await serving.text("the", model="exact", seed=1)


async def test_echo_starts_with_the_prompt(serving: Serving) -> None:
    plain = await serving.text("the sun", seed=5, max_characters=20)
    assert await serving.text("the sun", seed=5, max_characters=20, echo=True) == "the sun" + plain


async def test_a_stop_sequence_ends_the_text_just_before_it(serving: Serving) -> None:
    text = await serving.text("the", seed=5, max_characters=200)
    stop = text[90:95]
    place = text.find(stop)
    events = [event async for event in serving.stream("the", seed=5, max_characters=200, stop_sequences=[stop])]
    finished = events[-1].finished
    assert "".join(event.delta.text for event in events) == text[:place]
    assert finished.finish_reason == pb.FINISH_REASON_STOP_SEQUENCE
    assert finished.stop_sequence == stop
    assert finished.usage.generated_characters == place + len(stop)


async def test_a_stop_sequence_can_be_included(serving: Serving) -> None:
    text = await serving.text("the", seed=5, max_characters=200)
    stop = text[90:95]
    included = await serving.text("the", seed=5, max_characters=200, stop_sequences=[stop], include_stop_sequence=True)
    assert included == text[: text.find(stop) + len(stop)]


async def test_stop_sequences_span_the_chunks_of_the_engine(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8, turn_budget=1e-6) as serving:  # one character per turn
        text = await serving.text("the", seed=5, max_characters=100)
        stop = text[40:48]
        assert await serving.text("the", seed=5, max_characters=100, stop_sequences=[stop]) == text[: text.find(stop)]


async def test_the_model_can_end_the_document(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving:
        # The tiny model gives the boundary a logit of about -100; this makes it as likely as any character.
        events = [
            event
            async for event in serving.stream(
                "the",
                seed=1,
                max_characters=5000,
                character_bias=dict.fromkeys(tiny.alphabet.symbols, -100.0),
            )
        ]
        assert events[-1].finished.finish_reason == pb.FINISH_REASON_END_OF_DOCUMENT


async def test_temperature_zero_needs_no_seed(serving: Serving) -> None:
    texts = {await serving.text("the", temperature=0.0, max_characters=50) for _ in range(3)}
    assert len(texts) == 1


async def test_a_bias_forbids_a_character(serving: Serving) -> None:
    text = await serving.text("the", seed=2, max_characters=2000, character_bias={"e": -100.0})
    assert "e" not in text
    assert "e" in await serving.text("the", seed=2, max_characters=2000)


async def test_logprobs_are_those_of_the_model_and_lead_with_the_likeliest(serving: Serving) -> None:
    stream = serving.stream("the", temperature=0.0, max_characters=30, top_logprobs=3)
    text = ""
    async for event in stream:
        text += event.delta.text
        columns = event.delta.character_logprobs
        for n, (character, logprob) in enumerate(zip(event.delta.text, columns.logprobs, strict=True)):
            place = slice(3 * n, 3 * n + 3)
            others = list(columns.alternative_logprobs[place])
            assert others == sorted(others, reverse=True)
            assert columns.alternatives[place][0] == character  # greedy takes the likeliest
            assert others[0] == logprob <= 0
    assert len(text) == 30


async def test_score_returns_the_log_probabilities_of_generation(serving: Serving) -> None:
    stream = serving.stream("", seed=4, max_characters=50, top_logprobs=0)
    deltas = [event.delta async for event in stream]
    text = "".join(delta.text for delta in deltas)
    logprobs = [logprob for delta in deltas for logprob in delta.character_logprobs.logprobs]
    score = await serving.stub.Score(pb.ScoreRequest(text=text))
    assert score.text == text
    assert list(score.character_logprobs.logprobs) == logprobs
    assert score.total_logprob == pytest.approx(sum(logprobs))
    assert score.bits_per_character == pytest.approx(-score.total_logprob / 50 / 0.6931471805599453)
