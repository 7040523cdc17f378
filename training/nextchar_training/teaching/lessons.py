"""Lessons: the distributions of a training's teachers over its text, found in the cache or made.

They are kept under the digest of the teacher's file and that of the dataset's ids, so they can be no others. A run that
was interrupted finds them there, and doesn't need its teachers' files again. If they were removed, they are made again
from a file with the same digest, or the run doesn't continue.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from nextchar_cli.printable import printable
from nextchar_cli.wording import explain

from ..data.cache import distributions_folder, new_folder, one_at_a_time
from ..data.counts import Show
from ..data.dataset import Dataset
from ..data.distributions import DistributionFile, DistributionWriter, Form
from ..data.rules import DatasetError
from ..data.sources import stored
from ..data.split import EVALUATED_CHARACTERS
from ..files import write_whole
from ..learning.evaluation import windows_loss
from ..learning.recipe import Teaching
from ..run.teachers import Lesson, Lessons, Taught, Teacher
from .reading import Reading
from .teachers import OpenTeacher, TeacherError, open_teacher

_DISTRIBUTIONS, _FACTS = "distributions.npy", "teacher.json"


@dataclass(frozen=True)
class _Facts:
    """The facts of a teacher's distributions, kept beside them: those that the key of their folder determines.

    The fields are those of ``Teacher`` and ``Lesson``.
    """

    windows_loss: float
    seconds: float
    listed_mass: float


_JSON = TypeAdapter(_Facts)


def prepare_lessons(
    teachers: Sequence[OpenTeacher],
    teaching: Teaching,
    dataset: Dataset,
    cache: Path,
    show: Show = lambda activity, fraction: None,
) -> Lessons:
    """Returns the lessons of ``teachers``, at least one, over the training part of ``dataset``; makes missing ones.

    Raises ``TeacherError`` if a teacher has another alphabet than the text or can't be read, ``DatasetError`` if
    nothing is held out or kept distributions are damaged, ``OSError`` if distributions can't be written.
    """
    for teacher in teachers:
        teacher.check_alphabet(dataset.alphabet)
    key = _key(dataset)
    lessons = []
    for one in teachers:
        same_split = one.has_same_split(dataset)
        lessons.append(_lesson(one.path, one.sha256, same_split, key, partial(_opened, one), dataset, cache, show))
    return Lessons(tuple(lessons), teaching, dataset.rules.validation_name)


def prepare_lessons_again(
    taught: Taught, dataset: Dataset, cache: Path, show: Show = lambda activity, fraction: None
) -> Lessons:
    """Returns the lessons of an earlier training. Raises as ``prepare_lessons`` does, and if a teacher has changed."""
    key = _key(dataset)
    lessons = []
    for one in taught.teachers:
        path = Path(one.name)
        opened = partial(_reopened, path, one.sha256)
        lessons.append(_lesson(path, one.sha256, one.same_split, key, opened, dataset, cache, show))
    return Lessons(tuple(lessons), taught.teaching, dataset.rules.validation_name)


def _key(dataset: Dataset) -> str:
    """Returns the digest of all ids, and of the place up to which they are to train on."""
    return hashlib.sha256(f"{dataset.ids.sha256()} {len(dataset.training)}".encode()).hexdigest()


def _opened(teacher: OpenTeacher) -> OpenTeacher:
    return teacher


def _reopened(path: Path, sha256: str) -> OpenTeacher:
    remedy = "its distributions are no longer in the cache, so put it back, or train again with fit"
    try:
        teacher = open_teacher(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TeacherError(f"{printable(str(path))}: a teacher of the run can't be read: {reason}; {remedy}") from error
    if teacher.sha256 != sha256:
        raise TeacherError(f"{printable(str(path))}: no longer the teacher of the run; {remedy}")
    return teacher


def _lesson(
    path: Path,
    sha256: str,
    same_split: bool,
    key: str,
    teacher: Callable[[], OpenTeacher],
    dataset: Dataset,
    cache: Path,
    show: Show,
) -> Lesson:
    """Returns the lesson of the teacher with this ``sha256``; ``teacher`` opens it."""
    folder = distributions_folder(cache, sha256, key)
    made = False
    if not folder.exists():
        try:
            with one_at_a_time(folder):
                if not folder.exists():
                    _make(teacher(), dataset, folder, show)
                    made = True
        except OSError as error:
            reason = f"the teacher's distributions were not written: {error.strerror}; --cache names another folder"
            raise OSError(error.errno, reason, str(folder)) from error
    facts = _read_facts(folder / _FACTS)
    distributions = DistributionFile(folder / _DISTRIBUTIONS, Form(dataset.alphabet.size))
    record = Teacher(stored(str(path.absolute())), sha256, facts.windows_loss, same_split)
    return Lesson(record, distributions, facts.seconds, made, facts.listed_mass)


def _make(teacher: OpenTeacher, dataset: Dataset, folder: Path, show: Show) -> None:
    documents = dataset.validation_documents(EVALUATED_CHARACTERS)
    started = time.perf_counter()
    part = dataset.rules.validation_name
    show(f"{teacher.name} reads the {part}", 0.0)
    runner = teacher.runner(dataset)
    loss = windows_loss(runner, documents)
    if not math.isfinite(loss):
        raise TeacherError(f"{teacher.name}: this teacher's loss on the {part} is {loss}")
    ids, form = dataset.training, Form(dataset.alphabet.size)
    with new_folder(folder) as partial_folder:
        with DistributionWriter(partial_folder / _DISTRIBUTIONS, form, len(ids)) as writer:
            activity = f"{teacher.name} reads the training text"
            mass = Reading(runner, form, writer).read(ids, lambda fraction: show(activity, fraction))
        facts = _Facts(loss, time.perf_counter() - started, mass)
        write_whole(partial_folder / _FACTS, _JSON.dump_json(facts), kind="facts")


def _read_facts(path: Path) -> _Facts:
    try:
        return _JSON.validate_json(path.read_bytes())
    except ValidationError as error:
        field, problem = explain(error)
        raise DatasetError(f"{path}: damaged ({field}: {problem}); remove its folder") from error
