"""Callers of the HTTP API: a client, and the events of a stream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.serving import Serving


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    id: str
    data: Any
    """Its JSON; None of the last one, ``[DONE]``."""

    @property
    def text(self) -> str:
        """Its part of the text."""
        return "".join(choice["text"] for choice in self.data["choices"]) if self.data else ""


def http(serving: Serving, **options: Any) -> httpx.AsyncClient:
    """Returns a client of the server's HTTP port."""
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{serving.http_port}", timeout=60, **options)


@asynccontextmanager
async def opened(client: httpx.AsyncClient, last: str = "", **body: Any) -> AsyncIterator[AsyncIterator[Event]]:
    """Opens a stream, behind the event ``last`` if there is one, and yields its events."""
    headers = {"Last-Event-ID": last} if last else {}
    async with client.stream("POST", "/v1/completions", json={**body, "stream": True}, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        yield events_of(response)


async def events_of(response: httpx.Response) -> AsyncIterator[Event]:
    """Yields the events of an answer, without comments."""
    identifier = ""
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            identifier = value
        elif name == "data":
            yield Event(identifier, None if value == "[DONE]" else json.loads(value))
            identifier = ""


async def all_events(client: httpx.AsyncClient, last: str = "", **body: Any) -> list[Event]:
    """Returns the events of a whole stream."""
    async with opened(client, last, **body) as events:
        return [event async for event in events]


def text_of(events: list[Event]) -> str:
    """Returns the text of ``events``."""
    return "".join(event.text for event in events)
