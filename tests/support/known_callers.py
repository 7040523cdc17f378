"""Calls with tokens, and a server that knows two callers."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from typing import Any

from nextchar.v1 import generation_pb2 as pb
from tests.support.serving import Serving
from tests.support.waiting import until

TOKEN, OTHER_TOKEN = "token-of-ann", "token-of-bob"
RELOADS = "nextchar_credentials_reloads_total"
ENDLESS = 2**31

Open = Callable[..., AbstractAsyncContextManager[Serving]]


def line(name: str, token: str, settings: str = "") -> str:
    """Returns a line of the list of tokens."""
    return f"{name} {sha256(token.encode()).hexdigest()} {settings}\n"


def shown(token: str) -> tuple[tuple[str, str], ...]:
    """Returns the metadata that shows ``token``."""
    return (("authorization", f"Bearer {token}"),)


def value(serving: Serving, name: str, **labels: str) -> float:
    """Returns a metric of the server."""
    return serving.server._metrics.registry.get_sample_value(name, labels) or 0


def stream(serving: Serving, token: str = TOKEN, **parameters: Any) -> Any:
    """Begins a text."""
    parameters = {"max_characters": 20, **parameters}
    request = pb.GenerateStreamRequest(prompt="the", parameters=pb.GenerationParameters(**parameters))
    return serving.stub.GenerateStream(request, metadata=shown(token))


async def characters(call: Any) -> int:
    """Returns the number of characters that are left of a text."""
    return sum([len(event.delta.text) async for event in call])


async def looked(serving: Serving, result: str) -> None:
    """Lets the server look at its files, and waits until it has read them."""
    before = value(serving, RELOADS, result=result)
    serving.server.reload()
    await until(lambda: value(serving, RELOADS, result=result) > before)
