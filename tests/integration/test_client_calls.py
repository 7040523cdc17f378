"""``AsyncClient`` against a real server that plays scripts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from grpc_health.v1 import health_pb2

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import (
    AlternativeCharacter,
    AsyncClient,
    CallCancelledError,
    CharacterLogprob,
    DeadlineExceededError,
    Delta,
    Event,
    FailedPreconditionError,
    Finished,
    FinishReason,
    Generation,
    Health,
    IncompleteStreamError,
    InternalError,
    InvalidArgumentError,
    NextcharError,
    NotFoundError,
    Replay,
    ResourceExhaustedError,
    Started,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    Usage,
)
from tests.support.scripted_server import FINISHED, HANG, STARTED, Abort, ScriptedServer, Status, delta

NO_RETRY = (("grpc-retry-pushback-ms", "-1"),)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.endpoint) as client:
        yield client


async def read_on(events: AsyncIterator[Event], read: list[Event]) -> None:
    """Reads ``events`` into ``read``, where they stay if an error follows."""
    async for event in events:
        read.append(event)  # noqa: PERF401 - a comprehension would lose them


async def was_cancelled(server: ScriptedServer) -> bool:
    return await asyncio.to_thread(server.cancelled.wait, 10)


async def test_stream_yields_each_event_as_a_plain_value(client: AsyncClient) -> None:
    assert [event async for event in client.stream("ROMEO:")] == [
        Started("request-1", "tiny", "0123456789abcdef", 2**64 - 1),
        Delta("한글\n", 0, ()),
        Delta("words", 3, ()),
        Finished(FinishReason.MAX_CHARACTERS, "", Usage(6, 8)),
    ]


async def test_stream_sends_prompt_model_and_parameters(client: AsyncClient, server: ScriptedServer) -> None:
    async for _ in client.stream("ROMEO:", model="tiny", seed=7, temperature=0, stop=["\n\n", "END"]):
        pass
    assert server.requests == [
        pb.GenerateStreamRequest(
            model="tiny",
            prompt="ROMEO:",
            parameters=pb.GenerationParameters(seed=7, temperature=0, stop_sequences=["\n\n", "END"]),
        )
    ]


async def test_events_of_a_newer_contract_are_skipped(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, pb.GenerateStreamResponse(), FINISHED]]
    assert [type(event) async for event in client.stream()] == [Started, Finished]


async def test_generate_returns_the_whole_text(client: AsyncClient, server: ScriptedServer) -> None:
    columns = pb.CharacterLogprobs(
        logprobs=[-0.5], alternatives_per_character=1, alternatives="b", alternative_logprobs=[-1.5]
    )
    server.scripts = [
        [pb.GenerateResponse(started=STARTED.started, text="a", character_logprobs=columns, finished=FINISHED.finished)]
    ]
    assert await client.generate("ROMEO:", top_logprobs=1) == Generation(
        Started("request-1", "tiny", "0123456789abcdef", 2**64 - 1),
        "a",
        (CharacterLogprob("a", -0.5, (AlternativeCharacter("b", -1.5),)),),
        Finished(FinishReason.MAX_CHARACTERS, "", Usage(6, 8)),
    )
    assert server.requests == [pb.GenerateRequest(prompt="ROMEO:", parameters=pb.GenerationParameters(top_logprobs=1))]


async def test_score_returns_every_character(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [
        [
            pb.ScoreResponse(
                request_id="request-2",
                model="tiny",
                model_digest="00ff",
                text="a",
                character_logprobs=pb.CharacterLogprobs(logprobs=[-0.5]),
                total_logprob=-0.5,
                bits_per_character=0.72,
            )
        ]
    ]
    score = await client.score("á", model="tiny", unknown_characters="replace", replacement_character="a")
    assert score.characters == (CharacterLogprob("a", -0.5, ()),)
    assert (score.request_id, score.model, score.model_digest) == ("request-2", "tiny", "00ff")
    assert (score.total_logprob, score.bits_per_character) == (-0.5, 0.72)
    assert server.requests == [
        pb.ScoreRequest(
            model="tiny", text="á", unknown_characters=pb.UNKNOWN_CHARACTERS_REPLACE, replacement_character="a"
        )
    ]


async def test_model_describes_the_named_model(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[pb.GetModelResponse(model=pb.Model(name="tiny", alphabet=["a", "b"], replay=pb.REPLAY_CLOSE))]]
    model = await client.model("tiny")
    assert (model.name, model.alphabet, model.replay) == ("tiny", ("a", "b"), Replay.CLOSE)
    assert server.requests == [pb.GetModelRequest(name="tiny")]


async def test_models_keep_the_servers_order(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[pb.ListModelsResponse(models=[pb.Model(name="b", is_default=True), pb.Model(name="a")])]]
    assert [(model.name, model.is_default) for model in await client.models()] == [("b", True), ("a", False)]


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (health_pb2.HealthCheckResponse.SERVING, Health.SERVING),
        (health_pb2.HealthCheckResponse.NOT_SERVING, Health.NOT_SERVING),
        (health_pb2.HealthCheckResponse.UNKNOWN, Health.UNKNOWN),
    ],
)
async def test_health_is_the_servers_answer(
    client: AsyncClient, server: ScriptedServer, status: health_pb2.HealthCheckResponse.ServingStatus, health: Health
) -> None:
    server.set_health(status)
    assert await client.health() is health


async def test_health_of_an_unknown_service_is_not_found(client: AsyncClient) -> None:
    with pytest.raises(NotFoundError, match=r"no service 'nextchar\.v9\.GenerationService'"):
        await client.health("nextchar.v9.GenerationService")


async def test_a_stream_without_its_last_event_is_incomplete(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, delta("half")]]
    events: list[Event] = []
    with pytest.raises(IncompleteStreamError) as caught:
        await read_on(client.stream(), events)
    assert [type(event) for event in events] == [Started, Delta]
    assert caught.value.status is None


async def test_three_good_messages_come_before_the_error(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, delta("a"), delta("b", 1), Abort(Status.INTERNAL)]]
    events: list[Event] = []
    with pytest.raises(InternalError):
        await read_on(client.stream(), events)
    assert [type(event) for event in events] == [Started, Delta, Delta]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.INVALID_ARGUMENT, InvalidArgumentError),
        (Status.NOT_FOUND, NotFoundError),
        (Status.FAILED_PRECONDITION, FailedPreconditionError),
        (Status.UNAUTHENTICATED, UnauthenticatedError),
        (Status.RESOURCE_EXHAUSTED, ResourceExhaustedError),
        (Status.UNAVAILABLE, UnavailableError),
        (Status.DEADLINE_EXCEEDED, DeadlineExceededError),
        (Status.CANCELLED, CallCancelledError),
        (Status.UNIMPLEMENTED, UnimplementedError),
        (Status.INTERNAL, InternalError),
        (Status.DATA_LOSS, NextcharError),
    ],
)
async def test_a_status_raises_its_class_with_message_and_request_id(
    client: AsyncClient, server: ScriptedServer, status: Status, kind: type[NextcharError]
) -> None:
    server.scripts = [[Abort(status, "temperature: -1 is below 0", (("request-id", "request-9"), *NO_RETRY))]]
    with pytest.raises(NextcharError, match="temperature: -1 is below 0") as caught:
        await client.generate()
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.request_id) == (status, "request-9")


async def test_an_error_without_a_request_id_has_none(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[Abort(Status.DATA_LOSS)]]
    with pytest.raises(NextcharError) as caught:
        await anext(client.stream())
    assert caught.value.request_id is None


async def test_breaking_out_of_a_stream_cancels_the_call(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, HANG]]
    async for _ in client.stream():
        break
    assert await was_cancelled(server)


async def test_closing_a_stream_cancels_the_call(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, HANG]]
    async with contextlib.aclosing(client.stream()) as events:
        await anext(events)
    assert await was_cancelled(server)


@pytest.mark.parametrize("method", ["stream", "generate"])
async def test_cancelling_the_task_cancels_the_call(client: AsyncClient, server: ScriptedServer, method: str) -> None:
    server.scripts = [[HANG]]
    call = client.generate() if method == "generate" else anext(client.stream())
    task = asyncio.ensure_future(call)
    assert await asyncio.to_thread(server.arrived.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await was_cancelled(server)


async def test_a_call_without_timeout_has_no_deadline(client: AsyncClient, server: ScriptedServer) -> None:
    await anext(client.stream())
    assert server.seconds_left == [None]


async def test_a_calls_timeout_replaces_the_clients(server: ScriptedServer) -> None:
    server.scripts = [[pb.ListModelsResponse()]]
    async with AsyncClient(server.endpoint, timeout=1000) as client:
        await client.models()
        await client.models(timeout=100)
    first, second = server.seconds_left
    assert first is not None
    assert second is not None
    assert first > 500 > second


async def test_a_passed_timeout_is_an_error_and_cancels_the_call(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, HANG]]
    with pytest.raises(DeadlineExceededError):
        await read_on(client.stream(timeout=0.2), [])
    assert await was_cancelled(server)


async def test_a_name_that_no_message_can_carry_is_refused(client: AsyncClient) -> None:
    with pytest.raises(InvalidArgumentError, match=r"name: U\+D800 at offset 0 is half a surrogate pair"):
        await client.model("\ud800")
    with pytest.raises(InvalidArgumentError, match="service: "):
        await client.health("\ud800")


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
async def test_an_invalid_timeout_is_refused(client: AsyncClient, timeout: float) -> None:  # noqa: ASYNC109
    with pytest.raises(InvalidArgumentError, match="timeout"):
        await client.generate(timeout=timeout)
    with pytest.raises(InvalidArgumentError, match="timeout"):
        AsyncClient(timeout=timeout)


def test_outside_an_event_loop_the_client_says_so() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        AsyncClient()
