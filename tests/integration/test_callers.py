"""Who may call: tokens on both ports, and what strangers learn."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from nextchar.v1 import generation_pb2 as pb
from tests.support.known_callers import (
    ENDLESS,
    OTHER_TOKEN,
    RELOADS,
    TOKEN,
    Open,
    characters,
    line,
    looked,
    shown,
    stream,
    value,
)
from tests.support.serving import Serving, failure
from tests.support.signed import AUDIENCE, ISSUER, Issuer
from tests.support.waiting import until

SERVICE = "/nextchar.v1.GenerationService/"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CHARACTERS = "nextchar_caller_characters_total"
Status = grpc.StatusCode


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """The events that the server logs."""
    with capture_logs() as events:
        yield events


STRANGERS = {
    "absent": (),
    "empty": shown(""),
    "wrong": shown("wrong"),
    "like a signed one": shown("a.b.c"),
    "of another scheme": (("authorization", f"Basic {TOKEN}"),),
    "twice": shown(TOKEN) * 2,
}


async def test_a_stranger_gets_the_same_refusal_on_every_method(opened: Open) -> None:
    seen = set()
    async with opened() as serving:
        methods = [SERVICE + name for name in ("Generate", "GenerateStream", "Score", "GetModel", "ListModels", "None")]
        calls: list[Any] = [
            serving.channel.stream_stream(method)(metadata=metadata)
            for method in (*methods, REFLECTION)
            for metadata in STRANGERS.values()
        ]
        for error in await asyncio.gather(*map(failure, calls)):
            seen.add((error.code(), error.details()))
        await until(lambda: value(serving, "nextchar_rejected_total", reason="unauthenticated") == 7 * len(STRANGERS))
    assert len(seen) == 1
    assert next(iter(seen))[0] is Status.UNAUTHENTICATED


async def test_the_message_of_a_stranger_is_not_parsed(opened: Open) -> None:
    async with opened() as serving:
        call: Any = serving.channel.unary_unary(SERVICE + "Generate")
        error = await failure(call(b"\xff" * 100_000))
        assert error.code() is Status.UNAUTHENTICATED
        assert (await failure(call(b"\xff" * 100_000, metadata=shown(TOKEN)))).code() is Status.INVALID_ARGUMENT


async def test_health_needs_no_token(opened: Open) -> None:
    async with opened() as serving:
        stub: Any = health_pb2_grpc.HealthStub(serving.channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING


async def test_parts_can_be_exempt(opened: Open) -> None:
    async with opened(auth_exempt="metrics,reflection,models") as serving:
        assert len((await serving.stub.ListModels(pb.ListModelsRequest())).models) == 1
        reflection: Any = serving.channel.stream_stream(REFLECTION)()
        await reflection.done_writing()
        assert await reflection.code() is Status.OK
        assert await asyncio.to_thread(scraped, serving, None) == 200
        assert await asyncio.to_thread(scraped, serving, None, "/other") == 401
        assert (await failure(serving.stream("the"))).code() is Status.UNAUTHENTICATED


def scraped(serving: Serving, authorization: str | None, path: str = "/metrics") -> int:
    """Returns the status of a request to the HTTP port."""
    headers = {} if authorization is None else {"Authorization": authorization}
    try:
        with urlopen(Request(f"http://127.0.0.1:{serving.http_port}{path}", headers=headers)) as answer:
            status: int = answer.status
            return status
    except HTTPError as error:
        return error.code if error.headers["WWW-Authenticate"] == 'Bearer realm="nextchar"' else 0


async def test_the_http_port_takes_the_same_tokens_and_its_probes_need_none(opened: Open) -> None:
    async with opened() as serving:
        for authorization, status in ((None, 401), ("Bearer wrong", 401), (f"Basic {TOKEN}", 401)):
            assert await asyncio.to_thread(scraped, serving, authorization) == status
        assert await asyncio.to_thread(scraped, serving, f"bearer {TOKEN}") == 200
        assert await asyncio.to_thread(scraped, serving, None, "/other") == 401
        for probe in ("/healthz", "/readyz"):
            assert await asyncio.to_thread(scraped, serving, None, probe) == 200
        await until(lambda: value(serving, "nextchar_rejected_total", reason="unauthenticated") == 4)


async def test_a_call_has_its_caller_in_the_log_and_in_the_metrics(opened: Open, lines: list[Any]) -> None:
    async with opened() as serving:
        assert await characters(stream(serving)) == 20
        await serving.stub.Score(pb.ScoreRequest(text="the"), metadata=shown(TOKEN))
        calls = [(event["method"], event["caller"]) for event in lines if event["event"] == "call"]
        assert calls == [(SERVICE + "GenerateStream", "ann"), (SERVICE + "Score", "ann")]
        await until(lambda: value(serving, "nextchar_caller_calls_total", caller="ann", code="OK") == 2)
        assert value(serving, CHARACTERS, caller="ann") == 26


def write(tokens: Path, *lines: str) -> None:
    """Replaces the list of tokens."""
    tokens.write_text("".join(lines))


async def test_a_token_is_revoked_for_new_calls_and_running_texts_continue(opened: Open, tokens: Path) -> None:
    async with opened() as serving:
        running = stream(serving, max_characters=ENDLESS)
        await running.read()
        write(tokens, line("bob", OTHER_TOKEN))
        await looked(serving, "ok")
        assert (await failure(stream(serving))).code() is Status.UNAUTHENTICATED
        had = value(serving, CHARACTERS, caller="ann")
        while value(serving, CHARACTERS, caller="ann") < had + 1000:
            assert (await running.read()).delta.text
        running.cancel()
        assert await characters(stream(serving, OTHER_TOKEN)) == 20


async def test_a_wrong_list_changes_nothing_and_says_which_line(opened: Open, tokens: Path, lines: list[Any]) -> None:
    async with opened() as serving:
        write(tokens, line("bob", OTHER_TOKEN), "ann s3cret\n")
        await looked(serving, "failed")
        assert await characters(stream(serving)) == 20
    (event,) = [event for event in lines if event["event"] == "credentials_reload_failed"]
    assert "line 2: its second word isn't a SHA-256" in event["error"]


async def test_the_list_is_watched(opened: Open, tokens: Path) -> None:
    async with opened() as serving:
        write(tokens, line("ann", OTHER_TOKEN))  # and nobody asks for a look
        await until(lambda: value(serving, RELOADS, result="ok") == 1)
        assert (await failure(stream(serving))).code() is Status.UNAUTHENTICATED


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    issuer = Issuer()
    issuer.write(tmp_path / "keys")
    return issuer


@pytest.fixture
def signing(opened: Open, issuer: Issuer, tmp_path: Path) -> Open:
    """Serves to those who have a token of the issuer too."""

    def signing(**settings: Any) -> AbstractAsyncContextManager[Serving]:
        keys = {"auth_jwks_file": tmp_path / "keys", "auth_jwt_issuer": ISSUER, "auth_jwt_audience": AUDIENCE}
        return opened(**keys, **settings)

    return signing


async def test_a_signed_token_names_the_caller(signing: Open, issuer: Issuer) -> None:
    async with signing() as serving:
        token = issuer.token(sub="eve")
        for _ in range(2):  # the second time, the token is remembered
            assert await characters(stream(serving, token)) == 20
        assert value(serving, CHARACTERS, caller="eve") == 46
        assert await asyncio.to_thread(scraped, serving, f"Bearer {token}") == 200


async def test_a_signed_token_that_expires_is_refused_on_both_ports(signing: Open, issuer: Issuer) -> None:
    async with signing() as serving:
        token = issuer.token(exp=1)
        assert (await failure(stream(serving, token))).code() is Status.UNAUTHENTICATED
        assert await asyncio.to_thread(scraped, serving, f"Bearer {token}") == 401


async def test_tokens_of_a_key_that_was_replaced_are_refused_even_if_remembered(
    signing: Open, issuer: Issuer, tmp_path: Path
) -> None:
    async with signing() as serving:
        token = issuer.token()
        assert await characters(stream(serving, token)) == 20
        successor = Issuer()
        successor.write(tmp_path / "keys")
        await looked(serving, "ok")
        await until(lambda: value(serving, RELOADS, result="ok") == 2)
        assert (await failure(stream(serving, token))).code() is Status.UNAUTHENTICATED
        assert await characters(stream(serving, successor.token())) == 20


async def test_many_wrong_signatures_of_one_connection_do_not_keep_a_caller_waiting(
    signing: Open, issuer: Issuer
) -> None:
    async with signing() as serving:
        wrong = [stream(serving, Issuer().token(sub=str(number))) for number in range(64)]
        assert await characters(stream(serving, TOKEN)) == 20
        assert {(await failure(call)).code() for call in wrong} == {Status.UNAUTHENTICATED}
