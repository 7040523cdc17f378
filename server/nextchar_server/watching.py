"""Watched files: certificates, callers and models that are replaced while the server runs.

Looks at the files every second, and at once on SIGHUP. A look follows symbolic links, so a file is found changed
whether it was written, renamed over, or is behind a link that now points elsewhere, as in Kubernetes' volumes.
Notifications of the system's kernel would miss the last one, and network file systems altogether.

Invariant: a callback is called once after each change that a look finds, one after another; one that fails is
logged, and the file is looked at further.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import structlog

INTERVAL = 1.0
"""Seconds between two looks."""

_log = structlog.get_logger()

State = tuple[tuple[str, int, int, int], ...]
"""The path, inode, size and time of change of each file that is there. Equal states mean unchanged files."""


class Watch:
    """Files that are looked at. Used on the event loop on which it runs."""

    def __init__(self) -> None:
        self._watched: list[_Watched] = []
        self._now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, paths: Callable[[], Iterable[Path]], changed: Callable[[], Awaitable[object]]) -> None:
        """Calls ``changed`` whenever the files that ``paths`` returns differ from those of the last look.

        ``paths`` is called in a thread, at every look, so it may list a folder. The first look is now, before ``start``
        and before the files are read, so that no change is missed.
        """
        self._watched.append(_Watched(paths, changed))

    def start(self) -> None:
        """Begins to look again and again."""
        if self._watched:
            self._task = asyncio.create_task(self._run())

    def look_now(self) -> None:
        """Calls every callback soon, changed or not."""
        self._now.set()

    async def stop(self) -> None:
        """Stops looking; a callback that runs is cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            asked = False
            try:
                async with asyncio.timeout(INTERVAL):
                    asked = await self._now.wait()
            except TimeoutError:
                pass
            self._now.clear()
            for watched in self._watched:
                try:
                    await watched.look(asked=asked)
                except Exception:
                    _log.exception("watch_failed")


class _Watched:
    """Files that belong together."""

    def __init__(self, paths: Callable[[], Iterable[Path]], changed: Callable[[], Awaitable[object]]) -> None:
        self._paths = paths
        self._changed = changed
        self._state = state(paths)

    async def look(self, *, asked: bool) -> None:
        """Calls the callback if a file has changed, or if ``asked``."""
        found = await asyncio.to_thread(state, self._paths)
        if found != self._state or asked:
            self._state = found
            await self._changed()


def state(paths: Callable[[], Iterable[Path]]) -> State:
    """Returns the state of the files that ``paths`` returns; those that are not there have none."""
    found = []
    for path in paths():
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))
