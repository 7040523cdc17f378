"""Fixtures of every test. Imports no torch: most files need none, and it takes seconds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

from nextchar_model.cell import Cell

if TYPE_CHECKING:
    from tests.support.tiny_model import TinyModel

# The same examples every time, and none that fails because the machine is busy.
settings.register_profile("nextchar", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nextchar")

# Tiny networks are slower with more threads, and with one a training is repeatable. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


# A shell without job control hides SIGINT from a command in the background, and processes of tests would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves examples by the hundred out of the coverage, which doubles their time: other tests reach the lines."""
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("no_cover")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps the datasets of tests out of the user's cache."""
    os.environ["NEXTCHAR_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Cell], TinyModel]:
    """The tiny model of each cell."""
    from tests.support.tiny_model import make_tiny_model

    @cache
    def make(cell: Cell) -> TinyModel:
        return make_tiny_model(cell, tmp_path_factory.mktemp("tiny"))

    return make


@pytest.fixture(scope="session")
def tiny(tiny_of: Callable[[Cell], TinyModel]) -> TinyModel:
    """The tiny LSTM."""
    return tiny_of("lstm")
