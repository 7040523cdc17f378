"""The manifests of deploy/kubernetes, as kustomize renders them, and the configuration of a server in such a pod."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from nextchar_server import cli
from nextchar_server.settings.config import Config
from tests.support.pages import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
PRODUCTION = KUBERNETES / "overlays" / "production"
COMPONENTS = sorted(path.name for path in (KUBERNETES / "components").iterdir())

Manifest = dict[str, Any]


def rendered(folder: Path) -> list[Manifest]:
    """The objects of a kustomization. Skips if there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl, whose kustomize renders the manifests")
    done = subprocess.run(["kubectl", "kustomize", folder], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "kustomize warns of old syntax"
    return list(yaml.safe_load_all(done.stdout))


def base_with(folder: Path, *components: str) -> list[Manifest]:
    """The objects of the base with these components, by a kustomization that it writes into ``folder``."""
    here = os.path.relpath(KUBERNETES, folder.resolve())
    kustomization = {
        "resources": [f"{here}/base"],
        "components": [f"{here}/components/{component}" for component in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return rendered(folder)


def one(objects: Sequence[Manifest], kind: str, name: str = "nextchar") -> Manifest:
    """The object of that kind and name."""
    (found,) = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pod_of(objects: Sequence[Manifest]) -> Manifest:
    """The specification of the Deployment's pods."""
    spec: Manifest = one(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def server_of(objects: Sequence[Manifest]) -> Manifest:
    """The server's container in it."""
    (container,) = pod_of(objects)["containers"]
    found: Manifest = container
    return found


def files_of(objects: Sequence[Manifest]) -> dict[str, str]:
    """The files of the ConfigMap that the pods mount."""
    (mounted,) = [volume["configMap"]["name"] for volume in pod_of(objects)["volumes"] if "configMap" in volume]
    files: dict[str, str] = one(objects, "ConfigMap", mounted)["data"]
    return files


def environment_of(container: Manifest) -> dict[str, str]:
    """The variables of a container, those that refer to its resources with their values."""
    variables = {}
    for variable in container["env"]:
        if (reference := variable.get("valueFrom")) is not None:
            group, resource = reference["resourceFieldRef"]["resource"].split(".")
            variables[variable["name"]] = container["resources"][group][resource]
        else:
            variables[variable["name"]] = variable["value"]
    return variables


def settings_of(objects: Sequence[Manifest], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The settings of a server in such a pod. Its configuration file is written into ``folder``."""
    container = server_of(objects)
    for name, content in files_of(objects).items():
        (folder / name).write_text(content)
    for name in os.environ:
        if name.startswith("NEXTCHAR_"):
            monkeypatch.delenv(name)
    for name, value in environment_of(container).items():
        monkeypatch.setenv(name, value)
    options = [option.replace("/etc/nextchar/", f"{folder}/") for option in container["args"]]
    _, bound, _ = cli.app.parse_args(options, exit_on_error=False, print_error=False)
    config = bound.arguments["config"]
    assert isinstance(config, Config)
    return config
