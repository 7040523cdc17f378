"""Teachers: who taught a network, as checkpoints and snapshots state it, and their lessons for the trainer.

``teaching`` makes the lessons; this module knows no models.
"""

from __future__ import annotations

import os
from dataclasses import dataclass as plain_dataclass

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from nextchar_cli.printable import printable

from ..data.distributions import DistributionFile
from ..learning.distillation import Distillation
from ..learning.recipe import Teaching


def other_split(part: str) -> str:
    """Returns the warning about a model that may know the part to evaluate on, whose name is ``part``.

    It wasn't trained on the training part of this very text, or a model that it learned from wasn't.
    """
    return f"it learned from another text, by other rules or from a model that did, so it may know the {part}"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Teacher:
    """A model that taught another."""

    path: str | bytes
    """Its absolute path, a name that isn't UTF-8 by its bytes."""
    sha256: str
    """SHA-256 of its file, in hexadecimal."""
    windows_loss: float
    """Its loss on the part to evaluate on, in windows of 256 characters, in nats per character."""
    same_split: bool
    """Whether it, and all that it learned from, were trained on the same text, and without that part."""

    @property
    def name(self) -> str:
        """The path."""
        return os.fsdecode(self.path)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Taught:
    """Who taught a network, and how."""

    teachers: tuple[Teacher, ...]
    teaching: Teaching


@plain_dataclass(frozen=True)
class Lesson:
    """A teacher, and its distributions over the training text."""

    teacher: Teacher
    distributions: DistributionFile
    seconds: float
    """The time it took to make them."""
    made: bool
    """Whether they were made just now; otherwise they were found in the cache."""
    listed_mass: float
    """The mean probability of the ids that the distributions name."""


@plain_dataclass(frozen=True)
class Lessons:
    """All teachers of a training, at least one."""

    lessons: tuple[Lesson, ...]
    teaching: Teaching
    part: str
    """The name of the part to evaluate on."""

    @property
    def taught(self) -> Taught:
        """The part that checkpoints keep."""
        return Taught(tuple(lesson.teacher for lesson in self.lessons), self.teaching)

    @property
    def summary(self) -> list[tuple[str, str]]:
        """The names and the texts of lines about the teachers, with the time and the size of their distributions."""
        return [("teacher", _summarized(lesson, self.part)) for lesson in self.lessons]

    def distillation(self) -> Distillation:
        """Returns the part that the trainer uses."""
        return Distillation([lesson.distributions for lesson in self.lessons], self.teaching)


def _summarized(lesson: Lesson, part: str) -> str:
    teacher, file = lesson.teacher, lesson.distributions
    made = f"made in {lesson.seconds:,.1f} s" if lesson.made else "found in the cache"
    warning = "" if teacher.same_split else f" ({other_split(part)})"
    listed = "" if file.form.is_whole else f" of the {file.form.listed} likeliest ids, {lesson.listed_mass:.1%} of all,"
    return (
        f"{printable(teacher.name)}: windows loss {teacher.windows_loss:.4f} nats per character on the {part}"
        f"{warning}; its distributions{listed} over {len(file):,} ids take "
        f"{file.bytes / 1e6:,.1f} MB, {made}"
    )
