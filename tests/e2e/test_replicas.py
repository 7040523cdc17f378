"""``docker-compose up --scale server=3`` on a real engine: texts are whole though replicas go or are replaced."""

import asyncio
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nextchar_client import AsyncClient, Delta, Resumed
from tests.support import rolling_callers
from tests.support.compose import Project, run

pytestmark = pytest.mark.docker

STREAMS = 4
MANY_STREAMS = 64
NETWORK = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}"
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


def active_streams(container: str) -> float:
    """How many texts a replica generates right now."""
    address = run("docker", "port", container, "8080/tcp").split()[0]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(str(answer.read(), "utf-8"))
    return sum(s.value for family in families if family.name == "nextchar_active_streams" for s in family.samples)


async def test_texts_are_whole_though_one_replica_stops_and_another_is_killed(replicas: Project) -> None:
    async with AsyncClient(addresses(replicas), timeout=300) as client:
        begun = [asyncio.Event() for _ in range(STREAMS)]
        streams = [asyncio.create_task(streamed(client, event)) for event in begun]
        for event in begun:
            await event.wait()
        # The first replica that is ready may have all streams, so the busiest are those that go.
        killed, stopped, _ = sorted(replicas.containers("server"), key=active_streams, reverse=True)
        stop = asyncio.to_thread(run, "docker", "stop", "--time", "40", stopped)
        await asyncio.gather(stop, asyncio.to_thread(run, "docker", "kill", killed))
        results = await asyncio.gather(*streams)
        undisturbed, _ = await streamed(client, asyncio.Event())
    assert len(undisturbed) == LONG_TEXT
    assert {text for text, _ in results} == {undisturbed}
    assert any(resumed for _, resumed in results)
    assert run("docker", "inspect", "--format", "{{.State.ExitCode}}", stopped).strip() == "0"


@pytest.fixture
def callers(replicas: Project) -> Iterator[subprocess.Popen[str]]:
    """Callers in a container of their own, which know the replicas by the name of the service, as pods do."""
    network = run("docker", "inspect", "--format", NETWORK, replicas.container("prometheus")).strip()
    script = Path(rolling_callers.__file__).read_text()
    options = [
        "--network",
        network,
        "--entrypoint",
        "python",
        run("docker", "inspect", "--format", "{{.Image}}", replicas.containers("server")[0]).strip(),
        "-c",
        script,
    ]
    command = ["docker", "run", "--rm", "--init", "--interactive", *options, "dns:///server:50051", str(MANY_STREAMS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.slow
def test_all_replicas_are_replaced_one_after_another_beside_64_streams_without_an_error(
    replicas: Project, callers: subprocess.Popen[str]
) -> None:
    before = set(replicas.containers("server"))
    assert callers.stdout is not None
    assert callers.stdout.readline() == "begun\n"
    run("deploy/rolling-restart.sh", *replicas.command, timeout=300, variables={"NEXTCHAR_TOKEN_KEY": "key" * 11})
    said, _ = callers.communicate(timeout=300)
    counts = json.loads(said)
    assert (counts["errors"], counts["different"]) == ([], 0)
    assert counts["texts"] > MANY_STREAMS
    after = set(replicas.containers("server"))
    assert len(after) == 3
    assert not before & after
