"""The client of nextchar: a library, and the command ``nextchar`` built on it.

``AsyncClient`` calls a server from an event loop, ``Client`` from anywhere else::

    from nextchar_client import Client, Delta

    with Client("127.0.0.1:50051") as client:
        for event in client.stream("ROMEO:", seed=7, max_characters=400):
            if isinstance(event, Delta):
                print(event.text, end="", flush=True)

The public names are those in ``__all__``; none of their types contains protobuf. A name is imported when it is first
used, so that the help of the command needs no gRPC.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Read when gRPC is imported. Without it, gRPC starts some of its threads again in a forked process, in which they crash
# on calls of the parent; it can't continue those anyway while an event loop uses it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

if TYPE_CHECKING:
    from .async_client import AsyncClient
    from .client import Client
    from .completions import Completion, CompletionBoundary, Completions
    from .endpoint import DEFAULT_ENDPOINT
    from .errors import (
        CallCancelledError,
        DeadlineExceededError,
        DivergedError,
        FailedPreconditionError,
        IncompleteStreamError,
        InternalError,
        InvalidArgumentError,
        NextcharError,
        NotFoundError,
        PermissionDeniedError,
        ResourceExhaustedError,
        UnauthenticatedError,
        UnavailableError,
        UnimplementedError,
    )
    from .options import AccessOptions, GenerationOptions, ScoreOptions, UnknownCharacters
    from .results import (
        Activations,
        AlternativeCharacter,
        CharacterLogprob,
        Delta,
        Event,
        Finished,
        FinishReason,
        Generation,
        Health,
        LoadFailure,
        Model,
        Replay,
        Resumed,
        Score,
        Started,
        Usage,
    )
    from .samples import Sample, Samples, sample_seed
    from .scores import CandidateScore, CandidateScores, ScoredPart, ScoredText, ScoreEvent, ScoreStarted

__all__ = [
    "DEFAULT_ENDPOINT",
    "AccessOptions",
    "Activations",
    "AlternativeCharacter",
    "AsyncClient",
    "CallCancelledError",
    "CandidateScore",
    "CandidateScores",
    "CharacterLogprob",
    "Client",
    "Completion",
    "CompletionBoundary",
    "Completions",
    "DeadlineExceededError",
    "Delta",
    "DivergedError",
    "Event",
    "FailedPreconditionError",
    "FinishReason",
    "Finished",
    "Generation",
    "GenerationOptions",
    "Health",
    "IncompleteStreamError",
    "InternalError",
    "InvalidArgumentError",
    "LoadFailure",
    "Model",
    "NextcharError",
    "NotFoundError",
    "PermissionDeniedError",
    "Replay",
    "ResourceExhaustedError",
    "Resumed",
    "Sample",
    "Samples",
    "Score",
    "ScoreEvent",
    "ScoreOptions",
    "ScoreStarted",
    "ScoredPart",
    "ScoredText",
    "Started",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownCharacters",
    "Usage",
    "sample_seed",
]

_MODULES = (
    "endpoint",
    "options",
    "results",
    "samples",
    "scores",
    "completions",
    "errors",
    "client",
    "async_client",
)  # the quickest imports first


def __getattr__(name: str) -> Any:
    """Imports the public ``name`` from its module (PEP 562)."""
    if name in __all__:
        for module in _MODULES:
            members = vars(import_module(f".{module}", __name__))
            if name in members:
                globals()[name] = members[name]
                return members[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
