"""The page and its troubles: a full queue, a slow model, a server that goes away, a token that it wants."""

from __future__ import annotations

import signal
import socket
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest
from playwright.sync_api import Page, Route, expect

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from tests.server.http.page.conftest import PACKAGED, Open
from tests.support.playground import pane, text_of, write
from tests.support.server_process import started

COMPLETIONS = "**/v1/completions"
LOST = ("ERR_CONNECTION", "ERR_INCOMPLETE", "ERR_EMPTY", "ERR_NETWORK")


def generated(stub: Any, **parameters: Any) -> str:
    request = pb.GenerateRequest(prompt="ROMEO:\n", parameters=pb.GenerationParameters(seed=7, **parameters))
    text: str = stub.Generate(request).text
    return text


def test_a_full_queue_is_told_and_tried_again_in_time(open_page: Open, ports: tuple[int, int], stub: Any) -> None:
    with open_page(ports[1], troubles=("429",)) as page:
        refusal = {"error": {"message": "the queue is full", "code": "queue_full"}}
        page.route(
            COMPLETIONS, lambda route: route.fulfill(status=429, headers={"Retry-After": "2"}, json=refusal), times=1
        )
        write(page)
        expect(page.locator(".pane .state")).to_have_text("The server's queue is full. Next try in 2 s")
        expect(page.locator(".pane .state")).to_have_text("The server's queue is full. Next try in 1 s")
        assert text_of(pane(page)) == generated(stub, max_characters=120)


def test_a_slow_model_is_told(page: Page) -> None:
    waiting: list[Route] = []
    page.route(COMPLETIONS, lambda route: waiting.append(route))
    write(page)
    expect(page.locator(".pane .state")).to_have_text("Waiting for the first character: 3 s")
    page.keyboard.press("Escape")
    pane(page, "stopped")
    waiting[0].abort()


def test_a_stream_that_is_cut_continues_behind_its_last_event(
    open_page: Open, ports: tuple[int, int], stub: Any
) -> None:
    with open_page(ports[1]) as page:
        page.route(COMPLETIONS, cut, times=1)
        write(page, length=300)
        expect(page.locator(".pane .state")).to_contain_text("The server is away")
        assert text_of(pane(page)) == generated(stub, max_characters=300)
        expect(page.locator(".pane .stats")).to_contain_text("continued 1×")


def cut(route: Route) -> None:
    """Lets half of a stream through."""
    whole = route.fetch().text()
    route.fulfill(body=whole[: len(whole) // 2], headers={"Content-Type": "text/event-stream"})


@pytest.mark.parametrize("has_changed", [False, True], ids=["same model", "other model"])
def test_without_its_token_a_text_is_written_again_and_compared(
    open_page: Open, ports: tuple[int, int], stub: Any, has_changed: bool
) -> None:
    def forget(route: Route) -> None:
        if "last-event-id" in route.request.headers:
            route.fulfill(status=400, json={"error": {"message": "resume_token: is damaged", "code": "bad"}})
        else:
            route.continue_(post_data={**(route.request.post_data_json or {}), "seed": 8} if has_changed else None)

    with open_page(ports[1], troubles=("400",)) as page:
        page.route(COMPLETIONS, forget)
        page.route(COMPLETIONS, cut, times=1)
        write(page, length=300)
        if has_changed:
            expect(pane(page, "changed").locator(".state")).to_contain_text("another text")
        else:
            assert text_of(pane(page)) == generated(stub, max_characters=300)


@pytest.mark.slow
def test_a_server_that_restarts_in_mid_text_brings_the_rest(open_page: Open, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef" * 4)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    options = ("--model", PACKAGED, "--token-key-file", key, "--http-port", str(port))
    length = 12_000
    with started(*options) as first, open_page(port, troubles=LOST) as page:
        write(page, length=length)
        page.locator(".pane [data-n]").nth(50).wait_for(state="attached")
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        expect(page.locator(".pane .state")).to_contain_text("The server is away")
        expect(page.locator("#live-server")).to_have_text("Server away")
        assert len(text_of(page.locator(".pane"))) < length
        with started(*options) as second, grpc.insecure_channel(f"127.0.0.1:{second.grpc_port}") as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
            assert text_of(pane(page)) == generated(stub, max_characters=length)
            expect(page.locator(".pane .stats")).to_contain_text("continued")
            expect(page.locator("#live-server")).to_have_text("Server ready")


@pytest.mark.slow
def test_a_server_that_wants_a_token_is_given_one(open_page: Open, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann {sha256(b'secret').hexdigest()}\n")
    with (
        started("--model", PACKAGED, "--auth-tokens-file", tokens) as server,
        open_page(server.http_port, troubles=("401",), is_ready=False) as page,
    ):
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Token").fill("wrong")
        dialog.get_by_role("button", name="Use it").click()
        expect(dialog).to_contain_text("refused the token")
        dialog.get_by_label("Token").fill("secret")
        dialog.get_by_role("button", name="Use it").click()
        page.locator("body[data-ready]").wait_for()
        write(page)
        pane(page)
        assert "secret" not in page.evaluate("location.href + JSON.stringify(localStorage)")
