"""docker-compose.yml as committed, on a real engine, as a project of its own on free ports."""

import os
import re
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Project:
    """One Compose project on the engine."""

    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables that hold for all commands."""

    def compose(self, *arguments: str, timeout: float = 60, variables: dict[str, str] | None = None) -> str:
        """Runs Compose and returns its standard output."""
        return run(*self.command, *arguments, timeout=timeout, variables={**self.variables, **(variables or {})})

    def up(self, *, servers: int = 1, **variables: str) -> None:
        """Starts or replaces the services. Prometheus waits until the servers are healthy, so this waits too."""
        self.compose("up", "--detach", "--scale", f"server={servers}", timeout=120, variables=variables)

    def address(self, service: str, port: int, index: int = 1) -> str:
        """Address that a port of a replica is published on; it changes when the container restarts."""
        return self.compose("port", "--index", str(index), service, str(port)).strip()

    def container(self, service: str) -> str:
        """The id of the running container."""
        return self.compose("ps", "--quiet", service).strip()

    def containers(self, service: str) -> list[str]:
        """The ids of the running containers of a scaled service."""
        return self.compose("ps", "--quiet", service).split()

    def image(self, service: str) -> str:
        """The image of the running container."""
        return run("docker", "inspect", "--format", "{{.Image}}", self.container(service)).strip()

    def inside(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the running container."""
        return subprocess.run(
            ["docker", "exec", self.container(service), *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )


def run(*command: str, timeout: float = 60, variables: dict[str, str] | None = None) -> str:
    """Runs a command in the project's root and returns its standard output. It must exit with 0."""
    finished = subprocess.run(
        command,
        check=False,
        capture_output=True,
        cwd=ROOT,
        env=environment(**variables or {}),
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=timeout,
    )
    assert finished.returncode == 0, f"{shlex.join(command)}\n{finished.stdout[-4000:]}\n{finished.stderr[-4000:]}"
    return finished.stdout


def environment(**variables: str) -> dict[str, str]:
    """The environment of this process without variables that steer Compose or the server, and with free ports."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "NEXTCHAR_"))}
    ports = {f"NEXTCHAR_PUBLISHED_{name}_PORT": "0" for name in ("GRPC", "HTTP", "PROMETHEUS")}
    return kept | ports | variables


def compose_command() -> tuple[str, ...]:
    """The command of Compose, v1 or v2. Skips with the reason if it, the engine or a base image is missing."""

    def answers(*command: str) -> bool:
        return shutil.which(command[0]) is not None and (
            subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0
        )

    if not answers("docker", "info"):
        pytest.skip("`docker info` finds no engine")
    command = next((c for c in (("docker-compose",), ("docker", "compose")) if answers(*c, "version")), None)
    if command is None:
        pytest.skip("neither `docker-compose` nor `docker compose` answers")
    bases = set(re.findall(r"^FROM (\S+:\S+)", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE))
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
    bases |= {service["image"] for service in services if "image" in service and "profiles" not in service}
    assert len(bases) == 2
    for image in sorted(bases):
        if not answers("docker", "image", "inspect", image):
            pytest.skip(f"the base image is not here: docker pull {image}")
    return command


@contextmanager
def project(compose: tuple[str, ...], *files: str, **variables: str) -> Iterator[Project]:
    """A project with its images built and its server and Prometheus running; removed afterwards.

    ``files`` are Compose files on top of docker-compose.yml, and ``variables`` those that they take.
    """
    chosen = [argument for file in ("docker-compose.yml", *files) for argument in ("--file", file)]
    project = Project((*compose, *chosen, "--project-name", f"nextchar-test-{secrets.token_hex(4)}"), variables)
    try:
        project.compose("build", "server", timeout=300)
        project.up()
        yield project
    finally:
        down = ("--profile", "train", "down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "1")
        project.compose(*down, timeout=120)
