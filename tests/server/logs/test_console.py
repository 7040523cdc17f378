"""The console: lines for people, which nothing that an event says can spoil."""

import os

from nextchar_server.logs.console import console
from nextchar_server.logs.lines import MAX_LINE, Event

EVENT: Event = {"event": "call", "model": "tiny", "seconds": 0.5, "level": "info", "timestamp": 0.0}


def shown(**fields: str) -> str:
    reader, writer = os.pipe()
    try:
        return console(writer)(EVENT | fields).decode()
    finally:
        os.close(reader)
        os.close(writer)


def test_a_line_has_the_event_and_its_fields_and_no_colours_in_a_pipe() -> None:
    line = shown()
    assert "call" in line
    assert "model=tiny" in line
    assert "\x1b" not in line
    assert line.count("\n") == 1


def test_a_terminal_gets_colours() -> None:
    reader, writer = os.openpty()
    try:
        assert b"\x1b[" in console(writer)(EVENT)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_text_that_would_obey_the_terminal_is_escaped() -> None:
    line = shown(model="\x1b[31m\n\u202e", event="a\nb\x1b[2J")
    assert line.count("\n") == 1
    assert not set("\x1b\u202e") & set(line)


def test_an_exception_keeps_its_lines() -> None:
    assert "  File\nValueError" in shown(exception="Traceback\n  File\nValueError\x1b[0m").replace("\\u001b[0m", "")


def test_a_line_is_bounded() -> None:
    assert len(shown(model="x" * 10**5)) == MAX_LINE + 1
