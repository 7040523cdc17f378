"""The client for programs without an event loop: scripts, notebooks, the command.

A thin face: the asynchronous client runs on an event loop in a thread of its own, and each method here waits for it,
so it also works where a loop is running already, as in a notebook.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import functools
import threading
from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from .async_client import DEFAULT_ENDPOINT, AsyncClient
from .errors import CallCancelledError
from .options import GenerationOptions
from .results import Event

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    """The method of ``Client`` that waits for ``method``: same signature, same documentation."""

    @functools.wraps(method)
    def wait(client: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return client._wait(method(client._client, *args, **kwargs))

    return wait


class Client:
    """``AsyncClient`` for programs without an event loop: the same calls, which wait.

    Threads may share it. Use it with ``with``, or ``close`` it; a call that still runs then raises
    ``CallCancelledError``.
    """

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT, *, timeout: float | None = None) -> None:
        opened: concurrent.futures.Future[None] = concurrent.futures.Future()

        async def live() -> None:
            try:
                self._loop = asyncio.get_running_loop()
                self._closed = asyncio.Event()
                self._client = AsyncClient(endpoint, timeout=timeout)
            except BaseException as error:
                opened.set_exception(error)
                return
            opened.set_result(None)
            async with self._client:
                await self._closed.wait()

        # A program that forgets to close still ends: the thread is a daemon, and closed before Python freezes daemons.
        self._thread = threading.Thread(target=asyncio.run, args=(live(),), name="nextchar-client", daemon=True)
        self._thread.start()
        opened.result()
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all calls and the connection, and then the thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._closed.set)
            self._thread.join()
            atexit.unregister(self.close)

    def stream(self, prompt: str = "", **options: Unpack[GenerationOptions]) -> Generator[Event, None, None]:
        """``AsyncClient.stream`` as a plain generator. Leaving the loop early cancels the call."""
        events = self._client.stream(prompt, **options)

        async def following() -> Event | None:
            return await anext(events, None)

        while (event := self._wait(following())) is not None:
            try:
                yield event
            except BaseException:  # the loop was left early; where `following` fails, the stream has ended itself
                if not self._loop.is_closed():
                    self._wait(events.aclose())
                raise

    generate = _blocking(AsyncClient.generate)
    score = _blocking(AsyncClient.score)
    model = _blocking(AsyncClient.model)
    models = _blocking(AsyncClient.models)
    health = _blocking(AsyncClient.health)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work`` on the client's loop. An interrupt of the wait, such as Ctrl-C, cancels it there."""
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise CallCancelledError("the client was closed during the call") from None
        except BaseException:
            future.cancel()
            raise
