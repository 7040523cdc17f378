"""Ancestry: whether a network, or a model that it learned from, may know the part of a text to evaluate on.

A network knows that part if it was trained on it. It may know it if a model that taught it or that it started from
does, so checkpoints and snapshots state both. Model files state neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from ..data.dataset import Dataset
from ..data.split import is_unseen

if TYPE_CHECKING:
    from .checkpoint import TrainingRecord


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Start:
    """The checkpoint from whose weights a run started."""

    command: str
    """The command line that trained it."""
    step: int
    same_split: bool
    """Whether it, and all that it learned from, were trained on the same text, and without the part to evaluate on."""
    knows_part: bool
    """Whether it may know that part, as far as that is seen: what it learned from another text isn't."""

    @classmethod
    def of(cls, record: TrainingRecord, dataset: Dataset) -> Self:
        """The start of a run on ``dataset`` from the checkpoint of ``record``."""
        return cls(record.command, record.step, has_same_split(record, dataset), _knows_part(record, dataset))

    def warning(self, part: str) -> str | None:
        """Returns a warning if the checkpoint may know the ``part`` to evaluate on, which is its name."""
        if not self.knows_part:
            return None
        return (
            "the checkpoint to start from learned this text by other rules or from other files, or from a model of "
            f"other rules or of another text, so it may know the {part}"
        )


def has_same_split(record: TrainingRecord, dataset: Dataset) -> bool:
    """Whether a network, and all that it learned from, were trained on the text of ``dataset`` without the part to
    evaluate on.
    """
    unseen = is_unseen(dataset, record.rules, record.corpus_sha256, record.files_sha256)
    return unseen and _teachers_same_split(record) and (record.start is None or record.start.same_split)


def _knows_part(record: TrainingRecord, dataset: Dataset) -> bool:
    if record.corpus_sha256 != dataset.facts.sha256:
        return False  # another text, which fine-tuning is for
    seen = not is_unseen(dataset, record.rules, record.corpus_sha256, record.files_sha256)
    return seen or not _teachers_same_split(record) or (record.start is not None and record.start.knows_part)


def _teachers_same_split(record: TrainingRecord) -> bool:
    return record.taught is None or all(teacher.same_split for teacher in record.taught.teachers)
