"""Requests to the server's protocol side, and the way in which it refuses them."""

from collections.abc import Callable
from typing import Any, TypeVar

import grpc
import pytest

from nextchar.v1 import generation_pb2 as pb
from nextchar_model.alphabet import Alphabet
from nextchar_server.catalog import Limits
from nextchar_server.pacing import Steps
from nextchar_server.rpc import requests
from nextchar_server.rpc.errors import InvalidArgumentError
from nextchar_server.rpc.requests import Generation, Scoring
from nextchar_server.rpc.tokens import Standing
from tests.support.serving import Serving

ALPHABET = Alphabet.of("\n ?abcdé가나")
LIMITS = Limits(max_characters=1000, max_prompt_characters=50)


Result = TypeVar("Result")


def finished(steps: Steps[Result]) -> Result:
    """Returns the result of ``steps``."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        result: Result = end.value
        return result


def generation(prompt: str = "", limits: Limits = LIMITS, **parameters: Any) -> Generation:
    """Reads a request with ``parameters``."""
    request = pb.GenerateStreamRequest(prompt=prompt, parameters=pb.GenerationParameters(**parameters))
    return finished(requests.generation(request, ALPHABET, limits, no_token))


def no_token(token: bytes) -> Standing:
    """Reads a resume token of a request that has none."""
    raise AssertionError(f"the request has a token: {token!r}")


def scoring(text: str, **fields: Any) -> Scoring:
    """Reads a request to score ``text``."""
    return finished(requests.scoring(pb.ScoreRequest(text=text, **fields), ALPHABET, LIMITS))


def refusal(ask: Callable[[], object]) -> tuple[str, str]:
    """Returns the field and the message with which ``ask`` is refused."""
    with pytest.raises(InvalidArgumentError) as caught:
        ask()
    (detail,) = caught.value.details
    (violation,) = detail.field_violations  # type: ignore[attr-defined]
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert violation.field == caught.value.field
    assert caught.value.message == f"{violation.field}: {violation.description}"
    return violation.field, violation.description


async def generated(
    serving: Serving, token: bytes = b"", prompt: str = "", **parameters: Any
) -> tuple[str, pb.Finished]:
    """Returns a text and its last event."""
    start: dict[str, Any] = {"resume_token": token} if token else {"prompt": prompt}
    request = pb.GenerateRequest(parameters=pb.GenerationParameters(**parameters), **start)
    answer = await serving.stub.Generate(request)
    return answer.text, answer.finished
