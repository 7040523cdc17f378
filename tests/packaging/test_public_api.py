"""The public names of the client, and the marks of typed packages."""

import dataclasses
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import nextchar_client
from nextchar_client import errors
from nextchar_client.errors import NextcharError


def test_public_names_are_these() -> None:
    assert sorted(nextchar_client.__all__) == [
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
        "DEFAULT_ENDPOINT",
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


def test_every_public_name_exists() -> None:
    for name in nextchar_client.__all__:
        assert hasattr(nextchar_client, name)


@pytest.mark.parametrize(
    "package", ["nextchar", "nextchar_cli", "nextchar_client", "nextchar_model", "nextchar_server", "nextchar_training"]
)
def test_packages_are_marked_as_typed(package: str) -> None:
    (folder,) = import_module(package).__path__
    assert (Path(folder) / "py.typed").exists()


def test_results_are_frozen() -> None:
    values = [getattr(nextchar_client, name) for name in nextchar_client.__all__]
    results = [value for value in values if isinstance(value, type) and dataclasses.is_dataclass(value)]
    assert len(results) == 21
    for result in results:
        assert result.__dataclass_params__.frozen  # type: ignore[attr-defined]


def descendants(kind: type[NextcharError]) -> Iterator[type[NextcharError]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def test_the_drawn_tree_of_errors_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = [line.split()[1] for line in errors.__doc__.splitlines() if line.strip().startswith(("├──", "└──"))]
    assert sorted(drawn) == sorted(kind.__name__ for kind in descendants(NextcharError))
