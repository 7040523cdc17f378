"""Fixtures of the integration tests."""

from collections.abc import AsyncIterator, Iterator

import pytest

from nextchar_client import AsyncClient, retries
from tests.support.command import Run, runner
from tests.support.scripted_server import ScriptedServer
from tests.support.serving import Serve, serving


@pytest.fixture
def serve() -> Serve:
    """Returns a function that serves model files: an async context manager of a ``Serving``."""
    return serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A server that plays scripts; the command ``nextchar`` finds it."""
    with ScriptedServer() as server:
        monkeypatch.setenv("NEXTCHAR_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[AsyncClient]:
    """A client of ``server``."""
    async with AsyncClient(server.endpoint) as client:
        yield client


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the pauses before tries short."""
    monkeypatch.setattr(retries, "_FIRST_PAUSE", 0.005)


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs the command ``nextchar`` in this process."""
    return runner(capfdbinary)
