"""The server of the two plain baselines: gRPC with one thread per request and one message per character.

It is the usual design: ``grpc.server`` on a thread pool, each request's loop in a thread of its own, each character
sent as soon as it is sampled. It implements enough of ``nextchar.v1`` for the same load generator to drive it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import grpc

from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_model.alphabet import BOUNDARY, Alphabet, Ids

THREADS = 64

Generate = Callable[[Ids, int], Iterator[int]]
"""Returns the endless ids that follow a prompt's ids, for a seed."""


class Service(generation_pb2_grpc.GenerationServiceServicer):
    """Streams a text at temperature 1."""

    def __init__(self, alphabet: Alphabet, generate: Generate) -> None:
        self._alphabet = alphabet
        self._generate = generate

    def GenerateStream(
        self, request: pb.GenerateStreamRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.GenerateStreamResponse]:
        """Streams one message per character."""
        yield pb.GenerateStreamResponse(started=pb.Started(seed=request.parameters.seed))
        prompt = self._alphabet.encode(request.prompt, unknown="skip")
        reason = pb.FINISH_REASON_MAX_CHARACTERS
        ids = self._generate(prompt, request.parameters.seed)
        for offset, id_ in enumerate(islice(ids, request.parameters.max_characters)):
            if id_ == BOUNDARY:
                reason = pb.FINISH_REASON_END_OF_DOCUMENT
                break
            yield pb.GenerateStreamResponse(delta=pb.Delta(text=self._alphabet.symbol(id_), offset=offset))
        yield pb.GenerateStreamResponse(finished=pb.Finished(finish_reason=reason))

    def GetModel(self, request: pb.GetModelRequest, context: grpc.ServicerContext) -> pb.GetModelResponse:
        """Returns the alphabet, from which the load generator makes its prompts."""
        return pb.GetModelResponse(model=pb.Model(alphabet=self._alphabet.symbols, replay=pb.REPLAY_EXACT))


def serve(alphabet: Alphabet, generate: Generate, port: int) -> None:
    """Serves until the process is stopped."""
    server = grpc.server(ThreadPoolExecutor(THREADS))
    generation_pb2_grpc.add_GenerationServiceServicer_to_server(Service(alphabet, generate), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()
