"""The standard streams: safe to use, whatever the shell did to them."""

import os
import subprocess
import sys

import pytest

from nextchar_cli.streams import prepare


def run(redirection: str, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``code`` after ``prepare``, in a shell with ``redirection``."""
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirection}; exit ${{PIPESTATUS[0]}}', "bash", sys.executable, "-c",
         f"import os, sys\nfrom nextchar_cli.streams import prepare\nprepare(); prepare()\n{code}"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("redirection", ["2> /dev/full", "2>&-", "2>&1 >/dev/null | true"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_standard_error_that_cannot_be_written_fails_nothing(redirection: str, unbuffered: str) -> None:
    code = "for _ in range(100): print('x' * 1000, file=sys.stderr)\nsys.stderr.flush()\nsys.exit(7)"
    completed = run(redirection, code, PYTHONUNBUFFERED=unbuffered)
    assert (completed.returncode, completed.stdout) == (7, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_line_of_standard_error_is_written_at_once(unbuffered: str) -> None:
    assert run("", "print('here', file=sys.stderr)\nos._exit(0)", PYTHONUNBUFFERED=unbuffered).stderr == "here\n"


@pytest.mark.parametrize("redirection", ["<&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_place_of_a_closed_stream(redirection: str) -> None:
    assert run(redirection, "sys.exit(os.open('/dev/null', os.O_RDONLY))").returncode > 2


@pytest.mark.parametrize(("columns", "expected"), [("0", None), ("00", None), ("5", None), ("80", "80"), ("x", "x")])
def test_a_width_in_which_nothing_can_be_shown_counts_as_unknown(
    columns: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    prepare()
    assert os.environ.get("COLUMNS") == expected
