"""The work that a constraint may take, and the error with which one is refused.

Every stage of the compiler counts its operations. Counts, unlike seconds, refuse the same pattern on every machine.
"""

from __future__ import annotations

import time

MOST_WORK = 200_000
"""Most operations that compiling one constraint takes, of some 0.7 µs each."""

MOST_SECONDS = 2.0
"""Most seconds of the thread, as a last resort: counts bound the time to a tenth of it on usual machines."""

_LOOKS = 512  # operations between two looks at the clock


class ConstraintError(ValueError):
    """A constraint that can't be served. The message names the cause, and its place if it has one."""


class Work:
    """Counts the operations of one compilation."""

    def __init__(self, most: int = MOST_WORK) -> None:
        self.left = most
        self._until = time.thread_time() + MOST_SECONDS
        self._look_at = most - _LOOKS

    def spend(self, operations: int, stage: str) -> None:
        """Counts ``operations``. Raises ``ConstraintError`` if they are too many; ``stage`` says for which purpose."""
        self.left -= operations
        if self.left < self._look_at:
            self._look_at = self.left - _LOOKS
            time.sleep(0)  # lets other threads have the interpreter, which they would otherwise wait 5 ms for
            if self.left < 0 or time.thread_time() > self._until:
                raise ConstraintError(f"too large: {stage} would take too long; use fewer or smaller repetitions")
