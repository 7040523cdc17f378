"""Several workers of one server beside clients that continue: a worker that is killed costs nobody a text."""

import asyncio
import os
import signal

import pytest

from benchmarks.workers import connections
from nextchar_client import AsyncClient, CharacterLogprob, Delta, Resumed
from tests.support.server_process import started
from tests.support.tiny_model import TinyModel

STREAMS = 4
CHARACTERS = 20_000
ALTERNATIVES = 10  # with which a text is larger than all buffers on its way, so it can't be whole before it is read


class Reader:
    """Reads a text on a connection of its own."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.text = ""
        self.logprobs: list[CharacterLogprob] = []
        self.resumed = 0
        self.has_begun = asyncio.Event()

    async def read(self, port: int, go_on: asyncio.Event) -> None:
        """Reads the first characters, and the rest once it may ``go_on``."""
        async with AsyncClient(f"127.0.0.1:{port}") as client:
            async for event in client.stream(
                "", seed=self.seed, max_characters=CHARACTERS, top_logprobs=ALTERNATIVES, with_resumed=True
            ):
                match event:
                    case Delta():
                        self.text += event.text
                        self.logprobs += event.logprobs
                        self.has_begun.set()
                        await go_on.wait()
                    case Resumed():
                        self.resumed += 1


@pytest.mark.slow
async def test_texts_are_whole_although_their_worker_was_killed(tiny: TinyModel) -> None:
    with started("--model", tiny.int8, "--workers", "2", "--lanes", "1") as server:
        go_on = asyncio.Event()
        cut, whole = ([Reader(seed) for seed in range(STREAMS)] for _ in range(2))
        reading = [asyncio.create_task(reader.read(server.grpc_port, go_on)) for reader in cut]
        await asyncio.gather(*(reader.has_begun.wait() for reader in cut))
        (serving,) = (pid for pid in server.workers if connections(pid, server.grpc_port))  # gRPC has one connection
        os.kill(serving, signal.SIGKILL)
        go_on.set()
        await asyncio.gather(*reading)
        await asyncio.gather(*(reader.read(server.grpc_port, go_on) for reader in whole))
    assert [(reader.text, reader.logprobs) for reader in cut] == [(reader.text, reader.logprobs) for reader in whole]
    assert [len(reader.text) for reader in cut] == [CHARACTERS] * STREAMS
    assert [reader.resumed for reader in cut] == [1] * STREAMS
