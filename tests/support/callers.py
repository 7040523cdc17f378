"""Callers of an admission without an engine: who gets a place, and who loses it."""

from nextchar_server.engine.admission import Admission
from nextchar_server.engine.stream import Stream
from tests.support.scripted_runner import stream_of


class Pushed:
    """Records the streams that lose their place."""

    def __init__(self) -> None:
        self.pushed: list[tuple[Stream, Exception]] = []

    def __call__(self, stream: Stream, error: Exception) -> None:
        self.pushed.append((stream, error))

    @property
    def streams(self) -> list[Stream]:
        return [stream for stream, _ in self.pushed]


def admission_of(places: int, pushed: Pushed, *, rows: int = 1) -> Admission:
    """Returns an admission of ``places`` places, ``rows`` of which are rows."""
    return Admission(lanes=1, max_batch=rows, queue_size=places - rows, on_push=pushed)


def submitted(admission: Admission, count: int, caller: str) -> list[Stream]:
    """Submits ``count`` streams of ``caller``."""
    streams = [stream_of(1, caller=caller) for _ in range(count)]
    for stream in streams:
        admission.submit(stream)
    return streams
