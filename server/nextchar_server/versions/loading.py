"""Loading: a model file, opened and replayed beside the models that are being served.

Work for the background runs in a thread of its own, which is as nice as those of the lanes and dies with the process:
a model that is being loaded doesn't hold up the end of the server.

Invariant: a file that can't be served is a ``Refused`` with one of ``REASONS``, and nothing of it stays in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nextchar_model.description import ModelFileError
from nextchar_model.providers import ProviderError
from nextchar_model.runner import Replay, Runner
from nextchar_model.seal import BrokenSealError

from ..settings.config import Config
from .sources import Refused

REASONS = ("unreadable", "damaged", "invalid", "provider", "size", "name", "share", "error")
"""Why files are refused: the file can't be read; its content doesn't match its seal; it isn't a model file of this
version, or this machine computes it wrongly; its provider is missing; its alphabet needs larger requests than the
server takes; its name or its share can't be served; a bug, of which the log has the rest."""

PASSING = ("unreadable", "error")
"""Reasons that may pass without a change of the file."""

_NICENESS = 5  # of the lanes, too

_T = TypeVar("_T")


@dataclass(frozen=True)
class Loaded:
    """A model file that was opened, and replayed, which warms it up."""

    runner: Runner
    replay: Replay


def load(path: Path, config: Config) -> Loaded | Refused:
    """Loads the model file at ``path``."""
    try:
        runner = Runner(path, provider=config.provider, threads=config.threads_per_lane)
        return Loaded(runner, runner.replay())
    except ProviderError as error:
        return Refused("provider", str(error))
    except ModelFileError as error:
        return Refused(_reason(error), str(error))


def digest(path: Path) -> str:
    """Returns the SHA-256 of the file at ``path``, in hexadecimal; empty if it can't be read."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


async def in_background(work: Callable[[], _T]) -> _T:
    """Returns the result of ``work``, which runs in a thread that the end of the process doesn't wait for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if future.done():  # nobody waits any more
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def run() -> None:
        if sys.platform == "linux":  # elsewhere niceness belongs to the whole process, not to a thread
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
        outcome: tuple[_T | None, BaseException | None]
        try:
            outcome = work(), None
        except Exception as error:
            outcome = None, error
        with suppress(RuntimeError):  # the loop is closed: the server has ended
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="background", daemon=True).start()
    return await future


def _reason(error: ModelFileError) -> str:
    match error.__cause__:
        case OSError():
            return "unreadable"
        case BrokenSealError():
            return "damaged"
    return "invalid"


def _open_at_once(name: str, flags: int) -> int:
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer would keep its reader waiting
