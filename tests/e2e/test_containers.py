"""docker-compose.yml as committed, on a real engine, as a project of its own on free ports.

Skips with the reason if there is no engine, no Compose, or no base image.
"""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

import pytest

from nextchar_client import Client, Delta, Finished, FinishReason, GenerationOptions
from tests.support.compose import ROOT, Project, environment, project, run

pytestmark = pytest.mark.docker

WHEELS = ROOT / "deploy" / "wheels"
LONG_TEXT = 40_000
"""Characters that take longer than it takes the engine to stop a container, and far less than the drain timeout."""

ALWAYS_A = {"a": 100.0}
"""A bias with which no model ends a text by itself."""


def generate(project: Project, **options: Unpack[GenerationOptions]) -> str:
    """Generates text through the published port."""
    with Client(project.address("server", 50051), timeout=60) as client:
        return "".join(e.text for e in client.stream("ROMEO:", **options) if isinstance(e, Delta))


def metrics(project: Project) -> str:
    with urllib.request.urlopen(f"http://{project.address('server', 8080)}/metrics", timeout=10) as answer:
        return str(answer.read(), "utf-8")


def test_up_returns_with_a_healthy_server(stack: Project) -> None:
    health = run("docker", "inspect", "--format", "{{.State.Health.Status}}", stack.container("server"))
    assert health.strip() == "healthy"


def test_the_published_port_streams_the_same_text_for_the_same_seed(stack: Project) -> None:
    text = generate(stack, seed=7, max_characters=40)
    assert text
    assert generate(stack, seed=7, max_characters=40) == text


def test_promtool_has_nothing_to_say_about_the_metrics(stack: Project) -> None:
    generate(stack, max_characters=40)
    linter = ("docker", "exec", "--interactive", stack.container("prometheus"), "promtool", "check", "metrics")
    answer = subprocess.run(linter, check=False, capture_output=True, input=metrics(stack), text=True, timeout=60)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_promtool_accepts_the_configuration_of_prometheus(stack: Project) -> None:
    answer = stack.inside("prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yml")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_prometheus_scrapes_the_characters_that_were_generated(stack: Project) -> None:
    generate(stack, max_characters=40)
    query = urllib.parse.urlencode({"query": "sum(nextchar_generated_characters_total) > 0"})
    url = f"http://{stack.address('prometheus', 9090)}/api/v1/query?{query}"
    result: list[object] = []
    deadline = time.monotonic() + 60
    while not result:
        assert time.monotonic() < deadline, "Prometheus has no characters"
        time.sleep(0.5)  # Prometheus announces no scrape
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:  # it does not listen yet
            continue


def test_a_check_in_a_container_says_what_a_server_would_load(stack: Project) -> None:
    said = stack.compose("run", "--rm", "-T", "server", "--check")
    assert "model shakespeare: good: " in said


def test_the_server_is_not_root(stack: Project) -> None:
    answer = stack.inside("server", "id", "-u")
    assert answer.returncode == 0
    assert int(answer.stdout) != 0


@pytest.mark.parametrize("service", ["server", "prometheus"])
def test_memory_and_processes_are_limited(stack: Project, service: str) -> None:
    limits = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}"
    assert run("docker", "inspect", "--format", limits, stack.container(service)).split() == [str(2**30), "512"]


def test_the_server_may_open_thousands_of_files(stack: Project) -> None:
    assert int(stack.inside("server", "sh", "-c", "ulimit -n").stdout) >= 8192


@pytest.mark.parametrize("path", ["/probe", "/models/probe"])
def test_the_server_can_write_neither_its_root_file_system_nor_the_models(stack: Project, path: str) -> None:
    answer = stack.inside("server", "touch", path)
    assert answer.returncode != 0
    assert "Read-only file system" in answer.stderr


def test_the_server_image_holds_no_torch(stack: Project) -> None:
    answer = stack.inside("server", "python", "-c", "import torch")
    assert answer.returncode != 0
    assert "No module named 'torch'" in answer.stderr


def test_the_server_image_holds_no_training(stack: Project) -> None:
    answer = stack.inside("server", "python", "-c", "import nextchar_model, nextchar_training")
    assert answer.returncode != 0
    assert "No module named 'nextchar_training'" in answer.stderr


def test_stop_lets_a_running_stream_finish_and_exits_with_0(stack: Project) -> None:
    server = stack.container("server")
    with Client(stack.address("server", 50051), timeout=120) as client:
        events = client.stream("ROMEO:", character_bias=ALWAYS_A, max_characters=LONG_TEXT)
        received = [next(events), next(events)]
        log = subprocess.Popen(
            ["docker", "logs", "--follow", server], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        stop = subprocess.Popen(
            [*stack.command, "stop", "server"], cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL
        )
        with log, stop:
            assert log.stdout is not None
            assert any(json.loads(line)["event"] == "draining" for line in log.stdout)
            received += events
            assert stop.wait(timeout=60) == 0
    finished = received[-1]
    assert isinstance(finished, Finished)
    assert finished.finish_reason is FinishReason.MAX_CHARACTERS
    assert sum(len(event.text) for event in received if isinstance(event, Delta)) == LONG_TEXT
    assert run("docker", "inspect", "--format", "{{.State.ExitCode}}", server).strip() == "0"
    stack.up()


@pytest.fixture
def cpu_torch() -> Iterator[None]:
    """Puts PyTorch's CPU build into deploy/wheels, for the training image.

    Asks for the exact local version, which no CUDA build has, so pip downloads nothing large by mistake.
    """
    if any(WHEELS.glob("torch-*.whl")):
        yield
        return
    version = re.search(r"^torch==([\d.]+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert version is not None
    requirement = f"torch=={version[1]}+cpu"
    options = ["--no-deps", "--only-binary", ":all:", "--python-version", "3.11", "--dest", str(WHEELS)]
    download = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, requirement],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if download.returncode != 0:
        pytest.skip(f"pip finds no {requirement}: {download.stderr.strip().splitlines()[-1]}")
    yield
    for wheel in WHEELS.glob("torch-*.whl"):
        wheel.unlink()


@pytest.mark.slow
def test_a_server_serves_what_train_makes(compose: tuple[str, ...], cpu_torch: None, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"  # small, since the whole held-out part is evaluated at the end
    corpus.write_text("\n".join(path.read_text() for path in sorted((ROOT / "server").rglob("*.py"))))
    training = {"NEXTCHAR_TRAIN_CORPUS": "/corpus.txt", "NEXTCHAR_TRAIN_NAME": "ours", "NEXTCHAR_TRAIN_MINUTES": "0.1"}
    with project(compose) as trained:
        trained.compose("build", "train", timeout=600)
        once = ("run", "--rm", "-T", "-v", f"{corpus}:/corpus.txt:ro", "-e", "OMP_NUM_THREADS=1", "train")
        trained.compose(*once, timeout=300, variables=training)
        trained.up(NEXTCHAR_MODEL="/models/ours.onnx")
        with Client(trained.address("server", 50051), timeout=60) as client:
            assert [model.name for model in client.models()] == ["ours"]
            assert client.generate("import ", max_characters=40, character_bias=ALWAYS_A).text == "a" * 40
