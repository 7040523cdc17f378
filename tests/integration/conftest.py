"""Fixtures of the integration tests."""

import pytest

from tests.support.serving import Serve, serving


@pytest.fixture
def serve() -> Serve:
    """Returns a function that serves model files: an async context manager of a ``Serving``."""
    return serving
