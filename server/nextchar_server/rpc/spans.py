"""The spans of a call: one for the call, and below it one for each stage that it went through.

    GenerationService/Generate
        queue           from the arrival of its message to its first turn
        prompt          to its first character; of a score, to its end. Of completions it is called search
        generation      to its last character

The interceptor begins and ends them. Made by hand and afterwards, from the times of the call's facts: OpenTelemetry's
own interceptor breaks handlers that write to their context.

Source: https://opentelemetry.io/docs/specs/semconv/rpc/grpc/. Invariant: no attribute has text of the caller.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

import grpc
import structlog
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from .facts import Facts, Fields
from .tracing import KEYS

if TYPE_CHECKING:
    from ..tracing.spans import SpanMaker  # which needs the extra

_UNTRACED = "grpc.health."  # probes come every few seconds for ever
_GENERATING = ("Generate", "GenerateStream", "Complete")
_OK, _ERROR = Status(), Status(StatusCode.ERROR)
_ERRORS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""Codes that are errors of the server, as the conventions have it."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Spans:
    """Makes the spans of calls."""

    def __init__(self, maker: SpanMaker) -> None:
        self._maker = maker

    def begin(self, method: str, context: Context, facts: Facts) -> CallSpans | None:
        """Begins the span of a call of ``method``; None if its trace isn't sampled.

        The lines that the current task logs get the identifiers of the span, and ``facts`` its exemplar.
        """
        name = method.removeprefix("/")
        if name.startswith(_UNTRACED):
            return None
        headers: dict[str, str] = {}
        with suppress(UnicodeDecodeError):  # of metadata that isn't text
            headers.update((key, str(value)) for key, value in context.invocation_metadata() or () if key in KEYS)
        begun = self._maker.begin(name, headers, SpanKind.SERVER)
        if begun is None:
            return None
        identity, parent = begun
        facts.exemplar = {"trace_id": f"{identity.trace_id:032x}", "span_id": f"{identity.span_id:016x}"}
        structlog.contextvars.bind_contextvars(**facts.exemplar)
        return CallSpans(self._maker, name, identity, parent, facts)


class CallSpans:
    """The spans of one call whose trace is sampled."""

    def __init__(
        self, maker: SpanMaker, name: str, identity: SpanContext, parent: SpanContext | None, facts: Facts
    ) -> None:
        self._maker = maker
        self._name = name
        self._identity = identity
        self._parent = parent
        self._facts = facts
        self._epoch = time.time_ns() - int(time.monotonic() * 1e9)  # when ``time.monotonic()`` was 0

    def end(self, code: grpc.StatusCode, ended: float, *, request_id: str, peer: str, caller: str) -> None:
        """Makes all spans of the call, which ``ended`` at this time of ``time.monotonic()``."""
        facts, method = self._facts, self._name.rpartition("/")[2]
        if facts.left is not None:
            self._stage("queue", facts.arrived, facts.admitted or facts.left)
            if facts.admitted is not None:
                name = "search" if method == "Complete" else "prompt"
                self._stage(name, facts.admitted, facts.first or facts.left)
        if facts.first is not None and facts.last is not None:
            self._stage("generation", facts.first, facts.last)
        attributes: dict[str, str | int | float | list[str]] = {
            "rpc.system.name": "grpc",
            "rpc.method": self._name,
            "rpc.response.status_code": code.name,
            "nextchar.request_id": request_id,
            **_place(peer),
            **_described(facts.fields(caller), is_generating=method in _GENERATING),
        }
        is_error = code in _ERRORS
        if is_error:
            attributes["error.type"] = code.name
        self._maker.end(
            self._identity,
            self._parent,
            self._name,
            SpanKind.SERVER,
            self._at(facts.started),
            self._at(ended),
            attributes,
            _ERROR if is_error else _OK,
        )

    def _stage(self, name: str, begun: float, ended: float) -> None:
        self._maker.below(self._identity, name, self._at(begun), self._at(ended))

    def _at(self, moment: float) -> int:
        return self._epoch + int(moment * 1e9)


def _described(fields: Fields, *, is_generating: bool) -> dict[str, str | int | float | list[str]]:
    """Returns the attributes for the facts that the times of the spans don't tell."""
    described: dict[str, str | int | float | list[str]] = {}
    for key in ("prompt_characters", "generated_characters"):
        if key in fields:
            described[f"nextchar.{key}"] = fields[key]
    if "caller" in fields:
        described["enduser.id"] = fields["caller"]
    if "model" in fields:
        described["gen_ai.response.model"] = fields["model"]
        if is_generating:
            described["gen_ai.operation.name"] = "text_completion"
            described["gen_ai.provider.name"] = "nextchar"
    if "finish_reason" in fields:
        described["gen_ai.response.finish_reasons"] = str(fields["finish_reason"]).split(",")
    return described


def _place(peer: str) -> dict[str, str | int]:
    """Returns the attributes of a caller at ``peer``, such as ipv4:192.0.2.1:50000."""
    host, _, port = peer.partition(":")[2].rpartition(":")
    if not port.isdecimal():
        return {}
    return {"network.peer.address": unquote(host).strip("[]"), "network.peer.port": int(port)}
