"""The HTTP API: OpenAI's completions and models, and scores.

The routes of the HTTP port that call the service. Each turns a request into calls of the protocol, which run through
the same handlers as those of gRPC, and their messages into an answer.

Invariant: the framework checks names and types, the service everything else; no answer is made as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match

from nextchar.v1 import generation_pb2 as pb

from ..rpc.tracing import KEYS
from . import continuing, documents, events, requests, responses
from .errors import REQUEST_ID, ApiError, draining, invalid, unauthenticated
from .link import Link
from .marks import Mark
from .place import Place
from .schema import CompletionRequest, ScoreBody

_TOGETHER = 8
"""Calls of one request at a time."""

_MOST_VALUES = 400_000
"""Characters of a request with several texts, times the log-probabilities of each."""

_MANY = 8
"""Requests with several texts at a time: their answers are held here."""

_DEFAULT_CHARACTERS = 256
_WRITTEN = 32 * 1024  # characters of an answer that are sent at once


def link_of(request: Request) -> Link:
    """Returns the request's link. Raises ``ApiError`` if it has no credential."""
    link: Link | None = request.state.link
    if link is None:
        raise unauthenticated()
    return link


Linked = Annotated[Link, Depends(link_of)]
LastEventId = Annotated[str | None, Header(description="Id of the last event that came: the text continues there.")]


def make_api(version: str, max_characters: int, origins: Sequence[str]) -> FastAPI:
    """Returns the application. Pages of ``origins`` may call it."""
    app = FastAPI(
        title="nextchar",
        version=version,
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # the interceptor does that
    )
    routes = _Routes(min(_DEFAULT_CHARACTERS, max_characters))
    app.post("/v1/completions", **documents.COMPLETION)(routes.complete)
    app.get("/v1/completions", **documents.COMPLETION_STREAM)(routes.stream)
    app.post("/v1/score", **documents.SCORE)(routes.score)
    app.get("/v1/models", **documents.MODELS)(routes.models)
    app.get("/v1/models/{model:path}", **documents.MODEL)(routes.model)
    app.exception_handler(ApiError)(_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(HTTPException)(_http_error)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID", *KEYS],
            expose_headers=[REQUEST_ID, "Retry-After"],
        )
    return app


class _Routes:
    """The routes."""

    def __init__(self, default_characters: int) -> None:
        self._default_characters = default_characters
        self._many = asyncio.Semaphore(_MANY)

    async def complete(self, body: CompletionRequest, link: Linked, last_event_id: LastEventId = None) -> Response:
        """Generates texts: whole, or with `stream` in server-sent events."""
        if body.stream:
            return await self._stream(body, link, last_event_id)
        if last_event_id:
            raise invalid("Last-Event-ID", "only goes with stream")
        body = requests.seeded(body)
        wanted = [requests.whole(body, prompt) for prompt in body.prompts]
        size = sum(self._most(body) + (len(prompt) if body.echo else 0) for prompt in body.prompts)
        texts = (body.n or 1) if len(wanted) > 1 else 1  # the service bounds those of one prompt
        answers = await self._answers(link, "Generate", wanted, size * texts, body.logprobs)
        for answer in answers:
            if answer.finished.finish_reason == pb.FINISH_REASON_DRAINING:
                raise draining(link.request_id)
        is_scored = bool(body.echo) and body.logprobs is not None
        with_token = body.resume_interval is not None
        return _whole(responses.completion(answers, is_scored=is_scored, with_token=with_token), link.request_id)

    async def stream(self, request: Request, link: Linked, last_event_id: LastEventId = None) -> Response:
        """Streams a text. The query has the fields of the request, those that aren't text in JSON."""
        fields = requests.from_query(request.query_params.multi_items())
        try:
            body = CompletionRequest.model_validate({**fields, "stream": True})
        except ValidationError as error:
            raise _first_of(error.errors()) from None
        return await self._stream(body, link, last_event_id)

    async def score(self, body: ScoreBody, link: Linked) -> Response:
        """Returns the log-probability of each character of a text, given all characters before it."""
        if (body.text is None) == (body.texts is None):
            raise invalid("text", "is needed" if body.text is None else "doesn't go with texts")
        texts = body.texts if body.text is None else [body.text]
        assert texts is not None
        wanted = [requests.score(body, text) for text in texts]
        answers = await self._answers(link, "Score", wanted, sum(map(len, texts)), body.top_logprobs or 0)
        return _whole(responses.scores(answers), link.request_id)

    async def models(self, link: Linked) -> Response:
        """Describes all models, the default one first."""
        listed = await link.answer("ListModels", pb.ListModelsRequest())
        return JSONResponse(responses.models(listed), headers={REQUEST_ID: link.request_id})

    async def model(self, model: str, link: Linked) -> Response:
        """Describes one model, by its name or as NAME@DIGEST."""
        described = await link.answer("GetModel", pb.GetModelRequest(name=model))
        return JSONResponse(responses.model(described.model, model), headers={REQUEST_ID: link.request_id})

    def _most(self, body: CompletionRequest) -> int:
        return self._default_characters if body.max_tokens is None else body.max_tokens

    async def _stream(self, body: CompletionRequest, link: Link, last_event_id: str | None) -> Response:
        start = continuing.start_of(last_event_id) if last_event_id else None
        if start is not None and start.is_end:
            return Response(status_code=204)
        most = self._most(body)
        place = start if isinstance(start, Place) else None
        if place is not None and place.generated >= most:  # only the end was lost
            return _events([events.ending(body.model, place)])
        has_tokens, has_marks = continuing.kinds(body, link)
        body = continuing.behind(body, start, link) if isinstance(start, Mark) else requests.seeded(body)
        call = link.call("GenerateStream", requests.streamed(body, place, most, has_tokens=has_tokens))
        echoed = continuing.echoed(body) if place is None else 0
        text = events.Events(link, call, body, start=start, has_marks=has_marks, echoed=echoed)
        first = await text.first()
        return _events(text.texts(first))

    async def _answers(
        self, link: Link, method: str, wanted: Sequence[Any], characters: int, logprobs: int | None
    ) -> list[Any]:
        """Returns the answers to several requests, in their order. Raises ``ApiError``, the first one that comes."""
        if len(wanted) == 1:
            return [await link.answer(method, wanted[0])]
        values = characters * (1 if logprobs is None else 2 + logprobs)
        if values > _MOST_VALUES:
            raise invalid(
                "prompt" if method == "Generate" else "texts",
                f"all texts together may have {values} values (characters times log-probabilities); at most "
                f"{_MOST_VALUES} are allowed: send fewer at a time",
            )
        turns = asyncio.Semaphore(_TOGETHER)

        async def answer(request: Any) -> Any:
            async with turns:
                return await link.answer(method, request, keep=False)

        async with self._many:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(answer(request)) for request in wanted]
            except* ApiError as errors:
                raise errors.exceptions[0] from None
        return [task.result() for task in tasks]


