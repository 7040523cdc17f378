"""The script of docs/korean.md runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import ROOT


@pytest.mark.slow
def test_the_korean_example_runs_to_its_end(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "examples" / "korean.sh", tmp_path],
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RECORDS": "400",
            "EPOCHS": "1",
            "HIDDEN_SIZE": "16",
        },
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"nextchar-server --model {tmp_path}/korean.onnx" in done.stdout
    for alphabet in ("characters", "jamo", "bytes"):
        assert (tmp_path / alphabet / "report.md").exists()
    assert (tmp_path / "korean.onnx").exists()
