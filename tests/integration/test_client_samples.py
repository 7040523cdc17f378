"""Several texts of one request, from the library and the command."""

import json

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import AsyncClient, IncompleteStreamError, InvalidArgumentError, sample_seed
from tests.support.command import Run
from tests.support.scripted_server import ScriptedServer
from tests.support.serving import Serve
from tests.support.tiny_model import TinyModel


async def test_samples_are_the_texts_of_calls_with_their_seeds(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, AsyncClient(f"127.0.0.1:{serving.grpc_port}") as client:
        samples = await client.samples("the", count=3, first=2, seed=7, max_characters=20, top_logprobs=1)
        assert [text.index for text in samples.texts] == [2, 3, 4]
        for text in samples.texts:
            assert text.seed == sample_seed(samples.started.seed, text.index)
            one = await client.generate("the", seed=text.seed, max_characters=20, top_logprobs=1)
            assert (text.text, text.logprobs) == (one.text, one.logprobs)
            assert text.total_logprob is None


async def test_the_best_of_several_comes_with_its_log_probability(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, AsyncClient(f"127.0.0.1:{serving.grpc_port}") as client:
        (best,) = (await client.samples("the", best_of=8, seed=7, max_characters=20)).texts
        one = await client.generate("the", seed=best.seed, max_characters=20, top_logprobs=0)
        assert best.text == one.text
        assert best.total_logprob == pytest.approx(sum(place.logprob for place in one.logprobs))


async def test_a_wrong_number_of_samples_names_the_keyword(tiny: TinyModel, serve: Serve) -> None:
    async with serve(tiny.int8) as serving, AsyncClient(f"127.0.0.1:{serving.grpc_port}") as client:
        with pytest.raises(InvalidArgumentError, match="samples: 65"):
            await client.samples(count=65)


async def test_a_server_that_knows_no_samples_is_told_from_one_that_does(
    server: ScriptedServer, client: AsyncClient
) -> None:
    server.scripts = [[pb.GenerateResponse(text="one")]]
    with pytest.raises(IncompleteStreamError, match="0 samples in place of 2"):
        await client.samples(count=2)


def answer(*texts: str) -> pb.GenerateResponse:
    finished = pb.Finished(finish_reason=pb.FINISH_REASON_MAX_CHARACTERS)
    samples = [pb.Sample(index=place, text=text, finished=finished) for place, text in enumerate(texts)]
    return pb.GenerateResponse(started=pb.Started(seed=7), samples=samples)


def test_the_command_prints_a_line_for_each_text(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[answer("one", "two")]]
    assert run("generate", "--samples", "2")[1] == "one\ntwo\n"
    lines = run("generate", "--samples", "2", "--json")[1].splitlines()
    assert [json.loads(line).get("text") for line in lines] == [None, "one", "two"]


def test_the_command_numbers_texts_of_several_lines(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[answer("one\nmore", "two")]]
    assert run("generate", "--samples", "2", "--seed", "7")[1] == "--- 0\none\nmore\n--- 1\ntwo\n"
    assert server.requests[0].samples == 2


def test_the_command_asks_for_the_best_of_several(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[answer("best")]]
    assert run("generate", "--best-of", "9", "--first-sample", "3")[1] == "best\n"
    assert (server.requests[0].best_of, server.requests[0].first_sample) == (9, 3)
