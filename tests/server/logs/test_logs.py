"""The logs: whatever Python reports is one JSON object per line. Each test is a process of its own."""

import json
import subprocess
import sys
from typing import Any

import pytest

from nextchar_server.logs.logs import MAX_TEXT

PREAMBLE = """
import logging, sys, threading, warnings
import structlog
from nextchar_server.logs import logs
logs.configure("info")
log = structlog.get_logger()
"""


def logged(code: str, *, exit_code: int = 0) -> list[dict[str, Any]]:
    """Runs ``code`` after the logs are configured, and returns the events in its log."""
    completed = subprocess.run(
        [sys.executable, "-c", f"{PREAMBLE}\n{code}\nlogs.close(10)"], capture_output=True, text=True, timeout=60
    )
    assert completed.returncode == exit_code
    return [json.loads(line) for line in completed.stderr.splitlines()]


def test_an_event_has_its_fields_its_level_and_its_time() -> None:
    (event,) = logged("log.info('served', port=1, name='m', ratio=0.5, none=None, is_ready=True)")
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "served",
        "port": 1,
        "name": "m",
        "ratio": 0.5,
        "none": None,
        "is_ready": True,
        "level": "info",
    }


def test_a_level_below_the_lowest_is_left_out() -> None:
    assert [event["event"] for event in logged("log.debug('no'); log.warning('yes')")] == ["yes"]


def test_values_of_any_kind_are_shown_as_they_are_now() -> None:
    (event,) = logged("""
class Hostile:
    def __repr__(self): raise ValueError
names = ['a']
log.info('e', nan=float('nan'), names=names, hostile=Hostile(), data=b'\\xff')
names.append('b')
""")
    assert (event["nan"], event["names"], event["hostile"], event["data"]) == ("nan", "['a']", "<Hostile>", "b'\\xff'")


def test_a_text_is_bounded() -> None:
    (event,) = logged("log.info('e', text='x' * 10**6)")
    assert event["text"] == "x" * MAX_TEXT + "…"


def test_of_a_long_exception_the_end_is_kept() -> None:
    (event,) = logged("""
def deep(depth):
    if depth: deep(depth - 1)
    else: raise ValueError('y' * 9000 + ' at the end')
try: deep(500)
except ValueError: log.exception('failed')
""")
    assert event["exception"].endswith(" at the end")
    assert len(event["exception"]) == MAX_TEXT + 1


def test_lines_of_libraries_have_the_same_form_and_the_request_id() -> None:
    (event,) = logged("""
structlog.contextvars.bind_contextvars(request_id='r')
logging.getLogger('library').info('no')
try: 1 / 0
except ZeroDivisionError: logging.getLogger('library').exception('failed: %s', 'here')
""")
    assert (event["event"], event["logger"], event["level"]) == ("failed: here", "library", "error")
    assert event["request_id"] == "r"
    assert event["exception"].endswith("ZeroDivisionError: division by zero\n")


def test_a_library_whose_arguments_do_not_fit_its_message_is_logged() -> None:
    (event,) = logged("logging.getLogger('library').error('%d bytes', 'some')")
    assert event["event"] == "%d bytes"


def test_a_text_printed_to_standard_error_is_a_line_of_the_log() -> None:
    lines = logged("print('a', 'b\\n\\nc', file=sys.stderr); sys.stderr.write('d' * 10**5); sys.stderr.flush()")
    assert [line["event"] for line in lines[:2]] == ["a b", "c"]
    assert [(line["logger"], line["event"][0]) for line in lines[2:]] == [("stderr", "d")]


def test_a_warning_of_python_is_a_line() -> None:
    (event,) = logged("warnings.warn('old', UserWarning)")
    assert "UserWarning: old" in event["event"]


@pytest.mark.parametrize(
    ("code", "event", "error"),
    [
        ("t = threading.Thread(target=lambda: 1 / 0, name='t'); t.start(); t.join()", "uncaught_exception", "division"),
        ("class A:\n    def __del__(self): 1 / 0\nA()", "ignored_exception", "division"),
        ("import asyncio\nasync def main(): asyncio.get_running_loop().call_soon(lambda: 1 / 0); "
         "await asyncio.sleep(0)\nasyncio.run(main())", "Exception in callback", "division"),
    ],
)  # fmt: skip
def test_an_exception_that_nobody_caught_is_a_line(code: str, event: str, error: str) -> None:
    (line,) = logged(code)
    assert line["event"].startswith(event)
    assert error in line["exception"]


def test_the_exception_that_ends_the_process_is_a_line() -> None:
    (event,) = logged("import atexit; atexit.register(logs.close, 10)\n1 / 0", exit_code=1)
    assert (event["event"], event["level"]) == ("uncaught_exception", "critical")


def test_a_crash_of_the_interpreter_keeps_its_last_words() -> None:
    completed = subprocess.run(
        [sys.executable, "-c", f"{PREAMBLE}\nimport ctypes\nctypes.string_at(0)"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert completed.returncode < 0
    assert "Fatal Python error: Segmentation fault" in completed.stderr


def test_the_line_of_a_server_that_cannot_start_is_plain_text_after_the_log() -> None:
    completed = subprocess.run(
        [sys.executable, "-c", f"{PREAMBLE}\nlog.warning('first')\nlogs.complain('error: no')\nlogs.close(10)"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    first, last = completed.stderr.splitlines()
    assert json.loads(first)["event"] == "first"
    assert last == "error: no"
