"""``Client``, the face for programs without an event loop, against a real server that plays scripts."""

import inspect
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import (
    AsyncClient,
    CallCancelledError,
    Client,
    Delta,
    Finished,
    Health,
    IncompleteStreamError,
    InvalidArgumentError,
    Started,
)
from tests.support.scripted_server import FINISHED, HANG, STARTED, ScriptedServer, delta


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[Client]:
    with Client(server.endpoint) as client:
        yield client


def test_stream_yields_each_event(client: Client) -> None:
    assert [type(event) for event in client.stream("ROMEO:")] == [Started, Delta, Delta, Finished]


def test_other_calls_answer_too(client: Client, server: ScriptedServer) -> None:
    server.scripts = [
        [pb.GenerateResponse(started=STARTED.started, text="whole", finished=FINISHED.finished)],
        [pb.ScoreResponse(text="a", character_logprobs=pb.CharacterLogprobs(logprobs=[-1]), bits_per_character=2)],
        [pb.GetModelResponse(model=pb.Model(name="tiny"))],
        [pb.ListModelsResponse(models=[pb.Model(name="tiny")])],
    ]
    assert client.generate("ROMEO:").text == "whole"
    assert client.score("a").bits_per_character == 2
    assert client.model().name == "tiny"
    assert [model.name for model in client.models()] == ["tiny"]
    assert client.health() is Health.SERVING


@pytest.mark.parametrize("name", ["generate", "score", "model", "models", "health"])
def test_methods_have_the_asynchronous_signature_and_documentation(name: str) -> None:
    synchronous, asynchronous = getattr(Client, name), getattr(AsyncClient, name)
    assert inspect.signature(synchronous) == inspect.signature(asynchronous)
    assert synchronous.__doc__ == asynchronous.__doc__


async def test_it_works_inside_a_running_event_loop(server: ScriptedServer) -> None:
    with Client(server.endpoint) as client:
        assert isinstance(list(client.stream())[-1], Finished)


def test_breaking_out_of_a_stream_cancels_the_call(client: Client, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, HANG]]
    for _ in client.stream():
        break
    assert server.cancelled.wait(60)


def test_an_error_in_the_readers_loop_cancels_the_call(client: Client, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, HANG]]
    events = client.stream()
    next(events)
    with pytest.raises(ZeroDivisionError):
        events.throw(ZeroDivisionError())
    assert server.cancelled.wait(60)


def test_a_stream_without_its_last_event_is_incomplete(client: Client, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, delta("half")]]
    events = client.stream()
    assert [type(next(events)), type(next(events))] == [Started, Delta]
    with pytest.raises(IncompleteStreamError):
        next(events)


def test_closing_ends_a_call_of_another_thread(server: ScriptedServer) -> None:
    server.scripts = [[STARTED, HANG]]
    with ThreadPoolExecutor(1) as thread:
        client = Client(server.endpoint)
        events = client.stream()
        next(events)
        waiting = thread.submit(next, events)
        while not waiting.running():
            pass
        client.close()
        with pytest.raises(CallCancelledError):
            waiting.result()
    assert server.cancelled.wait(60)


def test_a_stream_that_outlives_its_client_ends_quietly(server: ScriptedServer) -> None:
    server.scripts = [[STARTED, HANG]]
    with Client(server.endpoint) as client:
        events = client.stream()
        next(events)
    assert server.cancelled.wait(60)
    events.close()


def test_a_closed_client_says_so(server: ScriptedServer) -> None:
    client = Client(server.endpoint)
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.generate()


def test_threads_share_a_client_and_have_their_own(client: Client, server: ScriptedServer) -> None:
    def texts(client: Client) -> list[str]:
        return [event.text for event in client.stream() if isinstance(event, Delta)]

    with Client(server.endpoint) as other, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(texts, [client, other] * 16)) == [["한글\n", "words"]] * 32


def test_a_bad_endpoint_is_refused_at_once() -> None:
    with pytest.raises(InvalidArgumentError, match="HOST:PORT"):
        Client("localhost")


def test_a_program_that_forgets_to_close_ends_quietly(server: ScriptedServer) -> None:
    program = f"""
from nextchar_client import Client
events = Client({server.endpoint!r}).stream()
print(type(next(events)).__name__)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Started\n", "")
