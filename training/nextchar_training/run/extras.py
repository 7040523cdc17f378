"""The extras of a training: pictures, reports, samples, TensorBoard and the terminal, which it can do without.

Invariant: whatever happens in an extra, the training continues, its checkpoints are written and its exit code is the
same. A failure is one line of warning on standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import Protocol, Self

from nextchar_cli.printable import one_line

from .ledger import Update

_LONGEST = 300  # characters of a warning


class OpenReporter(AbstractContextManager["OpenReporter"], Protocol):
    """A reporter that has to be closed at the end."""

    def report(self, update: Update) -> None:
        """Tells the news after a step."""
        ...


def warn(message: str) -> None:
    """Prints one line of warning on standard error, if that can be written."""
    with suppress(OSError, ValueError, AttributeError):  # without a reader, or closed
        print(f"nextchar-train: warning: {one_line(message)[:_LONGEST]}", file=sys.stderr, flush=True)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Turns an error within the block into a warning that names the extra."""
    try:
        yield
    except Exception as error:
        warn(f"{name}: {_reason(error)}; the training doesn't depend on it")


class ExtraReporter:
    """A reporter that a training survives: after its first failure it hears nothing more. Use it as it is used."""

    def __init__(self, name: str, reporter: OpenReporter) -> None:
        self._name, self._reporter = name, reporter
        self._failed = False

    def __enter__(self) -> Self:
        with self._guarded():
            self._reporter.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._failed:  # which was said
            with suppress(Exception):
                self._reporter.__exit__(kind, error, trace)
        else:
            with self._guarded():
                self._reporter.__exit__(kind, error, trace)

    def report(self, update: Update) -> None:
        """Tells the news after a step."""
        if not self._failed:
            with self._guarded():
                self._reporter.report(update)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with extra(self._name):
            try:
                yield
            except Exception:
                self._failed = True
                raise


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    lines = str(error).strip().splitlines() or ["failed"]
    return f"{type(error).__name__}: {lines[0]}"
