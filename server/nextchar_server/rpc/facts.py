"""Facts: what is known about a call when it ends, beside its status: the fields of its line in the log.

The interceptor makes one per call, and those who handle the call fill it in.

Invariant: a fact that a call doesn't have isn't in its line. No fact has text of the caller.
"""

from __future__ import annotations

import time
from contextvars import ContextVar

Fields = dict[str, str | int | float]


class Facts:
    """The facts of one call. All texts of the call, also those of other tasks, add to the same."""

    __slots__ = ("_arrived", "_fields", "_reasons")

    def __init__(self) -> None:
        self._arrived = time.monotonic()
        self._fields: Fields = {}
        self._reasons: dict[str, None] = {}  # in order

    def begin(self, model: str) -> None:
        """Notes that the message has arrived, and is for ``model``."""
        self._arrived = time.monotonic()
        self._fields["model"] = model

    def admit(self, at: float | None) -> None:
        """Notes that the first stream was admitted ``at`` this time of ``time.monotonic()``, if it was."""
        if at is not None and "queue_seconds" not in self._fields:
            self._fields["queue_seconds"] = round(max(0.0, at - self._arrived), 6)

    def read(self, characters: int) -> None:
        """Counts characters of a prompt or of a text to score."""
        self._fields["prompt_characters"] = int(self._fields.get("prompt_characters", 0)) + characters

    def generate(self, characters: int, now: float) -> None:
        """Counts characters that were generated ``now``."""
        fields = self._fields
        if "generated_characters" in fields:
            fields["generated_characters"] = int(fields["generated_characters"]) + characters
        else:
            fields["generated_characters"] = characters
            fields["first_character_seconds"] = round(now - self._arrived, 6)

    def finish(self, reason: str) -> None:
        """Notes why a text ended."""
        self._reasons[reason.removeprefix("FINISH_REASON_")] = None

    def fields(self, caller: str) -> Fields:
        """Returns the fields of the line. Texts that ended for several reasons have them all, with commas.

        ``caller`` is empty if everybody may call.
        """
        fields = self._fields
        if self._reasons:
            fields["finish_reason"] = ",".join(self._reasons)
        if caller:
            fields["caller"] = caller
        return fields


current: ContextVar[Facts] = ContextVar("facts")
"""The facts of the call that is being handled."""
