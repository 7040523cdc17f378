import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["nextchar", "nextchar-server", "nextchar-train"])
def test_each_command_tells_the_version(command: str) -> None:
    path = Path(sys.executable).with_name(command)
    result = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"nextchar {version('nextchar')}\n"
