"""Teachers on the command line, with a bar while they read the text. ``fit`` and ``resume`` share it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.cache import default_cache
from ..data.dataset import Dataset
from ..learning.recipe import Teaching
from ..run.teachers import Lessons, Taught
from ..run.terminal import preparing
from ..teaching.lessons import prepare_lessons, prepare_lessons_again
from ..teaching.teachers import OpenTeacher


def read_lessons(
    teachers: Sequence[OpenTeacher], teaching: Teaching, dataset: Dataset, cache: Path | None
) -> Lessons | None:
    """Returns the lessons of ``teachers`` over ``dataset``, or None if there are no teachers."""
    if not teachers:
        return None
    with preparing() as show:
        return prepare_lessons(teachers, teaching, dataset, cache or default_cache(), show)


def read_lessons_again(taught: Taught | None, dataset: Dataset, cache: Path | None) -> Lessons | None:
    """Returns the lessons of an earlier training, or None if it had no teachers."""
    if taught is None:
        return None
    with preparing() as show:
        return prepare_lessons_again(taught, dataset, cache or default_cache(), show)
