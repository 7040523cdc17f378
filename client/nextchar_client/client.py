"""The client for programs without an event loop: scripts, notebooks, the command.

A thin face of ``AsyncClient``, which runs on an event loop in a thread of its own; each method here waits for it. So it
also works in a program that already runs a loop, such as a notebook.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Sequence
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from .async_client import AsyncClient
from .endpoint import DEFAULT_ENDPOINT
from .errors import CallCancelledError
from .feeding import fed_texts
from .fork import Origin
from .options import AccessOptions, GenerationOptions, ScoreOptions
from .results import Event
from .scores import ScoreEvent

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
    """``AsyncClient`` for programs without an event loop: the same calls, which block.

    Threads may share it, forked processes can't: there every method raises ``RuntimeError``. Use it with ``with``, or
    ``close`` it; a call that is still running then raises ``CallCancelledError``. Raises ``InvalidArgumentError`` if
    an argument is malformed, a file can't be used, or the token would leave this machine in plaintext.
    """

    def __init__(
        self,
        endpoint: str | Sequence[str] = DEFAULT_ENDPOINT,
        *,
        timeout: float | None = None,
        **access: Unpack[AccessOptions],
    ) -> None:
        self._origin = Origin()
        opened: concurrent.futures.Future[None] = concurrent.futures.Future()

        async def live() -> None:
            try:
                self._loop = asyncio.get_running_loop()
                self._closed = asyncio.Event()
                self._client = AsyncClient(endpoint, timeout=timeout, **access)
            except BaseException as error:
                opened.set_exception(error)
                return
            opened.set_result(None)
            async with self._client:
                await self._closed.wait()

        # A program that forgets to close still ends: the thread is a daemon, and atexit closes it before Python
        # freezes daemon threads.
        self._thread = threading.Thread(target=asyncio.run, args=(live(),), name="nextchar-client", daemon=True)
        self._thread.start()
        opened.result()
        atexit.register(self._close_at_exit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or self._origin.is_here:  # a forked process that leaves with an error keeps its own
            self.close()

    def close(self) -> None:
        """Ends all calls, closes the connection and stops the thread."""
        self._origin.require_here()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._closed.set)
            self._thread.join()
            atexit.unregister(self._close_at_exit)

    def _close_at_exit(self) -> None:
        if self._origin.is_here:
            self.close()

    def stream(
        self, prompt: str = "", *, with_resumed: bool = False, **options: Unpack[GenerationOptions]
    ) -> Generator[Event, None, None]:
        """Generates the text that follows ``prompt`` and yields it as it comes; ``GenerationOptions`` has the keywords.

        Yields one ``Started``, any number of ``Delta``, and one ``Finished``; ``with_resumed`` also a ``Resumed``
        whenever another server continues a text that was cut. An empty prompt is the start of a document. Leaving the
        loop early cancels the call. Raises ``IncompleteStreamError`` if the events don't make a whole text,
        ``DivergedError`` if a cut text can't be continued exactly.
        """
        yield from self._each(self._client.stream(prompt, with_resumed=with_resumed, **options))

    def score_stream(
        self, texts: Iterable[str | Iterable[str]], **options: Unpack[ScoreOptions]
    ) -> Generator[ScoreEvent, None, None]:
        """``AsyncClient.score_stream``, but blocks; ``ScoreOptions`` has the keywords.

        A thread of its own takes ``texts``, and each text in parts, a little ahead.
        """
        yield from self._each(self._client.score_stream(fed_texts(texts), **options))

    def _each(self, events: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Yields ``events``. Leaving the loop early closes them."""

        async def following() -> T | None:
            return await anext(events, None)

        while (event := self._wait(following())) is not None:
            try:
                yield event
            except BaseException:  # the reader left the loop; a failure of `following` has ended the stream already
                if self._origin.is_here and not self._loop.is_closed():
                    self._wait(events.aclose())
                raise

    generate = _blocking(AsyncClient.generate)
    """``AsyncClient.generate``, but blocks."""
    samples = _blocking(AsyncClient.samples)
    """``AsyncClient.samples``, but blocks."""
    score = _blocking(AsyncClient.score)
    """``AsyncClient.score``, but blocks."""
    complete = _blocking(AsyncClient.complete)
    """``AsyncClient.complete``, but blocks."""
    rescore = _blocking(AsyncClient.rescore)
    """``AsyncClient.rescore``, but blocks."""
    model = _blocking(AsyncClient.model)
    """``AsyncClient.model``, but blocks."""
    models = _blocking(AsyncClient.models)
    """``AsyncClient.models``, but blocks."""
    load_failures = _blocking(AsyncClient.load_failures)
    """``AsyncClient.load_failures``, but blocks."""
    health = _blocking(AsyncClient.health)
    """``AsyncClient.health``, but blocks."""

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs ``work`` on the client's loop and returns its result. An interrupt such as Ctrl-C cancels ``work``."""
        try:
            self._origin.require_here()
            if self._loop.is_closed():
                raise RuntimeError("the client is closed")
        except RuntimeError:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise CallCancelledError("the client was closed during the call") from None
        except BaseException:
            future.cancel()
            raise
