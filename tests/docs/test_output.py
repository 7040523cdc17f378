"""The output that README shows is the packaged model's."""

from __future__ import annotations

import subprocess
import sys

from nextchar_server.config import PACKAGED_MODEL
from tests.support.pages import ROOT, blocks

COMMAND = '$ nextchar generate "ROMEO:" --seed 7 --max-characters 400\n'


def test_the_readme_shows_the_text_of_the_packaged_model() -> None:
    (shown,) = [block.text.removeprefix(COMMAND) for block in blocks(ROOT / "README.md") if COMMAND in block.text]
    # The same ids as a server's, without starting one.
    options = ["--prompt", "ROMEO:", "--seed", "7", "--characters", "400"]
    written = subprocess.run(
        [sys.executable, "-m", "nextchar_training", "sample", PACKAGED_MODEL, *options],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown == written
