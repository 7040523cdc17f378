"""The end of a server's process: it comes in time, whatever callers do, and well-behaved texts come out whole.

The server itself watches its time: it ends with 0 if it ended by itself within the drain timeout and two seconds, and
with ``OVERRAN`` if not.
"""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from benchmarks.http2 import Connection
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_server.signals import OVERRAN
from tests.support.server_process import PATIENCE, ServerProcess, started
from tests.support.tiny_model import TinyModel

ENDLESS = 2**31 - 1
SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])

WATCH = "/grpc.health.v1.Health/Watch"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
STREAM = "/nextchar.v1.GenerationService/GenerateStream"
LIST = "/nextchar.v1.GenerationService/ListModels"
TEXT = pb.GenerateStreamRequest(parameters=pb.GenerationParameters(max_characters=100_000)).SerializeToString()


def stub_of(channel: grpc.Channel | grpc.aio.Channel) -> Any:
    return generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]


def text(characters: int) -> pb.GenerateStreamRequest:
    """A request for ``characters`` characters."""
    return pb.GenerateStreamRequest(parameters=pb.GenerationParameters(max_characters=characters))


# Callers who hold something of the server, and don't behave. Each does so until its stack is closed.


async def calls(server: ServerProcess, stack: AsyncExitStack, method: str, message: bytes, count: int) -> None:
    """Makes ``count`` calls on a connection that answers pings and reads no message."""
    connection = await Connection.open(server.grpc_port, window=0)
    stack.callback(connection.close)
    for _ in range(count):
        connection.call(method, message)
    await connection.drain()
    stack.callback(asyncio.create_task(connection.serve()).cancel)


async def watchers(server: ServerProcess, stack: AsyncExitStack) -> None:
    await calls(server, stack, WATCH, b"", 8)


async def reflections(server: ServerProcess, stack: AsyncExitStack) -> None:
    await calls(server, stack, REFLECT, b"\x3a\x00", 20)


async def stalled_streams(server: ServerProcess, stack: AsyncExitStack) -> None:
    await calls(server, stack, STREAM, TEXT, 50)


async def unread_answers(server: ServerProcess, stack: AsyncExitStack) -> None:
    await calls(server, stack, LIST, b"", 100)


def connected(port: int, stack: AsyncExitStack, data: bytes) -> None:
    """Connects, sends ``data`` as far as it is taken, and reads nothing."""
    connection = socket.create_connection(("127.0.0.1", port))
    stack.callback(connection.close)
    connection.setblocking(False)
    connection.send(data)


async def silent_connections(server: ServerProcess, stack: AsyncExitStack) -> None:
    for port in (server.grpc_port, server.http_port):
        for _ in range(20):
            connected(port, stack, b"")


