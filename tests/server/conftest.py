"""Fixtures of the server's tests."""

import os
from collections.abc import Callable

import pytest

Variables = Callable[..., None]


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Variables:
    """Sets ``NEXTCHAR_*`` variables. Those of the surroundings are removed."""
    for name in list(os.environ):
        if name.startswith("NEXTCHAR_"):
            monkeypatch.delenv(name)

    def set_variables(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"NEXTCHAR_{name}", value)

    return set_variables
