"""The export of spans, as the OTEL_* variables ask for it: from the maker of spans to the exporters.

``server`` makes one if they ask for it, and passes the maker to ``rpc.spans``. Needs the extra ``tracing``, and imports
it only then.

Invariant: no call waits for a collector.
"""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING, Any

import structlog

from ..listening import StartError
from ..metrics import TracingMetrics
from .troubles import bound_troubles
from .variables import OFF, asked_by, exporters

if TYPE_CHECKING:
    from .background import Background

_REGISTRY = "opentelemetry_traces_exporter"
_NAME = "nextchar-server"

_log = structlog.get_logger()


class Export:
    """The export of one server. Close it on a running event loop."""

    def __init__(self, metrics: TracingMetrics) -> None:
        """As the variables of the process say. Raises ``StartError``."""
        asked = asked_by(os.environ)
        try:
            from opentelemetry.sdk.trace import TracerProvider

            from .background import Background
            from .spans import SpanMaker
        except ModuleNotFoundError as error:
            raise StartError(
                f"{asked} asks for traces, but {error.name} is not installed: pip install 'nextchar[tracing]'; {OFF}"
            ) from None
        bound_troubles()
        self.names = exporters(os.environ)
        """Names of the exporters."""
        found = [_exporter(name, asked) for name in self.names]
        provider = TracerProvider(shutdown_on_exit=False)
        self.sampler = _in_words(provider.sampler.get_description())
        """Which traces are sampled, in words."""
        self.backgrounds: list[Background] = []
        try:
            for exporter in found:
                self.backgrounds.append(Background(exporter, metrics.dropped.inc))
        except ValueError as error:
            raise StartError(f"{error}; {OFF}") from error
        puts = [background.put for background in self.backgrounds]
        self.spans = SpanMaker(provider, _described(provider.resource), puts)
        """Makes the spans that are exported."""
        _log.info("tracing", exporters=",".join(self.names), asked_by=asked, sampler=self.sampler)

    async def close(self) -> None:
        """Exports the spans that wait. If it is cancelled, those that haven't left are lost."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def close() -> None:
            for background in self.backgrounds:
                background.close()
            with suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(done.set)

        # Not one of the loop's threads, for all of which the end of the loop waits.
        threading.Thread(target=close, name="spans", daemon=True).start()
        await done.wait()


def _exporter(name: str, asked: str) -> Any:
    """Makes the exporter that is registered as ``name``. Raises ``StartError``."""
    registered = entry_points(group=_REGISTRY)
    if name not in registered.names:
        known = ", ".join(sorted(registered.names))
        missing = "is not installed: pip install 'nextchar[tracing]'" if name.startswith("otlp") else "is unknown"
        raise StartError(f"{asked}: the exporter {name!r} {missing}; there are {known}; {OFF}")
    try:
        return registered[name].load()()
    except Exception as error:  # it reads variables, and each kind of mistake has an error of its own
        raise StartError(f"{asked}: the exporter {name!r} can't be used: {error}; {OFF}") from error


def _in_words(sampler: str) -> str:
    """Returns the description of a sampler without the parts that each one has whose parent decides."""
    _, _, root = sampler.partition("{root:")
    return f"{root.partition(',')[0]}, unless the caller decides" if root else sampler


def _described(resource: Any) -> Any:
    """Returns the attributes of all spans: those of the variables, and this server's own, for those that they lack."""
    from opentelemetry.sdk.resources import Resource

    own = {"service.name": _NAME, "service.version": version("nextchar")}
    unknown = {key for key in own if str(resource.attributes.get(key, "unknown_service")).startswith("unknown_service")}
    return resource.merge(Resource({key: own[key] for key in unknown}))
