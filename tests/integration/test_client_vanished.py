"""``AsyncClient`` and servers that vanish without a word: stopped processes, and ports that accept and never answer.

The limits are a tenth of the real ones, so that the tests take seconds.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nextchar_client import AsyncClient, Started, UnavailableError, channel
from tests.support.waiting import until

SERVER = """
import signal
from tests.support.scripted_server import HANG, STARTED, ScriptedServer
with ScriptedServer() as server:
    server.scripts = [[STARTED, HANG], [HANG]]
    print(server.endpoint, flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def tenth_of_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    shortened = [(key, value // 10 if value == 10_000 else value) for key, value in channel._OPTIONS]
    monkeypatch.setattr(channel, "_OPTIONS", shortened)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.fixture
async def client(process: subprocess.Popen[str]) -> AsyncIterator[AsyncClient]:
    assert process.stdout is not None
    async with AsyncClient(process.stdout.readline().strip()) as client:
        yield client


async def stop(process: subprocess.Popen[str]) -> None:
    """Stops all threads of ``process``, which still run for a moment after the signal."""
    os.kill(process.pid, signal.SIGSTOP)
    await until(lambda: states(process.pid) == {"T"})


def states(pid: int) -> set[str]:
    """Returns the states of a process's threads, in one letter each."""
    stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


async def test_calls_that_wait_for_a_stopped_process_end(process: subprocess.Popen[str], client: AsyncClient) -> None:
    events = client.stream()
    assert isinstance(await anext(events), Started)
    unary = asyncio.create_task(client.generate())
    await client.health()
    await stop(process)
    async with asyncio.timeout(60):
        ends = await asyncio.gather(anext(events), unary, client.health(), return_exceptions=True)
    assert [type(end) for end in ends] == [UnavailableError] * 3


async def test_a_call_on_an_idle_connection_to_a_stopped_process_ends(
    process: subprocess.Popen[str], client: AsyncClient
) -> None:
    await client.health()
    await stop(process)
    async with asyncio.timeout(60):
        with pytest.raises(UnavailableError):
            await client.models()


async def test_a_call_to_a_port_that_accepts_and_never_answers_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with AsyncClient(f"127.0.0.1:{silent.getsockname()[1]}") as client, asyncio.timeout(60):
            ends = await asyncio.gather(client.models(), client.health(), return_exceptions=True)
    assert [type(end) for end in ends] == [UnavailableError] * 2
