"""Errors of the HTTP API, in OpenAI's shape, and the table that turns gRPC's refusals into them.

    {"error": {"message": …, "type": …, "param": …, "code": …}}

Invariant: every refusal of the service has a status; ``code`` is the label of ``nextchar_rejected_total``, unless
OpenAI's clients know the trouble by another name.

Source: https://platform.openai.com/docs/guides/error-codes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from ..rpc.inside import Ended
from ..rpc.status import REASON_KEY, REQUEST_ID_KEY

REQUEST_ID = "request-id"
"""Header of every answer of the API."""

_DETAILS_KEY = "grpc-status-details-bin"
_INVALID, _SERVER = "invalid_request_error", "server_error"
_ELSEWHERE = 0.1  # seconds after which a caller may find another replica

_STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: (400, _INVALID),
    grpc.StatusCode.FAILED_PRECONDITION: (409, _INVALID),
    grpc.StatusCode.NOT_FOUND: (404, _INVALID),
    grpc.StatusCode.UNAUTHENTICATED: (401, _INVALID),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (429, "rate_limit_error"),
    grpc.StatusCode.UNIMPLEMENTED: (501, _INVALID),
    grpc.StatusCode.UNAVAILABLE: (503, _SERVER),
    grpc.StatusCode.DEADLINE_EXCEEDED: (504, _SERVER),
    grpc.StatusCode.CANCELLED: (503, _SERVER),
}
"""HTTP status and OpenAI's type of each code that a ``RequestError`` has; any other is 500."""

_CODES = {"unknown_model": "model_not_found", "unauthenticated": "invalid_api_key"}

_NAMES = {
    "max_characters": "max_tokens",
    "top_logprobs": "logprobs",
    "character_bias": "logit_bias",
    "stop_sequences": "stop",
    "samples": "n",
}
"""Fields of a completion that the protocol calls otherwise."""


@dataclass
class ApiError(Exception):
    """A request can't be served."""

    status: int
    message: str
    code: str
    param: str | None = None
    kind: str = _INVALID
    retry_after: float | None = None
    """Seconds after which the caller should try again."""
    request_id: str = ""

    @property
    def content(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """The headers that go with it."""
        headers = {REQUEST_ID: self.request_id} if self.request_id else {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
            headers["Retry-After-Ms"] = str(round(1000 * self.retry_after))
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="nextchar"'
        return headers


def api_error(ended: Ended, *, is_score: bool = False) -> ApiError:
    """Returns the error of a call that ``ended`` with one."""
    status, kind = _STATUSES.get(ended.code, (500, _SERVER))
    message, param, delay = ended.message, None, None
    packed = ended.trailers.get(_DETAILS_KEY)
    for detail in Status.FromString(packed).details if isinstance(packed, bytes) else ():
        bad, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(bad):
            field = bad.field_violations[0].field
            param = field.removeprefix("parameters.")
            name = re.split(r"\W", param, maxsplit=1)[0]
            param = (name if is_score else _NAMES.get(name, name)) + param[len(name) :]
            message = f"{param}: {bad.field_violations[0].description}"
        elif detail.Unpack(retry):
            delay = retry.retry_delay.ToMilliseconds() / 1000
    if ended.code is grpc.StatusCode.NOT_FOUND:
        param = "model"
    if ended.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        delay = _ELSEWHERE
        message = message or "the server is shutting down"
    if ended.code is grpc.StatusCode.UNAUTHENTICATED:
        message = MISSING_CREDENTIAL
    reason = str(ended.trailers.get(REASON_KEY, "internal" if status == 500 else ended.code.name.lower()))
    request_id = str(ended.trailers.get(REQUEST_ID_KEY, ""))
    return ApiError(status, message, _CODES.get(reason, reason), param, kind, delay, request_id)


MISSING_CREDENTIAL = "no valid credential: send the header `Authorization: Bearer TOKEN` with a token of yours"


def unauthenticated() -> ApiError:
    """The error of a caller without a credential."""
    return ApiError(401, MISSING_CREDENTIAL, "invalid_api_key")


def draining(request_id: str) -> ApiError:
    """The error of a whole text that the server could not finish."""
    return ApiError(503, "the server is shutting down", "draining", None, _SERVER, _ELSEWHERE, request_id)


def invalid(param: str | None, message: str) -> ApiError:
    """The error of a field."""
    return ApiError(400, f"{param}: {message}" if param else message, "invalid_argument", param)
