"""``AsyncClient`` and the command against a server that sends anything: every answer is whole, or an error."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import AsyncClient, Delta, Finished, FinishReason, IncompleteStreamError, InternalError
from tests.support.command import Run, on_a_terminal
from tests.support.scripted_server import FINISHED, STARTED, Abort, ScriptedServer, Status, delta

STEERING = "\x1b]0;title\x07\x1b[31m\x9b2J\x7f\r\u2028\u202e\u2066\u200f\ufeff\U000e0041"


class Raw(grpc.GenericRpcHandler):
    """Answers every call of ``GenerationService`` with ``messages``, whatever bytes they are."""

    def __init__(self, messages: Sequence[bytes]) -> None:
        self._messages = messages

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        async def unary(request: bytes, context: object) -> bytes:
            return self._messages[0]

        async def stream(request: bytes, context: object) -> AsyncIterator[bytes]:
            for message in self._messages:
                yield message

        if details.method.endswith("GenerateStream"):
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary) if "nextchar" in details.method else None


@asynccontextmanager
async def client_of(*messages: Any) -> AsyncIterator[AsyncClient]:
    server = grpc.aio.server()
    raw = [each if isinstance(each, bytes) else each.SerializeToString() for each in messages]
    server.add_generic_rpc_handlers((Raw(raw),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        yield client
    await server.stop(0)


@pytest.mark.parametrize("message", [b"\xff\xff\xff", b"\x12\x03\x0a\x01\xff"], ids=["no protobuf", "no UTF-8"])
async def test_a_message_that_cannot_be_parsed_is_an_error_of_the_server(message: bytes) -> None:
    async with client_of(message) as client:
        with pytest.raises(InternalError, match="can't be parsed"):
            await anext(client.stream())


@pytest.mark.parametrize("method", ["generate", "model", "models"])
async def test_an_answer_that_cannot_be_parsed_is_an_error_of_the_server(method: str) -> None:
    async with client_of(b"\xff\xff\xff") as client:
        with pytest.raises(InternalError, match="can't be parsed"):
            await getattr(client, method)()


async def test_an_empty_answer_is_an_error() -> None:
    async with client_of(b"") as client:
        for call in (client.generate(), client.score("a"), client.model()):
            with pytest.raises(InternalError):
                await call


async def test_a_gap_in_a_text_is_an_error_and_not_a_whole_text() -> None:
    async with client_of(STARTED, delta("a"), delta("b", 997), FINISHED) as client:
        events = client.stream()
        assert [type(await anext(events)).__name__ for _ in range(2)] == ["Started", "Delta"]
        with pytest.raises(IncompleteStreamError, match="996 characters are missing"):
            await anext(events)


async def test_values_of_a_newer_contract_and_null_characters_pass() -> None:
    async with client_of(STARTED, delta("\0a"), b"\x1a\x02\x08\x63") as client:  # the last: finish_reason 99
        events = [event async for event in client.stream()]
    assert isinstance(events[1], Delta)
    assert events[1].text == "\0a"
    assert isinstance(events[2], Finished)
    assert events[2].finish_reason is FinishReason.UNKNOWN


async def test_an_answer_above_the_limit_of_grpc_is_received() -> None:
    text = "x" * 5_000_000
    answer = pb.GenerateResponse(started=STARTED.started, text=text, finished=FINISHED.finished)
    async with client_of(answer) as client:
        assert (await client.generate()).text == text


def steering(output: str) -> set[str]:
    return {
        character for character in output.replace("\r\n", "\n") if character in STEERING and not character.isprintable()
    }


@pytest.mark.parametrize(
    "script",
    [
        [Abort(Status.INTERNAL, f"[red]{STEERING}")],
        [STARTED, delta(f"[red]{STEERING}"), FINISHED],
        [pb.GenerateStreamResponse(started=pb.Started(request_id=STEERING, model=STEERING)), FINISHED],
    ],
    ids=["message", "text", "names"],
)
@pytest.mark.parametrize("options", [(), ("--json",), ("--verbose",)])
def test_no_character_of_a_server_steers_the_terminal(
    server: ScriptedServer, script: Sequence[Any], options: tuple[str, ...]
) -> None:
    server.scripts = [script]
    _, output, errors = on_a_terminal("generate", *options)
    assert (steering(output.decode()), steering(errors.decode())) == (set(), set())


def test_no_name_of_a_model_steers_the_terminal(server: ScriptedServer) -> None:
    model = pb.Model(name=f"[red]{STEERING}", digest=STEERING, cell=STEERING, alphabet_kind=STEERING)
    server.scripts = [[pb.ListModelsResponse(models=[model])]]
    for options in ((), ("--json",)):
        output = on_a_terminal("models", *options)[1].decode()
        assert steering(output) == set()
        assert "[red]" in output


def test_a_text_on_a_pipe_is_exactly_as_it_came(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[STARTED, delta(STEERING), FINISHED]]
    assert run("generate") == (0, STEERING, "")


def test_json_of_a_text_that_steers_has_the_same_value(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[STARTED, delta(STEERING), FINISHED]]
    output = run("generate", "--json")[1]
    assert steering(output) == set()
    assert json.loads(output.splitlines()[1])["text"] == STEERING


def test_letters_of_every_script_stay_on_a_terminal(server: ScriptedServer) -> None:
    text = "한글 \u3000e\u0301 \u0645\u06cc\u200c\u062e 👩\u200d💻\ttab"
    server.scripts = [[STARTED, delta(text), FINISHED]]
    assert on_a_terminal("generate")[1].decode() == f"{text}\r\n"


def test_a_number_that_json_lacks_is_null(server: ScriptedServer, run: Run) -> None:
    server.scripts = [[pb.ListModelsResponse(models=[pb.Model(validation_loss=float("nan"))])]]
    assert json.loads(run("models", "--json")[1])["validation_loss"] is None
