"""The completions of one text: its likeliest continuations up to a boundary.

The service calls ``complete`` per call of ``Complete``. The work is a search of the engine, which knows ids and the
boundary's tables; here are the request, the text and the answer.

Invariant: an invalid request is refused before it takes a place; a caller is charged for the steps of the model that
its completions took.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet, Spelling
from nextchar_model.decoder import decode

from .. import memory
from ..access import callers
from ..catalog import Limits, ServedModel
from ..engine.search import Search
from ..engine.stream import End, Stream
from ..engine.tree import Wanted
from ..pacing import Pacer, Steps
from . import facts, footprint, requests
from .constraints import Constraints
from .errors import DrainingError, InvalidArgumentError
from .interceptor import request_id

MAX_COUNT = 20
MAX_CHARACTERS = 64
DEFAULT_COUNT = 5
DEFAULT_MAX_CHARACTERS = 24

_BOUNDARIES = {
    pb.COMPLETION_BOUNDARY_UNSPECIFIED: "word",
    pb.COMPLETION_BOUNDARY_WORD: "word",
    pb.COMPLETION_BOUNDARY_LINE: "line",
    pb.COMPLETION_BOUNDARY_CHARACTERS: "characters",
}


@dataclass(frozen=True)
class Completing:
    """The completions that a request asks for."""

    prompt: Spelling
    boundary: str
    """``word``, ``line`` or ``characters``; without meaning with ``regex``."""
    regex: str | None
    count: int
    max_characters: int


def completing(request: pb.CompleteRequest, alphabet: Alphabet, limits: Limits) -> Steps[Completing]:
    """Reads a request to complete with a model of ``alphabet``. Raises ``RequestError``."""
    count = request.count if request.HasField("count") else DEFAULT_COUNT
    if not 1 <= count <= MAX_COUNT:
        raise InvalidArgumentError("count", f"{count} is not between 1 and {MAX_COUNT}")
    if (boundary := _BOUNDARIES.get(request.boundary)) is None:
        raise InvalidArgumentError("boundary", f"{request.boundary} is not a value of CompletionBoundary")
    regex = request.regex if request.HasField("regex") else None
    if regex is not None and request.HasField("boundary"):
        raise InvalidArgumentError("boundary", "doesn't go with regex, which says where a completion ends")
    default = 1 if boundary == "characters" else DEFAULT_MAX_CHARACTERS
    most = request.max_characters if request.HasField("max_characters") else default
    if not 1 <= most <= MAX_CHARACTERS:
        raise InvalidArgumentError("max_characters", f"{most} is not between 1 and {MAX_CHARACTERS}")
    prompt = yield from requests.read_text(request.prompt, "prompt", alphabet, limits, request, "")
    return Completing(prompt, boundary, regex, count, most)


async def complete(
    request: pb.CompleteRequest,
    model: ServedModel,
    pacer: Pacer,
    constraints: Constraints,
    submitted: Callable[[Stream], AbstractContextManager[None]],
) -> pb.CompleteResponse:
    """Answers a call. ``submitted`` surrounds the life of its search. Raises ``RequestError``."""
    asked = await pacer.run(completing(request, model.alphabet, model.limits))
    boundary = await constraints.boundary(asked.boundary, asked.regex, model)
    if boundary.is_match and (shortest := int(boundary.distance[0])) > asked.max_characters:
        raise InvalidArgumentError(
            "regex", f"its shortest match has {shortest} characters; max_characters is {asked.max_characters}"
        )
    memory.current.get().grow(footprint.search(model.runner.description) + boundary.is_match * boundary.size)
    is_counted = asked.boundary == "characters" and asked.regex is None
    wanted = Wanted(boundary, asked.max_characters, is_counted, asked.count)
    search = Search(read=asked.prompt.ids, wanted=wanted, caller=memory.current.get().connection)
    try:
        with submitted(search):
            await search.ready()
            taken = model.engine.take(search)
    finally:
        if (caller := callers.current.get()) is not None:
            caller.charge(search.cost)
    if taken is End.DRAINED:
        raise DrainingError
    model.metrics.read(len(asked.prompt.text))
    facts.current.get().read(len(asked.prompt.text))
    return pb.CompleteResponse(
        request_id=request_id(),
        model=model.name,
        model_digest=model.digest,
        completions=[
            pb.Completion(text=decode(model.alphabet, one.ids), logprob=one.logprob) for one in search.completions
        ],
        is_exact=search.is_exact,
    )
