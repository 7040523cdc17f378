"""The method of the client that asks for several texts of one request.

``AsyncClient`` has it from here. Invariant: the texts that it returns are as many as were asked for, and whole.
"""

from __future__ import annotations

from typing import Unpack

from nextchar.v1 import generation_pb2 as pb

from . import conversion
from .connection import Connection
from .errors import IncompleteStreamError
from .options import GenerationOptions
from .samples import Sample, Samples
from .transcript import require_logprobs


class Sampling(Connection):
    """The method of ``AsyncClient`` that generates several texts."""

    async def samples(
        self,
        prompt: str = "",
        *,
        count: int | None = None,
        first: int | None = None,
        best_of: int | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Samples:
        """Generates the samples ``first`` to ``first + count - 1`` of one request, 1 to 64 of them.

        The prompt is read once. Sample i is the text that ``generate`` returns with the seed ``sample_seed(seed, i)``;
        the first is number 0 by default. ``best_of`` generates that many, and returns the ``count`` (by default: 1) of
        them with the highest mean log-probability of a character. ``GenerationOptions`` has the other keywords.
        """
        request = conversion.generation_request(pb.GenerateRequest, prompt, options)
        if count is None and best_of is None:
            count = 1
        request.MergeFrom(conversion.request(pb.GenerateRequest, samples=count, first_sample=first, best_of=best_of))
        answer = await self._answer("Generate", request, options.get("timeout"))
        if len(answer.samples) != (wanted := count or 1):
            raise IncompleteStreamError(
                f"the server sent {len(answer.samples)} samples in place of {wanted}: it may be of an earlier version, "
                "which knows no samples",
                request_id=answer.started.request_id,
            )
        with_logprobs = request.parameters.HasField("top_logprobs")
        texts = tuple(_sample(message, best_of=best_of, with_logprobs=with_logprobs) for message in answer.samples)
        return Samples(conversion.started(answer.started), texts)


def _sample(message: pb.Sample, *, best_of: int | None, with_logprobs: bool) -> Sample:
    logprobs = conversion.logprobs(message.text, message.character_logprobs)
    if with_logprobs:
        require_logprobs(message.text, logprobs)
    return Sample(
        index=message.index,
        seed=message.seed,
        text=message.text,
        logprobs=logprobs,
        finished=conversion.finished(message.finished),
        total_logprob=None if best_of is None else message.total_logprob,
    )
