"""The load generator: sends a load to a server and counts what comes, for ``nextchar bench``.

From ``Load`` to ``Measurement``. A *closed loop* has so many callers, each of which sends its next request when its
last one has ended: it finds what a server can do. An *open loop* sends at times that do not depend on the answers, as
people do: it finds how long people wait, those too who come while the server stalls (to leave them out is known as
coordinated omission).

It reads messages straight from the stub, because it must not be slower than what it measures. What always holds:
nothing is retried; with ``requests``, exactly so many are sent; with ``seconds``, the load goes on, uncounted, until
all requests that count have ended, so that the last of them meet the same load as the first.
"""

from __future__ import annotations

import asyncio
import time
import unicodedata
from itertools import islice

import grpc
import grpc.aio

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc as rpc

from .. import conversion
from ..async_client import open_channel
from ..errors import InvalidArgumentError, error_of_call
from .load import Load, arrivals, requests
from .measurement import Measurement


class LoadGenerator:
    """Puts ``load`` on the server at ``endpoint`` and keeps count in ``measurement``.

    Prompts are cut from ``text``, or where it is None from random characters of the model's alphabet. Raises
    ``InvalidArgumentError`` for a text that is shorter than the longest prompt.
    """

    def __init__(self, endpoint: str, load: Load, text: str | None = None) -> None:
        self.measurement = Measurement(load)
        self._endpoint = endpoint
        self._load = load
        self._text = None if text is None else unicodedata.normalize("NFC", text)
        longest = load.prompt_characters[1]
        if self._text is not None and len(self._text) < longest:
            raise InvalidArgumentError(
                f"prompt_characters: {longest} of them cannot be cut from a text of {len(self._text)}"
            )

    async def run(self) -> None:
        """Sends the whole load and waits for its end. Cancelled, it cancels its calls, and ``measurement`` stands.

        Raises ``NextcharError`` where the server does not describe the model.
        """
        # A request that is tried again would hide an error, and look slow instead.
        async with open_channel(self._endpoint, ("grpc.enable_retries", 0)) as channel:
            self._stub = rpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call] # generated code
            request = pb.GetModelRequest(name=self._load.model)
            try:
                answer = await self._stub.GetModel(request, timeout=self._load.timeout)
            except grpc.aio.AioRpcError as failure:
                raise error_of_call(failure) from failure
            self.measurement.model = conversion.model(answer.model)
            self._requests = requests(self._load, self.measurement.model.alphabet, self._text)
            self._sending = asyncio.create_task(self._send())
            try:
                await self._sending
            except asyncio.CancelledError:
                if not self.measurement.is_complete:
                    raise
            finally:
                self.measurement.close()

    async def _send(self) -> None:
        load = self._load
        async with asyncio.TaskGroup() as group:
            if load.streams is not None:
                for place in range(load.streams):
                    group.create_task(self._call_in_turn(place * load.ramp / load.streams))
            else:
                began = time.perf_counter()
                for arrival in islice(arrivals(load), load.all_requests):
                    await asyncio.sleep(began + arrival - time.perf_counter())
                    group.create_task(self._call(began + arrival))

    async def _call_in_turn(self, delay: float) -> None:
        """One caller of a closed loop, who begins after ``delay`` seconds."""
        await asyncio.sleep(delay)
        while self._load.all_requests is None or self.measurement.sent < self._load.all_requests:
            await self._call(time.perf_counter())

    async def _call(self, arrival: float) -> None:
        """Sends the next request and reads its stream to the end; its times start at ``arrival``."""
        load, measurement = self._load, self.measurement
        if measurement.sent == load.warm_up:
            measurement.open()
            if load.seconds is not None:
                asyncio.get_running_loop().call_later(load.seconds, self._close)
        counts = measurement.request_sent()
        status, complaint = "INCOMPLETE", "the stream ended without its last event"
        came: float | None = None
        call = self._stub.GenerateStream(next(self._requests), timeout=load.timeout)
        try:
            async for message in call:
                if characters := len(message.delta.text):
                    now = time.perf_counter()
                    measurement.characters_came(characters, None if came is None else now - came)
                    if counts and came is None:
                        measurement.first_character_came(now - arrival)
                    came = now
                elif message.HasField("finished"):
                    if message.finished.finish_reason == pb.FINISH_REASON_DRAINING:
                        status, complaint = "DRAINING", "the server is shutting down and cut the text"
                    else:
                        status = "OK"
        except grpc.aio.AioRpcError as failure:
            status, complaint = failure.code().name, str(error_of_call(failure))
        finally:
            measurement.running -= 1
        if status == "OK":
            measurement.request_completed(time.perf_counter() - arrival, counts=counts)
        elif counts:
            measurement.request_failed(status, complaint)
        if measurement.is_complete:
            self._sending.cancel()

    def _close(self) -> None:
        self.measurement.close()
        if self.measurement.is_complete:
            self._sending.cancel()
