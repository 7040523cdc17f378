"""The console: lines for people, in colours on a terminal. Another form of those that ``lines`` renders.

Invariant: no text of an event moves the cursor or changes a colour. A line is bounded in length, but an exception has
several.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime

from structlog.dev import ConsoleRenderer, plain_traceback

from .lines import MAX_LINE, OBEYED, Event, escaped

_OBEYED = re.compile(rf"[\x00-\x08\x0b-\x1f]|{OBEYED.pattern}")
_EVENT_WIDTH = 24


def console(descriptor: int) -> Callable[[Event | str], bytes]:
    """Returns the function that renders events for ``descriptor``: in colours if it is a terminal."""
    colours = os.isatty(descriptor) and not os.environ.get("NO_COLOR")
    render = ConsoleRenderer(colors=colours, pad_event_to=_EVENT_WIDTH, exception_formatter=plain_traceback)

    def rendered(event: Event | str) -> bytes:
        if isinstance(event, str):
            line = _OBEYED.sub(escaped, event)
        else:
            fields = {name: _shown(name, value) for name, value in event.items()}
            if "timestamp" in event:
                fields["timestamp"] = datetime.fromtimestamp(event["timestamp"]).isoformat(" ", "milliseconds")
            line = str(render(None, "", fields)).rstrip()
        return line.encode(errors="backslashreplace")[:MAX_LINE] + b"\n"

    return rendered


def _shown(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    value = _OBEYED.sub(escaped, value)
    return value if name == "exception" else value.replace("\n", "\\n")
