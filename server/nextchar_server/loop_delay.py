"""The delay of the event loop: how late it wakes up.

Stands beside the server, which runs it. A loop that is late delays every call, and nothing else shows that.

Invariant: costs two short turns of the loop per second.
"""

from __future__ import annotations

import asyncio

from prometheus_client import Histogram

_PAUSE = 0.5  # seconds


async def observe_delay(delay: Histogram) -> None:
    """Observes the delay of the running loop for ever, in seconds."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _PAUSE
        await asyncio.sleep(_PAUSE)
        delay.observe(max(0.0, loop.time() - due))
