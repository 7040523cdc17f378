"""The troubles of an export: one line of a kind per minute, and none is lost from the count."""

import logging

from nextchar_server.tracing.troubles import Troubles


class Log(logging.Handler):
    """A log that keeps its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("opentelemetry.exporter", logging.WARNING, "", 0, message, arguments, None)


def test_of_one_kind_a_line_is_written_per_minute_which_counts_the_others() -> None:
    clock, log = Clock(), Log()
    troubles = Troubles(clock=clock)
    logging.getLogger().addHandler(log)
    try:
        for second in range(121):
            clock.now = second
            troubles.emit(record("no answer from %s", second))
    finally:
        logging.getLogger().removeHandler(log)
    assert log.lines == [
        "no answer from 0",
        "no answer from 60 (59 more since the last such line)",
        "no answer from 120 (59 more since the last such line)",
    ]


def test_lines_of_another_kind_are_written() -> None:
    log = Log()
    troubles = Troubles(clock=Clock())
    logging.getLogger().addHandler(log)
    try:
        troubles.emit(record("no answer"))
        troubles.emit(record("no room"))
    finally:
        logging.getLogger().removeHandler(log)
    assert log.lines == ["no answer", "no room"]
