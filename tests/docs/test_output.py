"""The output that the quick start shows is the packaged model's."""

from __future__ import annotations

import pytest

from nextchar_server.settings.config import PACKAGED_MODEL
from nextchar_training.commands import main
from tests.support.pages import ROOT, blocks

PAGE = ROOT / "docs" / "quickstart.md"
COMMAND = '$ nextchar generate "ROMEO:" --seed 7 --max-characters 400\n'


def test_the_quick_start_shows_the_text_of_the_packaged_model(capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = [block.text.removeprefix(COMMAND) for block in blocks(PAGE) if COMMAND in block.text]
    # The same ids as a server's, without starting one.
    options = ["--prompt", "ROMEO:", "--seed", "7", "--characters", "400"]
    assert main(["sample", str(PACKAGED_MODEL), *options]) == 0
    assert capsys.readouterr().out == shown
