"""Fixtures of the end-to-end tests."""

from collections.abc import Iterator

import pytest

from tests.support.compose import Project, compose_command, project


@pytest.fixture(scope="module")
def compose() -> tuple[str, ...]:
    """The command of Compose. Skips if anything that it needs is missing."""
    return compose_command()


@pytest.fixture(scope="module")
def stack(compose: tuple[str, ...]) -> Iterator[Project]:
    """A project whose server and Prometheus run."""
    with project(compose) as stack:
        yield stack
