"""The life of a server's process: it serves until a signal, then drains.

Between the commands, or a worker, and the server.

Invariant: signals act from the moment on at which the server serves; before it, they end the process.
"""

from __future__ import annotations

import asyncio

import uvloop

from nextchar_model.description import ModelFileError
from nextchar_model.providers import ProviderError

from . import signals
from .group import Group
from .listening import StartError
from .server import Server
from .settings.config import Config


def run(config: Config, group: Group | None = None) -> int:
    """Runs ``serve`` and returns the exit code, 0. Raises ``StartError`` if the server can't start."""
    try:
        uvloop.run(serve(config, group))
        return 0
    except (ModelFileError, ProviderError) as error:
        raise StartError(str(error)) from error


async def serve(config: Config, group: Group | None = None) -> None:
    """Runs a server until a signal, then drains it; a second signal ends the running streams at once.

    A worker has a ``group``.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    server = Server(config, None if group is None else group.registry, group=group)
    await server.start()
    signals.reload_on(lambda: loop.call_soon_threadsafe(server.reload))
    signals.drain_on(
        lambda: loop.call_soon_threadsafe(stopping.set),
        lambda: loop.call_soon_threadsafe(server.hurry),
        config.lame_duck + config.drain_timeout,
    )
    await stopping.wait()
    await server.stop()
