"""The pod of deploy/kubernetes/overlays/production as a container of a real engine, with files of deploy/secrets.sh.

An engine is no cluster: probes, Services, policies and all that a cluster decides are left out.
"""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from nextchar_client import Client, Finished
from nextchar_server.settings.config import PACKAGED_MODEL
from tests.support.compose import run
from tests.support.manifests import (
    KUBERNETES,
    PRODUCTION,
    Manifest,
    environment_of,
    files_of,
    pod_of,
    rendered,
    server_of,
)
from tests.support.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.slow]

LONG_TEXT = 20_000
"""Characters that take longer than it takes the engine to send a signal."""


@pytest.fixture(scope="module")
def objects() -> list[Manifest]:
    return rendered(PRODUCTION)


@pytest.fixture(scope="module")
def image(compose: tuple[str, ...]) -> Iterator[str]:
    """The server's image."""
    build = ("docker", "build", "--quiet", "--network", "host", "--file", "deploy/Dockerfile", "--target", "server")
    image = run(*build, ".", timeout=300).strip()
    yield image
    run("docker", "rmi", "--force", image)


@pytest.fixture(scope="module")
def folder(objects: list[Manifest], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The volumes of the pod by name, with the files that docs/kubernetes.md puts there, and those of callers."""
    folder = tmp_path_factory.mktemp("volumes")
    made = folder / "made"
    for arguments in (("make", "nextchar-grpc", "nextchar-http"), ("caller", "alice")):
        run("deploy/secrets.sh", *arguments, variables={"NEXTCHAR_SECRETS": str(made)})
    keys = {"resume-keys": "resume-keys", "tokens": "tokens", "tls.crt": "server.crt", "tls.key": "server.key"}
    volumes = {"resume-keys": ["resume-keys"], "callers": ["tokens"], "tls": ["tls.crt", "tls.key"]}
    for volume, names in volumes.items():
        (folder / volume).mkdir()
        for name in names:
            shutil.copy(made / keys[name], folder / volume / name)
    for volume in ("config", "models"):
        (folder / volume).mkdir()
    for name, content in files_of(objects).items():
        (folder / "config" / name).write_text(content)
    shutil.copy(PACKAGED_MODEL, folder / "models" / "verse.onnx")
    return folder


def options_of(pod: Manifest, folder: Path) -> list[str]:
    """The options of ``docker run`` that correspond to the pod."""
    (server,) = pod["containers"]
    user, context = pod["securityContext"], server["securityContext"]
    options = ["--init", "--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--security-opt", "no-new-privileges"]
    options += [f"--read-only={str(context['readOnlyRootFilesystem']).lower()}"]
    options += [f"--cap-drop={each}" for each in context["capabilities"]["drop"]]
    options += [f"--memory={server['resources']['limits']['memory'].removesuffix('i')}"]
    options += [f"--publish=127.0.0.1::{port['containerPort']}" for port in server.get("ports", [])]
    options += [f"--env={name}={value}" for name, value in environment_of(server).items()]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in server["volumeMounts"]:
        if "emptyDir" in volumes[mount["name"]]:
            options += [f"--tmpfs={mount['mountPath']}"]
        else:
            access = "ro" if mount.get("readOnly") else "rw"
            options += [f"--volume={folder / mount['name']}:{mount['mountPath']}:{access}"]
    return options


@pytest.fixture
def container(objects: list[Manifest], image: str, folder: Path) -> Iterator[str]:
    """The container, once its startup probe succeeds."""
    started = run("docker", "run", "--detach", *options_of(pod_of(objects), folder), image, *server_of(objects)["args"])
    container = started.strip()
    try:
        asyncio.run(until(lambda: is_ready(objects, container, folder)))
        yield container
    finally:
        run("docker", "rm", "--force", container)


def address(container: str, port: int) -> str:
    return run("docker", "port", container, str(port)).splitlines()[0]


def is_ready(objects: list[Manifest], container: str, folder: Path) -> bool:
    """Whether the startup probe succeeds. Kubelets accept every certificate; this one must be the authority's."""
    probe = server_of(objects)["startupProbe"]["httpGet"]
    context = ssl.create_default_context(cafile=folder / "made" / "ca.crt")
    url = f"{probe['scheme'].lower()}://{address(container, 8080)}{probe['path']}"
    try:
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_it_serves_the_volume_over_tls_and_drains_within_the_grace_period(
    objects: list[Manifest], container: str, folder: Path
) -> None:
    token = (folder / "made" / "alice.token").read_text().strip()
    grace = pod_of(objects)["terminationGracePeriodSeconds"]
    endpoint = f"grpcs://{address(container, 50051)}"
    with Client(endpoint, tls_ca=folder / "made" / "ca.crt", token=token, timeout=120) as client:
        events = client.stream("ROMEO:", model="verse", seed=7, max_characters=LONG_TEXT)
        next(events)
        run("docker", "kill", "--signal", "TERM", container)
        finished = list(events)[-1]
    assert isinstance(finished, Finished)
    assert finished.usage.generated_characters == LONG_TEXT
    assert run("docker", "wait", container, timeout=grace).strip() == "0"


def test_the_pod_that_loads_models_brings_one_into_the_volume(image: str, tmp_path: Path) -> None:
    config, pod = yaml.safe_load_all((KUBERNETES / "load-model.yaml").read_text())
    for volume in ("models", "load"):
        (tmp_path / volume).mkdir()
    (tmp_path / "models").chmod(0o777)
    script = tmp_path / "load" / "load"
    script.write_text(config["data"]["load"])
    script.chmod(0o555)
    (loader,) = pod["spec"]["containers"]
    program, *arguments = loader["command"]
    options = [*options_of(pod["spec"], tmp_path), "--entrypoint", program]
    container = run("docker", "run", "--detach", *options, image, *arguments).strip()
    try:
        command = ["docker", "exec", "--interactive", container, "load", "verse"]
        done = subprocess.run(command, check=False, input=PACKAGED_MODEL.read_bytes(), timeout=120)
    finally:
        run("docker", "rm", "--force", container)
    assert done.returncode == 0
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["verse.onnx"]
    assert (tmp_path / "models" / "verse.onnx").read_bytes() == PACKAGED_MODEL.read_bytes()
