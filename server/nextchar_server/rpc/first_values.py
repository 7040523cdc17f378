"""The first values of the counters with labels.

Called by the server before its ports open: a counter that appears with its first event has no increase in Prometheus.

Invariant: every method, refusal and result of a constraint has a value from the start.
"""

from __future__ import annotations

from nextchar.v1 import generation_pb2

from ..metrics import Metrics
from .errors import RequestError
from .interceptor import TYPES, UNREADABLE

_SERVICE = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"]
# Those of refusals are left out, because every reason is there: each line makes every scrape longer.
_CODES = ("OK", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL")
_CONSTRAINTS = ("compiled", "kept", "refused")


def set_first_values(metrics: Metrics) -> None:
    """Makes the counters with labels, at 0."""
    for method in _SERVICE.methods:
        labels = (TYPES[method.client_streaming, method.server_streaming], _SERVICE.full_name, method.name)
        metrics.calls_started.labels(*labels)
        for code in _CODES:
            metrics.calls_handled.labels(*labels, code)
    for reason in refusal_reasons():
        metrics.rejected.labels(reason)
    for result in _CONSTRAINTS:
        metrics.constraints.labels(result)


def refusal_reasons() -> set[str]:
    """Returns the reasons for which calls are refused."""
    waiting: list[type[RequestError]] = [RequestError]
    found = {UNREADABLE[1]}
    while waiting:
        error = waiting.pop()
        waiting += error.__subclasses__()
        if "reason" in vars(error):
            found.add(error.reason)
    return found
