"""What every integration test may ask for."""

import pytest

from tests.support.serving import Serve, serving


@pytest.fixture
def serve() -> Serve:
    """Starts a server of model files, as an async context manager that gives a ``Serving``."""
    return serving
