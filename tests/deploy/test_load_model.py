"""deploy/kubernetes/load-model.yaml: a file that is good is served by its name, and a bad one gets no further."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.pages import ROOT
from tests.support.tiny_model import TinyModel


@pytest.fixture
def load(tmp_path: Path) -> Path:
    """The script of the ConfigMap, beside a command nextchar-server of this environment."""
    config: dict[str, Any] = next(yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "load-model.yaml").read_text()))
    script = tmp_path / "bin" / "load"
    script.parent.mkdir()
    script.write_text(config["data"]["load"])
    server = script.with_name("nextchar-server")
    server.write_text(f'#!/bin/sh\nexec {sys.executable} -m nextchar_server "$@"\n')
    for program in (script, server):
        program.chmod(0o755)
    (tmp_path / "models").mkdir()
    return script


def loaded(load: Path, content: bytes) -> tuple[int, dict[str, bytes]]:
    """The exit code, and the files in the folder of the models afterwards."""
    models = load.parents[1] / "models"
    environment = {**os.environ, "MODELS": str(models), "PATH": f"{load.parent}:{os.environ['PATH']}"}
    done = subprocess.run([load, "verse"], check=False, input=content, env=environment, timeout=120)
    return done.returncode, {path.name: path.read_bytes() for path in models.iterdir()}


def test_a_good_file_is_renamed_into_place(load: Path, tiny: TinyModel) -> None:
    content = tiny.int8.read_bytes()
    assert loaded(load, content) == (0, {"verse.onnx": content})


def test_a_file_that_was_cut_off_leaves_nothing(load: Path, tiny: TinyModel) -> None:
    assert loaded(load, tiny.int8.read_bytes()[:-1000]) == (1, {})
