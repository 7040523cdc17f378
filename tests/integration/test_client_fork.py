"""Clients in forked processes: they refuse every call at once, and the parent's client is unharmed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import certificates
from tests.support.scripted_server import ScriptedServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

BEGIN = """
import multiprocessing, os, sys
from nextchar_client import AsyncClient, Client
endpoint = sys.argv[1]

def say(*words):  # in one write, for the processes share one pipe; print may make two, and another's come between them
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def complaint(call):
    try:
        call()
    except RuntimeError as error:
        say(type(error).__name__, str(error).partition(";")[2])
    else:
        say("no error")

def ended(child):
    say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
REFUSED = "RuntimeError  make the first client after the fork, or start processes by 'spawn' or 'forkserver' instead"


def run(program: str, server: ScriptedServer, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", BEGIN + program, server.endpoint, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout.splitlines()


def test_every_method_is_refused_in_the_child_and_works_in_the_parent(server: ScriptedServer) -> None:
    program = """
client = Client(endpoint)
list(client.stream())
if (child := os.fork()) == 0:
    for call in (client.generate, client.model, client.models, client.health, client.close):
        complaint(call)
    complaint(lambda: client.score("a"))
    complaint(lambda: next(client.stream()))
    complaint(lambda: client.__exit__(None, None, None))
    sys.exit(7)
ended(child)
say(len(list(client.stream())))
"""
    assert run(program, server) == [*[REFUSED] * 8, "7", "4"]


def test_a_client_with_tls_is_refused_in_the_child_and_works_in_the_parent(tmp_path: Path) -> None:
    authority = certificates.authority(tmp_path)
    program = """
client = Client(endpoint, tls_ca=sys.argv[2], token="secret")
list(client.stream())
if (child := os.fork()) == 0:
    complaint(client.models)
    del client
    complaint(lambda: Client(endpoint, tls_ca=sys.argv[2]))
    sys.exit(7)
ended(child)
say(len(list(client.stream())))
"""
    with ScriptedServer(authority.credentials()) as server:
        assert run(program, server, str(authority.ca_file)) == [*[REFUSED] * 2, "7", "4"]


def test_a_running_stream_is_refused_in_the_child_and_continues_in_the_parent(server: ScriptedServer) -> None:
    program = """
client = Client(endpoint)
events = client.stream()
next(events)
if (child := os.fork()) == 0:
    complaint(lambda: next(events))
    sys.exit(7)
ended(child)
say(len(list(events)))
"""
    assert run(program, server) == [REFUSED, "7", "3"]


def test_a_child_that_leaves_with_an_error_keeps_its_own(server: ScriptedServer) -> None:
    program = """
with Client(endpoint) as client:
    if (child := os.fork()) == 0:
        sys.exit(7)
    ended(child)
"""
    assert run(program, server) == ["7"]


def test_a_new_client_in_the_child_is_refused_too(server: ScriptedServer) -> None:
    program = """
Client(endpoint).close()
child = multiprocessing.get_context("fork").Process(target=lambda: complaint(lambda: Client(endpoint)))
child.start()
child.join()
say(child.exitcode)
"""
    assert run(program, server) == [REFUSED, "0"]


def test_the_first_client_may_be_made_after_the_fork(server: ScriptedServer) -> None:
    program = """
children = []
for _ in range(2):
    if (child := os.fork()) == 0:
        with Client(endpoint) as client:
            say(len(list(client.stream())))
        sys.exit(7)
    children.append(child)
for child in children:
    ended(child)
"""
    assert sorted(run(program, server)) == ["4", "4", "7", "7"]


def test_an_asynchronous_client_is_refused_in_the_child_too(server: ScriptedServer) -> None:
    program = """
import asyncio
async def main():
    client = AsyncClient(endpoint)
    await client.health()
    if (child := os.fork()) == 0:
        for call in (client.generate(), client.health(), client.close(), anext(client.stream())):
            try:
                await call
            except RuntimeError as error:
                say(type(error).__name__, str(error).partition(";")[2])
        os._exit(7)
    ended(child)
    say((await client.health()).name)
    await client.close()
asyncio.run(main())
"""
    assert run(program, server) == [*[REFUSED] * 4, "7", "SERVING"]
