"""Callers of replicas by one name, run inside a container of the server's image: ``python - NAME STREAMS``.

Each asks for its own text, one time after another, until standard input ends. Then each asks once more, and compares.
Prints a line once all have begun, and at the end a line of JSON with the counts.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import aclosing

from nextchar_client import AsyncClient, Delta, NextcharError, Resumed

CHARACTERS = 1000


class Callers:
    """The counts of all callers."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.texts: list[set[str]] = []
        self.count = 0
        self.resumed = 0
        self.errors: list[str] = []

    async def text(self, seed: int) -> str:
        """One text, whole."""
        parts = []
        stream = self.client.stream(
            "ROMEO:", with_resumed=True, seed=seed, max_characters=CHARACTERS, resume_interval=500
        )
        async with aclosing(stream) as events:
            async for event in events:
                self.resumed += isinstance(event, Resumed)
                if isinstance(event, Delta):
                    parts.append(event.text)
        return "".join(parts)

    async def ask(self, seed: int, end: asyncio.Event, begun: asyncio.Semaphore) -> set[str]:
        """The different texts that one caller receives."""
        texts: set[str] = set()
        while not end.is_set():
            try:
                texts.add(await self.text(seed))
                self.count += 1
            except NextcharError as error:
                self.errors.append(str(error))
            begun.release()
        return texts


async def main(name: str, streams: int) -> None:
    """Runs the callers."""
    end, begun = asyncio.Event(), asyncio.Semaphore(0)
    async with AsyncClient(name, timeout=300) as client:
        callers = Callers(client)
        asked = [asyncio.create_task(callers.ask(seed, end, begun)) for seed in range(streams)]
        for _ in range(streams):
            await begun.acquire()
        print("begun", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        end.set()
        received = await asyncio.gather(*asked)
        undisturbed = await asyncio.gather(*(callers.text(seed) for seed in range(streams)))
    different = sum(texts != {text} for texts, text in zip(received, undisturbed, strict=True))
    counts = {"texts": callers.count, "resumed": callers.resumed, "different": different, "errors": callers.errors}
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