async def half_said(server: ServerProcess, stack: AsyncExitStack) -> None:
    for _ in range(20):
        connected(server.grpc_port, stack, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        connected(server.http_port, stack, b"GET /metrics HTTP/1.1\r\nHost: ")


async def pipelined_scrapes(server: ServerProcess, stack: AsyncExitStack) -> None:
    connected(server.http_port, stack, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000)


async def uploads(server: ServerProcess, stack: AsyncExitStack) -> None:
    for _ in range(20):
        connected(server.http_port, stack, b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")


Hold = Callable[[ServerProcess, AsyncExitStack], Awaitable[None]]
HOLDS = [
    watchers,
    reflections,
    stalled_streams,
    unread_answers,
    silent_connections,
    half_said,
    pipelined_scrapes,
    uploads,
]


async def test_no_caller_holds_up_the_end(tiny: TinyModel) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(started("--model", tiny.int8, "--drain-timeout", "0.5"))
        for hold in HOLDS:
            await hold(server, stack)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            await collect(stub_of(channel).GenerateStream(text(10)))  # the server has seen all that came before
        code, events = await asyncio.to_thread(server.ended, signal.SIGTERM)
    assert (code, events[-1]) == (0, "stopped")


async def test_64_streams_come_out_whole_beside_callers_who_hold_all_they_can(tiny: TinyModel) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(started("--model", tiny.int8, "--drain-timeout", "60"))
        for hold in HOLDS:
            if hold is not stalled_streams:  # they would use up the drain timeout
                await hold(server, stack)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            events = [aiter(stub_of(channel).GenerateStream(text(500))) for _ in range(64)]
            first = await asyncio.gather(*map(anext, events))
            ending = asyncio.create_task(asyncio.to_thread(server.ended, signal.SIGTERM))
            rest = await asyncio.gather(*map(collect, events))
            code, _ = await ending
    assert [len(one.delta.text) + more for one, more in zip(first, rest, strict=True)] == [500] * 64
    assert code == 0


async def collect(events: AsyncIterable[pb.GenerateStreamResponse]) -> int:
    """Returns the number of characters that are still to come."""
    return sum([len(event.delta.text) async for event in events])


@SIGNALS
def test_a_signal_drains_and_ends_with_0(tiny: TinyModel, number: signal.Signals) -> None:
    with started("--model", tiny.int8, "--drain-timeout", "300") as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            call = stub_of(channel).GenerateStream(text(20_000))
            events = [next(call)]
            server.process.send_signal(number)
            events += call
        assert sum(len(event.delta.text) for event in events) == 20_000
        assert server.process.wait(PATIENCE) == 0


@SIGNALS
def test_a_second_signal_ends_running_streams_at_once_and_in_order(tiny: TinyModel, number: signal.Signals) -> None:
    with started("--model", tiny.int8, "--max-characters", str(ENDLESS), "--drain-timeout", "600") as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            call = stub_of(channel).GenerateStream(text(ENDLESS))
            next(call)
            server.process.send_signal(number)
            assert server.process.stderr is not None
            for line in server.process.stderr:
                if json.loads(line)["event"] == "draining":
                    break
            server.process.send_signal(number)
            *_, last = call
        assert last.finished.finish_reason == pb.FINISH_REASON_DRAINING
        assert server.process.wait(PATIENCE) == 0


# The process by itself: a program prints "ready" when the signal may come.


def ended(program: str, number: int) -> tuple[int, str]:
    """Runs a program, sends a signal once it is ready, and returns its exit code and its standard error."""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
        return process.returncode, errors
    finally:
        process.kill()


@SIGNALS
def test_a_signal_during_the_imports_ends_the_process(number: int) -> None:
    program = """
import threading
from nextchar_server import signals

signals.install()
print("ready", flush=True)
threading.Event().wait()
"""
    assert ended(program, number) == (128 + number, "")


@SIGNALS
def test_a_signal_ends_a_server_whose_model_never_finishes_loading(number: int) -> None:
    program = """
import sys, threading
from nextchar_server import __main__
from nextchar_server.versions import loading

def load(path, config):
    print("ready", flush=True)
    threading.Event().wait()

loading.load = load
sys.argv = ["nextchar-server", "--grpc-port", "0", "--http-port", "0"]
__main__.main()
"""
    code, errors = ended(program, number)
    assert code == 128 + number
    assert json.loads(errors)["event"] == "stopped_while_starting"


def test_a_process_that_is_stuck_is_ended_by_force_and_says_where() -> None:
    program = """
import sys
from nextchar_server import __main__, server, signals

async def start(self):
    pass

async def stop(self):
    while True:
        pass

def drain_on(*arguments):
    react(*arguments)
    print("ready", flush=True)

server.Server.start, server.Server.stop = start, stop
react, signals.drain_on = signals.drain_on, drain_on
sys.argv = ["nextchar-server", "--drain-timeout", "0"]
__main__.main()
"""
    code, errors = ended(program, signal.SIGTERM)
    assert code == OVERRAN
    last = json.loads(errors.splitlines()[-1])
    assert last["event"] == "ended_by_force"
    assert "in stop" in last["main_thread"]
