"""The load generator: sends a load to a server and measures the answers, for ``nextchar bench``.

From ``Load`` to ``Measurement``. In a *closed loop* each of N callers sends its next request when its last one has
ended: it finds the server's capacity. An *open loop* sends at times that don't depend on the answers, as people do: it
finds how long people wait, including those who arrive while the server stalls (leaving them out is known as coordinated
omission).

It reads messages straight from the stub, because it must be faster than the server that it measures. Invariant: nothing
is retried; ``requests`` is the exact number of requests sent after the warm-up; with ``seconds``, the load continues,
uncounted, until all requests that count have ended, so that the last of them meet the same load as the first.
"""

from __future__ import annotations

import asyncio
import time
import unicodedata
from itertools import islice
from typing import Unpack

import grpc
import grpc.aio

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc as rpc

from .. import conversion
from ..access import Access
from ..diagnosis import Diagnosis
from ..errors import InternalError, InvalidArgumentError, error_of_call
from ..options import AccessOptions
from ..replicas import Replicas
from .load import Load, arrivals, requests
from .measurement import Measurement


class LoadGenerator:
    """Puts ``load`` on the server at ``endpoint`` and records the answers in ``measurement``.

    Prompts are cut from ``text``, or from random characters of the model's alphabet if it is None. ``AccessOptions``
    has the other keywords. Raises ``InvalidArgumentError`` if the text is shorter than the longest prompt, or as a
    client does.
    """

    def __init__(self, endpoint: str, load: Load, text: str | None = None, **access: Unpack[AccessOptions]) -> None:
        self.measurement = Measurement(load)
        self._access = Access(endpoint, **access)
        self._load = load
        self._text = None if text is None else unicodedata.normalize("NFC", text)
        longest = load.prompt_characters[1]
        if self._text is not None and len(self._text) < longest:
            raise InvalidArgumentError(
                f"prompt_characters: a prompt of {longest} can't be cut from a text of {len(self._text)} characters"
            )

    async def run(self) -> None:
        """Sends the whole load and waits for its end. If cancelled, it cancels its calls; ``measurement`` stays valid.

        Raises ``NextcharError`` if the server doesn't describe the model.
        """
        # A retried request would hide an error and look slow instead.
        self._servers = Replicas(self._access, rpc.GenerationServiceStub, ("grpc.enable_retries", 0))
        try:
            request = conversion.request(pb.GetModelRequest, name=self._load.model)
            try:
                answer = await self._servers.stub().GetModel(
                    request, timeout=self._load.timeout, metadata=self._access.metadata
                )
            except grpc.aio.AioRpcError as failure:
                raise await Diagnosis(self._access).explain(error_of_call(failure)) from failure
            if answer is None or not answer.model.alphabet:
                raise InternalError("the server's answer describes no model with an alphabet")
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
        finally:
            await self._servers.close()

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
        """One caller of a closed loop, who starts after ``delay`` seconds."""
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
        received = 0
        last: float | None = None
        call = self._servers.stub().GenerateStream(
            next(self._requests), timeout=load.timeout, metadata=self._access.metadata
        )
        try:
            async for message in call:
                if message is None:  # gRPC passes it on in place of one that it can't parse
                    status, complaint = "INTERNAL", "a message of the server can't be parsed"
                    break
                if characters := len(message.delta.text):
                    if message.delta.offset != received:
                        complaint = f"a delta starts at character {message.delta.offset} in place of {received}"
                        break
                    received += characters
                    now = time.perf_counter()
                    measurement.characters_came(characters, None if last is None else now - last)
                    if counts and last is None:
                        measurement.first_character_came(now - arrival)
                    last = now
                elif message.HasField("finished"):
                    if message.finished.finish_reason == pb.FINISH_REASON_DRAINING:
                        status, complaint = "DRAINING", "the server is shutting down and cut the text"
                    else:
                        status = "OK"
        except grpc.aio.AioRpcError as failure:
            status, complaint = failure.code().name, str(error_of_call(failure))
        finally:
            call.cancel()
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
