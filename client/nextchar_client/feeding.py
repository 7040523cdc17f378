"""Iterables on an event loop, although they may block: a file, a pipe, a terminal.

Invariant: nothing waits on the loop, and a source that blocks for ever keeps no process from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import TypeVar

T = TypeVar("T")

_AHEAD = 64  # items taken before the reader asks for them


async def fed(source: Iterable[T]) -> AsyncGenerator[T, None]:
    """Yields the items of ``source``, which is read in a thread of its own, a few items ahead. Raises as it does."""
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    has_left = threading.Event()

    def take() -> None:
        end: BaseException | None = None
        try:
            for item in source:
                room.acquire()
                if has_left.is_set():
                    return
                loop.call_soon_threadsafe(items.put_nowait, (item,))
        except RuntimeError as error:
            if loop.is_closed():
                return
            end = error
        except BaseException as error:
            end = error
        if not has_left.is_set():
            loop.call_soon_threadsafe(items.put_nowait, end)

    threading.Thread(target=take, name="nextchar-texts", daemon=True).start()
    try:
        while isinstance(item := await items.get(), tuple):
            room.release()
            yield item[0]
    finally:
        has_left.set()
        room.release()
    if item is not None:
        raise item


async def fed_texts(
    texts: Iterable[str | Iterable[str]],
) -> AsyncGenerator[str | AsyncIterable[str], None]:
    """Yields ``texts``; a text in parts, and the parts themselves, are read in threads of their own."""
    if isinstance(texts, str):
        raise TypeError("texts: it must be several texts, not one")
    async for text in fed(texts):
        yield text if isinstance(text, str) else fed(text)
