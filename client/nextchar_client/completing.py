"""The call of the client that completes text: ``complete``."""

# ruff: noqa: ASYNC109 - a timeout here is the deadline of a call, which the server keeps too

from __future__ import annotations

from nextchar.v1 import generation_pb2 as pb

from .completions import Completion, CompletionBoundary, Completions
from .connection import Connection
from .conversion import request, unknown_characters
from .errors import InvalidArgumentError
from .options import UnknownCharacters

_BOUNDARIES = {
    "word": pb.COMPLETION_BOUNDARY_WORD,
    "line": pb.COMPLETION_BOUNDARY_LINE,
    "characters": pb.COMPLETION_BOUNDARY_CHARACTERS,
}


class Completing(Connection):
    """The methods of ``AsyncClient`` that complete text."""

    async def complete(
        self,
        prompt: str = "",
        *,
        count: int | None = None,
        boundary: CompletionBoundary | None = None,
        regex: str | None = None,
        max_characters: int | None = None,
        model: str = "",
        unknown_characters: UnknownCharacters | None = None,
        replacement_character: str | None = None,
        timeout: float | None = None,
    ) -> Completions:
        """Returns the likeliest continuations of ``prompt``, each with its probability.

        ``count`` is the most of them, 1 to 20, by default 5. A continuation ends at its ``boundary``, by default with
        the word, or it is a whole match of ``regex``; it has at most ``max_characters`` characters, 1 to 64, by default
        24, and with the boundary ``characters`` as many, by default 1. The other keywords mean the same as in
        ``GenerationOptions``.
        """
        message = _request(
            unknown_characters,
            boundary,
            model=model,
            prompt=prompt,
            count=count,
            regex=regex,
            max_characters=max_characters,
            replacement_character=replacement_character,
        )
        answer = await self._answer("Complete", message, timeout)
        return Completions(
            request_id=answer.request_id,
            model=answer.model,
            model_digest=answer.model_digest,
            completions=tuple(Completion(one.text, one.logprob) for one in answer.completions),
            is_exact=answer.is_exact,
        )


def _request(
    unknown: UnknownCharacters | None, boundary: CompletionBoundary | None, **fields: object
) -> pb.CompleteRequest:
    if boundary is not None and boundary not in _BOUNDARIES:
        raise InvalidArgumentError(f"boundary: {boundary!r} is invalid; it must be {', '.join(_BOUNDARIES)}")
    return request(
        pb.CompleteRequest,
        boundary=None if boundary is None else _BOUNDARIES[boundary],
        unknown_characters=unknown_characters(unknown),
        **fields,
    )
