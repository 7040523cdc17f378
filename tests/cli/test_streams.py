"""The standard streams of the commands: closed, without a reader, full, or of another encoding."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nextchar_cli.streams import OUTPUT_CLOSED

PROGRAM = """
import sys
from nextchar_cli.streams import prepare, unfailing_output
prepare()
with unfailing_output(lambda reason: print("lost:", reason, file=sys.stderr)):
    for number in range(3):
        print("한글 \\udce9", number, flush=True)
    print("no end", end="")
print("done", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("command", "code"), [("nextchar_client", 141), ("nextchar_server", 141), ("nextchar_training", 0)]
)
def test_help_whose_reader_has_seen_enough_ends_without_a_word(command: str, code: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-m", command, "--help"], stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (code, b"")
    assert code in (0, OUTPUT_CLOSED)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_no_character_fails(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"done\n")
    expected = "한글" if encoding == "utf-8" else "\\ud55c\\uae00"
    assert done.stdout.decode(encoding) == "".join(f"{expected} \\udce9 {n}\n" for n in range(3)) + "no end"


def test_output_that_has_lost_its_reader_is_no_failure() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"done\n")


def test_output_that_cannot_be_written_is_said_once() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (
        0,
        b"lost: standard output can't be written: No space left on device\ndone\n",
    )


def test_no_file_takes_the_place_of_a_closed_stream() -> None:
    program = "from nextchar_cli.streams import prepare; prepare(); f = open('/dev/null'); raise SystemExit(f.fileno())"
    done = subprocess.run(["sh", "-c", f'exec "{sys.executable}" -c "$0" <&- >&- 2>&-', program])
    assert done.returncode > 2
