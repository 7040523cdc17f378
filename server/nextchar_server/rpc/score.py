"""The score of one text: the log-probability of each character, given all characters before it.

The service calls ``score`` per call of ``Score``. The text is a stream of the engine that only reads.

Invariant: the work between two waits is bounded, and paced if it is heavy.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from nextchar.v1 import generation_pb2 as pb

from .. import memory
from ..access import callers
from ..catalog import ServedModel
from ..engine.stream import End, Stream
from ..pacing import Pacer
from ..text.activations import Activations
from ..text.logprobs import Collected
from ..text.text import ReadText
from ..text.total import Total
from . import activations, facts, footprint, requests, responses
from .errors import DrainingError
from .interceptor import request_id


async def score(
    request: pb.ScoreRequest,
    model: ServedModel,
    pacer: Pacer,
    submitted: Callable[[Stream], AbstractContextManager[None]],
) -> pb.ScoreResponse:
    """Answers a call. ``submitted`` surrounds the life of its stream. Raises ``RequestError``."""
    asked = await pacer.run(requests.scoring(request, model.alphabet, model.limits))
    text, top_logprobs = asked.text, asked.top_logprobs
    description = model.runner.description
    ranks = footprint.details(description) if asked.details else 0
    memory.current.get().grow(
        footprint.row(description) + ranks + footprint.answer(len(text.text), top_logprobs + asked.details)
    )
    stream = Stream(
        read=text.ids,
        count=0,
        alternatives=top_logprobs,
        details=asked.details,
        reports_reading=True,
        caller=memory.current.get().connection,
    )
    tracer = None
    if request.HasField("include_activations"):
        wanted = activations.chosen(
            request.include_activations, "include_activations", len(text.text), model.runner.description
        )
        tracer = activations.Tracer(wanted, model, stream)
    read = ReadText(model.alphabet, text, None if tracer is None else tracer.waiting)
    logprobs, total, values = Collected(len(text.text)), Total(), []
    with submitted(stream):
        if (caller := callers.current.get()) is not None:
            caller.charge(len(text.text))
        while True:
            await stream.ready()
            traced = None if tracer is None else await tracer.take()
            async with pacer.piece() if stream.sought else nullcontext():
                taken = traced or model.engine.take(stream)
                if isinstance(taken, End):
                    break
                assert taken.logprobs is not None
                total.add(taken.logprobs)
                chunk = read.feed(taken)
                logprobs.add(chunk.logprobs)
                if chunk.activations is not None:
                    values.append(chunk.activations)
    if taken is End.DRAINED:
        raise DrainingError
    model.metrics.read(len(text.text))
    facts.current.get().read(len(text.text))
    return await pacer.run(
        responses.score(request_id(), model, text.text, logprobs, total.nats, Activations.join(values))
    )
