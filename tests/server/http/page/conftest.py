"""A browser, a server with two models, and its page, which may neither complain nor ask other machines."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from nextchar.v1 import generation_pb2_grpc
from tests.support.korean_model import make_korean_model
from tests.support.server_process import started

CHROMIUM = shutil.which("chromium")
PACKAGED = Path(__file__).parents[4] / "server/nextchar_server/models/shakespeare.onnx"
PATIENCE = 60_000.0
"""Milliseconds to wait for something that should come."""

expect.set_options(timeout=PATIENCE)

Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Debian's Chromium; without it, the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium fonts-noto-cjk")
    return CHROMIUM


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A browser. Not for the whole session: while it is there, no other event loop can run."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def korean(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of jamo."""
    return make_korean_model("jamo", tmp_path_factory.mktemp("korean"), endless=True)


@pytest.fixture(scope="session")
def ports(chromium: str, korean: Path) -> Iterator[tuple[int, int]]:
    """The ports, of gRPC and of HTTP, of a server that has the packaged model and one of jamo."""
    with started("--model", f"verse={PACKAGED}", "--model", f"korean={korean}") as server:
        yield server.grpc_port, server.http_port


@pytest.fixture(scope="module")
def stub(ports: tuple[int, int]) -> Iterator[generation_pb2_grpc.GenerationServiceStub]:
    """The same server by gRPC."""
    with grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
        yield generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens the page of a port. ``troubles`` are parts of expected complaints; ``is_ready`` waits for it."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: _opened(stack, browser, *args, **kwargs)


@contextmanager
def _opened(
    stack: ExitStack,
    browser: Browser,
    port: int,
    *,
    fragment: str = "",
    troubles: tuple[str, ...] = (),
    is_ready: bool = True,
    **options: object,
) -> Iterator[Page]:
    base, faults = f"http://127.0.0.1:{port}/", list[str]()
    context = stack.enter_context(browser.new_context(**{"locale": "en-US", **options}))  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(base) else faults.append(request.url))
    page.goto(base + fragment)
    if is_ready:
        page.locator("body[data-ready]").wait_for()
    yield page
    assert [fault for fault in faults if not any(trouble in fault for trouble in troubles)] == []


@pytest.fixture
def page(open_page: Open, ports: tuple[int, int]) -> Iterator[Page]:
    """The page of the server, on a desktop, in English, without anything to complain about."""
    with open_page(ports[1]) as page:
        yield page
