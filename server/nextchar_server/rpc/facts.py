"""Facts: the knowledge about a call when it ends, beside its status: the fields of its line in the log, and its times.

The interceptor makes one per call, and those who handle the call fill it in. The log, the metrics and the spans of a
trace take their times from here.

Invariant: a fact that a call doesn't have isn't in its line. No fact has text of the caller.
"""

from __future__ import annotations

import time
from contextvars import ContextVar

Fields = dict[str, str | int | float]


class Facts:
    """The facts of one call. All texts of the call, also those of other tasks, add to the same.

    Its times are those of ``time.monotonic()``, and None before they have come.
    """

    __slots__ = ("_fields", "_reasons", "admitted", "arrived", "exemplar", "first", "last", "left", "started")

    def __init__(self) -> None:
        self.started = time.monotonic()
        """When the call began."""
        self.arrived = self.started
        """When its message had arrived."""
        self.admitted: float | None = None
        """When its first stream had its first turn."""
        self.first: float | None = None
        """When its first generated character came."""
        self.last: float | None = None
        """When its last generated character came."""
        self.left: float | None = None
        """When its first stream had left the queue or the batch."""
        self.exemplar: dict[str, str] | None = None
        """The labels of its exemplars, if it is traced."""
        self._fields: Fields = {}
        self._reasons: dict[str, None] = {}  # in order

    def begin(self, model: str) -> None:
        """Notes that the message has arrived, and is for ``model``."""
        self.arrived = time.monotonic()
        self._fields["model"] = model

    def leave(self, admitted: float | None) -> None:
        """Notes that a stream has left. It was ``admitted`` at this time of ``time.monotonic()``, if it was."""
        if self.left is None:
            self.left = time.monotonic()
            if admitted is not None:
                self.admitted = max(admitted, self.arrived)
                self._fields["queue_seconds"] = round(self.admitted - self.arrived, 6)

    def read(self, characters: int) -> None:
        """Counts characters of a prompt or of a text to score."""
        self._fields["prompt_characters"] = int(self._fields.get("prompt_characters", 0)) + characters

    def generate(self, characters: int, now: float) -> None:
        """Counts characters that were generated ``now``."""
        fields = self._fields
        self.last = now
        if self.first is None:
            self.first = now
            fields["generated_characters"] = characters
            fields["first_character_seconds"] = round(now - self.arrived, 6)
        else:
            fields["generated_characters"] = int(fields["generated_characters"]) + characters

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
