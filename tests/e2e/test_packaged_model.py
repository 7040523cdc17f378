"""The packaged model as a person serves it: two processes and the command's output."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nextchar_model.runner import Runner
from nextchar_server.settings.config import PACKAGED_MODEL
from nextchar_training.learning.evaluation import stateful_loss

SERVER = [sys.executable, "-m", "nextchar_server"]
CLIENT = [sys.executable, "-m", "nextchar_client"]
ROMEO = ["generate", "ROMEO:", "--seed", "7", "--max-characters", "400"]
ROMEO_SHA256 = "021391cff3f6dc8f6db87d5dad614f2d80dd8355c5ecddde44ab133de0d3e45d"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server with no flags except its ports."""
    process = subprocess.Popen([*SERVER, "--grpc-port", "0", "--http-port", "0"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        try:
            for line in process.stderr:
                event = json.loads(line)
                if event["event"] == "serving":
                    break
            # Without a reader, a full pipe would stop the server.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield f"127.0.0.1:{event['grpc_port']}"
        finally:
            process.kill()
            process.wait()


def nextchar(endpoint: str, *arguments: str) -> bytes:
    """The output of the command."""
    return subprocess.run(
        [*CLIENT, *arguments, "--endpoint", endpoint], check=True, capture_output=True, timeout=120
    ).stdout


@pytest.fixture(scope="module")
def validation_text() -> str:
    """The last tenth of Tiny Shakespeare, if it's at hand."""
    folders = [os.environ.get("NEXTCHAR_CORPUS_DIR"), Path(__file__).parents[3] / "shared" / "data"]
    for folder in folders:
        if folder and (path := Path(folder) / "tinyshakespeare.txt").is_file():
            text = path.read_text(encoding="utf-8")
            return text[int(len(text) * 0.9) :]
    pytest.skip("tinyshakespeare.txt is not in NEXTCHAR_CORPUS_DIR")


def test_the_packaged_model_is_small_int8_and_exact_here() -> None:
    runner = Runner(PACKAGED_MODEL)
    assert PACKAGED_MODEL.stat().st_size <= 2.5e6
    assert runner.description.precision == "int8"
    runner.replay()  # raises if this machine is off


def test_the_packaged_model_reaches_its_loss(validation_text: str) -> None:
    runner = Runner(PACKAGED_MODEL)
    assert stateful_loss(runner, [runner.description.alphabet.spell(validation_text)]) <= 1.36


def test_int8_costs_at_most_two_thousandths_of_a_nat() -> None:
    assert Runner(PACKAGED_MODEL).description.checks.loss_increase <= 0.002
    assert Runner(PACKAGED_MODEL).description.checks.characters >= 100_000


def test_the_reference_stream_has_the_bytes_that_it_had_when_the_model_was_made(endpoint: str) -> None:
    replay = Runner(PACKAGED_MODEL).replay()
    if not replay.exact:
        pytest.skip(f"this machine isn't bit-exact with the exporting one: numeric class {replay.numeric_class}")
    assert hashlib.sha256(nextchar(endpoint, *ROMEO)).hexdigest() == ROMEO_SHA256


def test_the_same_command_twice_prints_the_same_bytes(endpoint: str) -> None:
    first = nextchar(endpoint, *ROMEO)
    assert len(first.decode()) == 400
    assert nextchar(endpoint, *ROMEO) == first


def test_the_same_bytes_while_63_other_streams_run(endpoint: str) -> None:
    alone = nextchar(endpoint, *ROMEO)
    with subprocess.Popen([sys.executable, "-c", _LOAD, endpoint], stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        try:
            assert load.stdout.readline() == "63 streams run\n"
            beside = [nextchar(endpoint, *ROMEO) for _ in range(2)]
            assert load.poll() is None  # the load ran the whole time
        finally:
            load.kill()
    assert beside == [alone] * 2


_LOAD = """
import asyncio, sys
from nextchar_client import AsyncClient, Delta

async def main():
    async with AsyncClient(sys.argv[1]) as client:
        async def run(seed, started):
            while True:
                async for event in client.stream("JULIET:", max_characters=100_000, seed=seed):
                    if isinstance(event, Delta):
                        started.set()

        started = [asyncio.Event() for _ in range(63)]
        streams = [asyncio.create_task(run(seed, event)) for seed, event in enumerate(started)]
        await asyncio.gather(*(event.wait() for event in started))
        print("63 streams run", flush=True)
        await asyncio.gather(*streams)

asyncio.run(main())
"""
