"""The client of nextchar: a library, and the command ``nextchar`` on it.

``AsyncClient`` calls a server from an event loop, ``Client`` from anywhere else::

    from nextchar_client import Client, Delta

    with Client("127.0.0.1:50051") as client:
        for event in client.stream("ROMEO:", seed=7, max_characters=400):
            if isinstance(event, Delta):
                print(event.text, end="", flush=True)

The public names are those in ``__all__``; no protobuf is among their types.
"""

from .async_client import DEFAULT_ENDPOINT, AsyncClient
from .client import Client
from .errors import (
    CallCancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
    IncompleteStreamError,
    InternalError,
    InvalidArgumentError,
    NextcharError,
    NotFoundError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from .options import GenerationOptions, UnknownCharacters
from .results import (
    AlternativeCharacter,
    CharacterLogprob,
    Delta,
    Event,
    Finished,
    FinishReason,
    Generation,
    Health,
    Model,
    Replay,
    Score,
    Started,
    Usage,
)

__all__ = [
    "DEFAULT_ENDPOINT",
    "AlternativeCharacter",
    "AsyncClient",
    "CallCancelledError",
    "CharacterLogprob",
    "Client",
    "DeadlineExceededError",
    "Delta",
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
    "Model",
    "NextcharError",
    "NotFoundError",
    "Replay",
    "ResourceExhaustedError",
    "Score",
    "Started",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownCharacters",
    "Usage",
]
