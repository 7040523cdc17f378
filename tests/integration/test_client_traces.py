"""The client's part of a trace: its calls belong to the span that is current in its program."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from nextchar_client import AsyncClient, Client
from tests.support.scripted_server import STARTED, WHOLE, Abort, ScriptedServer, Status, delta

SPAN = NonRecordingSpan(SpanContext(0xAF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True, TraceFlags(1)))
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

pytestmark = pytest.mark.usefixtures("short_pauses")


def traces(server: ScriptedServer) -> list[str | bytes | None]:
    """Returns the traces of the calls that arrived."""
    return [metadata.get("traceparent") for metadata in server.metadata]


async def test_a_call_and_its_retries_continue_the_current_trace(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[Abort(Status.UNAVAILABLE)], WHOLE]
    with use_span(SPAN):
        assert [event async for event in client.stream()]
    assert traces(server) == [TRACEPARENT] * 2


async def test_so_does_the_call_that_continues_a_cut_text(client: AsyncClient, server: ScriptedServer) -> None:
    server.scripts = [[STARTED, delta("한글\n"), Abort(Status.UNAVAILABLE)], WHOLE]
    with use_span(SPAN):
        events = client.stream(seed=1)
        await anext(events)
    assert [event async for event in events]  # out of the span, and still of the same call
    assert traces(server) == [TRACEPARENT] * 2


def test_so_do_calls_of_a_program_without_an_event_loop(server: ScriptedServer) -> None:
    with Client(server.endpoint) as client, use_span(SPAN):
        assert list(client.stream())
    assert traces(server) == [TRACEPARENT]


async def test_a_call_outside_a_span_names_no_trace(client: AsyncClient, server: ScriptedServer) -> None:
    assert [event async for event in client.stream()]
    assert traces(server) == [None]


def test_a_program_without_opentelemetry_does_not_import_it(server: ScriptedServer) -> None:
    program = (
        "import sys; from nextchar_client import Client\n"
        f"with Client({server.endpoint!r}) as client: assert list(client.stream())\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
