"""The Job of docs/batch.md, with its pods run one after the other as commands of this machine."""

from pathlib import Path
from typing import Any

import yaml

from nextchar_client.commands import main
from tests.support.pages import ROOT
from tests.support.tiny_model import TinyModel

JOB: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "batch-job.yaml").read_text())
COUNT = "--count=50"  # of two, the last one counts


def test_the_outputs_of_the_pods_in_order_are_the_whole(tiny: TinyModel, tmp_path: Path) -> None:
    spec = JOB["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    program, *verb = container["command"]
    assert (program, spec["completionMode"]) == ("nextchar", "Indexed")
    (tmp_path / "model.onnx").symlink_to(tiny.int8)
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    for index in range(spec["completions"]):
        words = [word.replace("$(JOB_COMPLETION_INDEX)", str(index)) for word in container["args"]]
        for mount in mounts:
            words = [word.replace(f"={mount}/", f"={tmp_path}/") for word in words]
        assert main([*verb, *words, COUNT]) == 0
    options = [word for word in words if not word.startswith(("--shard", "--out"))]
    assert main([*verb, *options, COUNT, f"--out={tmp_path}/whole.jsonl"]) == 0
    parts = [(tmp_path / f"names-{index}.jsonl").read_bytes() for index in range(spec["completions"])]
    assert all(parts)
    assert b"".join(parts) == (tmp_path / "whole.jsonl").read_bytes()
