"""The check: one line for each part, and each part is looked at, whatever is wrong with the others."""

from pathlib import Path

import pytest

from nextchar_server.check import checked
from nextchar_server.settings.config import Config

pytestmark = pytest.mark.usefixtures("variables")


def check(capsys: pytest.CaptureFixture[str], config: Config) -> tuple[int, list[str]]:
    """Returns the exit code and the lines of a check."""
    code = checked(config)
    return code, capsys.readouterr().out.splitlines()


def test_each_part_that_is_good_has_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("k" * 32)
    code, lines = check(capsys, Config(token_key_file=keys))
    assert code == 0
    assert lines[0] == f"token keys: good: 1 from {keys}"
    assert lines[1].startswith("model shakespeare: good: ")
    assert "digest " in lines[1]
    assert len(lines) == 2


def test_a_part_that_is_wrong_is_named_with_the_reason_and_hides_no_other(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("short")
    none, damaged = tmp_path / "none.onnx", tmp_path / "damaged.onnx"
    damaged.write_bytes(b"nothing")
    config = Config(token_key_file=tmp_path / "keys", model=(str(none), str(damaged)))
    code, lines = check(capsys, config)
    assert code == 1
    assert [line.partition(": wrong: ")[0] for line in lines] == ["token keys", "model none", "model damaged"]
    assert f"{none}: can't be read: No such file or directory" in lines[1]
