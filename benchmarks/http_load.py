"""The load generator for servers that stream over HTTP: the load and the report of ``nextchar bench``.

``python -m benchmarks.http_load DIALECT PORT ALPHABET [--streams N] ...`` prints the report as JSON. Closed loops only.
``servers`` runs it beside ``nextchar bench``, whose ``Load``, prompts and ``Measurement`` it shares, so the figures of
both mean the same. Invariant: a request that counts has completed only if all its characters came, which is how models
behave whose documents don't end by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp

from nextchar.v1 import generation_pb2 as pb
from nextchar_client import conversion
from nextchar_client.bench.load import Load, requests
from nextchar_client.bench.measurement import Measurement


@dataclass(frozen=True)
class Dialect:
    """How a server takes a request and sends characters."""

    path: str
    body: Callable[[pb.GenerateStreamRequest], dict[str, Any]]
    text: Callable[[Any], str]
    """Returns the characters of an event or of a line of JSON."""


def _texts(request: pb.GenerateStreamRequest) -> dict[str, Any]:
    parameters = request.parameters
    return {"prompt": request.prompt, "max_characters": parameters.max_characters, "seed": parameters.seed}


def _completions(request: pb.GenerateStreamRequest) -> dict[str, Any]:
    parameters = request.parameters
    return {"prompt": request.prompt, "max_tokens": parameters.max_characters, "seed": parameters.seed, "stream": True}


DIALECTS = {
    "texts": Dialect("/texts", _texts, lambda event: str(event["text"])),
    "completions": Dialect(
        "/v1/completions", _completions, lambda event: "".join(choice["text"] for choice in event["choices"])
    ),
}
"""Those of the baselines, and of our own server's HTTP API."""


class HttpLoad:
    """Puts ``load`` on the server on ``port`` of this machine; prompts are random characters of ``alphabet``."""

    def __init__(self, dialect: Dialect, port: int, load: Load, alphabet: Sequence[str]) -> None:
        self.measurement = Measurement(load)
        self.measurement.model = conversion.model(pb.Model(alphabet=alphabet))
        self._dialect = dialect
        self._url = f"http://127.0.0.1:{port}{dialect.path}"
        self._load = load
        self._requests = requests(load, alphabet)

    async def run(self) -> None:
        """Sends the whole load and waits for its end. If cancelled, ``measurement`` stays valid."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as self._session:
                self._sending = asyncio.create_task(self._send())
                await self._sending
        except asyncio.CancelledError:
            if not self.measurement.is_complete:
                raise
        finally:
            self.measurement.close()

    async def _send(self) -> None:
        assert self._load.streams is not None
        async with asyncio.TaskGroup() as group:
            for place in range(self._load.streams):
                group.create_task(self._call_in_turn(place * self._load.ramp / self._load.streams))

    async def _call_in_turn(self, delay: float) -> None:
        """One caller, who starts after ``delay`` seconds."""
        await asyncio.sleep(delay)
        while self._load.all_requests is None or self.measurement.sent < self._load.all_requests:
            await self._call()

    async def _call(self) -> None:
        """Sends the next request and reads its stream to the end."""
        measurement = self.measurement
        if measurement.sent == self._load.warm_up:
            measurement.open()
            if self._load.seconds is not None:
                asyncio.get_running_loop().call_later(self._load.seconds, self._close)
        counts = measurement.request_sent()
        request = next(self._requests)
        began = time.perf_counter()
        try:
            received = await self._read(request, began, counts=counts)
        except aiohttp.ClientError as error:
            status, complaint = type(error).__name__, str(error)
        else:
            wanted = request.parameters.max_characters
            status = "OK" if received == wanted else "INCOMPLETE"
            complaint = f"{received} characters came in place of {wanted}"
        finally:
            measurement.running -= 1
        if status == "OK":
            measurement.request_completed(time.perf_counter() - began, counts=counts)
        elif counts:
            measurement.request_failed(status, complaint)
        if measurement.is_complete:
            self._sending.cancel()

    async def _read(self, request: pb.GenerateStreamRequest, began: float, *, counts: bool) -> int:
        """Returns the number of characters that came. Raises ``ClientError`` if the server refuses or breaks off."""
        received, last = 0, None
        async with self._session.post(self._url, json=self._dialect.body(request)) as response:
            response.raise_for_status()
            async for line in response.content:
                start = line.find(b"{")
                if start < 0:  # an empty line between events, an id, or the end
                    continue
                characters = len(self._dialect.text(json.loads(line[start:])))
                if not characters:
                    continue
                received += characters
                now = time.perf_counter()
                self.measurement.characters_came(characters, None if last is None else now - last)
                if counts and last is None:
                    self.measurement.first_character_came(now - began)
                last = now
        return received

    def _close(self) -> None:
        self.measurement.close()
        if self.measurement.is_complete:
            self._sending.cancel()


def main() -> None:
    """Runs a load and prints its report; an interrupt reports on the requests so far."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dialect", choices=DIALECTS)
    parser.add_argument("port", type=int)
    parser.add_argument("alphabet")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--requests", type=int)
    parser.add_argument("--max-characters", type=int, default=256)
    parser.add_argument("--ramp", type=float, default=0.0)
    options = parser.parse_args()
    most = options.max_characters
    load = Load(options.streams, None, options.requests, options.seconds, 0, options.ramp, max_characters=(most, most))
    one = HttpLoad(DIALECTS[options.dialect], options.port, load, options.alphabet)
    with suppress(KeyboardInterrupt):
        asyncio.run(one.run())
    print(json.dumps(asdict(one.measurement.report())))


if __name__ == "__main__":
    main()