def _whole(pieces: responses.Pieces, request_id: str) -> Response:
    parts, headers = _gathered(pieces), {REQUEST_ID: request_id}
    first = next(parts)
    if len(first) < _WRITTEN:  # that is all
        return Response(first, media_type="application/json", headers=headers)
    return StreamingResponse(_one_by_one(first, parts), media_type="application/json", headers=headers)


def _gathered(pieces: Iterator[str]) -> Iterator[str]:
    """Joins small pieces."""
    parts: list[str] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size >= _WRITTEN:
            yield "".join(parts)
            parts, size = [], 0
    yield "".join(parts)


async def _one_by_one(first: str, rest: Iterator[str]) -> AsyncIterator[str]:
    """Yields the parts of an answer; others have their turn between two of them."""
    yield first
    for part in rest:
        await asyncio.sleep(0)
        yield part


def _events(texts: AsyncGenerator[str, None] | Iterable[str]) -> Response:
    return StreamingResponse(texts, media_type="text/event-stream", headers=events.HEADERS)


async def _error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.content, error.status, error.headers)


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    refused = _first_of(error.errors())
    return JSONResponse(refused.content, refused.status)


async def _http_error(request: Request, error: Exception) -> Response:
    """Of a path or a method that isn't there, or a body that can't be read, such as one nested too deeply."""
    assert isinstance(error, HTTPException)
    code = "invalid_argument" if error.status_code == 400 else "unknown_url"
    refused = ApiError(error.status_code, str(error.detail).lower(), code)
    headers = {"Allow": ", ".join(_methods(request))} if error.status_code == 405 else error.headers
    return JSONResponse(refused.content, refused.status, headers)


def _methods(request: Request) -> list[str]:
    """Returns the methods that the path of ``request`` has; each is a route of its own."""
    matches = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted(method for route in matches for method in route.methods or ())


def _first_of(errors: Sequence[Any]) -> ApiError:
    """Returns the error of the first thing that validation found."""
    found = errors[0]
    place = [str(part) for part in found["loc"] if part not in ("body", "header")]
    message = str(found["msg"]).removeprefix("Value error, ")
    match found["type"]:
        case "json_invalid":
            return invalid(None, f"the body is not JSON: {message}")
        case "extra_forbidden":
            return invalid(place[0], "is not a field of this request")
        case "missing" | "model_attributes_type" | "dict_type" if not place:
            return invalid(None, "the body must be a JSON object, sent with Content-Type: application/json")
    return invalid(place[0] if place else None, message[:1].lower() + message[1:])
