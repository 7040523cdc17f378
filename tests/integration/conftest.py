"""Fixtures of the integration tests."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nextchar_client import AsyncClient, retries
from tests.support.command import Run, runner
from tests.support.known_callers import ENDLESS, OTHER_TOKEN, TOKEN, Open, line
from tests.support.scripted_server import ScriptedServer
from tests.support.serving import Serve, Serving, serving
from tests.support.tiny_model import TinyModel
from tests.support.trainings import TEXT


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


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """The list of tokens, with ann and bob."""
    path = tmp_path / "tokens"
    path.write_text(line("ann", TOKEN) + line("bob", OTHER_TOKEN))
    return path


@pytest.fixture
def opened(tiny: TinyModel, serve: Serve, tokens: Path) -> Open:
    """Serves the tiny model to the callers of the list."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Serving]:
        settings = {"auth_tokens_file": tokens, "max_characters": ENDLESS, "lanes": 1, **settings}
        async with serve(tiny.int8, **settings) as serving:
            yield serving

    return opened


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small text to train on."""
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text(TEXT)
    return path
