"""``docker-compose up --scale server=3`` on a real engine: texts are whole although two replicas go."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from nextchar_client import AsyncClient, Delta, Resumed
from tests.support.compose import Project, run

pytestmark = pytest.mark.docker

STREAMS = 4
LONG_TEXT = 60_000
"""Characters that take longer than it takes the engine to kill a container."""


@pytest.fixture
def replicas(stack: Project) -> Iterator[Project]:
    stack.up(servers=3, NEXTCHAR_TOKEN_KEY="key" * 11)
    yield stack
    stack.up()


def addresses(project: Project) -> str:
    """The published addresses of the replicas, as a client takes them."""
    return ",".join(project.address("server", 50051, index) for index in (1, 2, 3))


async def streamed(client: AsyncClient, begun: asyncio.Event) -> tuple[str, bool]:
    """A text, and whether another replica continued it. Sets ``begun`` once its first characters are there."""
    parts, resumed = [], False
    stream = client.stream("ROMEO:", with_resumed=True, seed=7, max_characters=LONG_TEXT, resume_interval=1000)
    async with aclosing(stream) as events:
        async for event in events:
            resumed |= isinstance(event, Resumed)
            if isinstance(event, Delta):
                begun.set()
                parts.append(event.text)
    return "".join(parts), resumed


async def test_texts_are_whole_though_one_replica_stops_and_another_is_killed(replicas: Project) -> None:
    killed, stopped, _ = replicas.containers("server")
    async with AsyncClient(addresses(replicas), timeout=300) as client:
        begun = [asyncio.Event() for _ in range(STREAMS)]
        streams = [asyncio.create_task(streamed(client, event)) for event in begun]
        for event in begun:
            await event.wait()
        stop = asyncio.to_thread(run, "docker", "stop", "--time", "40", stopped)
        await asyncio.gather(stop, asyncio.to_thread(run, "docker", "kill", killed))
        results = await asyncio.gather(*streams)
        undisturbed, _ = await streamed(client, asyncio.Event())
    assert len(undisturbed) == LONG_TEXT
    assert {text for text, _ in results} == {undisturbed}
    assert any(resumed for _, resumed in results)
    assert run("docker", "inspect", "--format", "{{.State.ExitCode}}", stopped).strip() == "0"
