"""The split: the part of a dataset to train on, and the part that is held out to evaluate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import Spelling
from nextchar_model.decoder import continuing

from .dataset import Dataset
from .ids import IdSequence

EVALUATED_CHARACTERS = 2**17
"""Characters of a text that an evaluation uses at most, unless another number is asked for."""


@dataclass(frozen=True)
class Split:
    """All that a training needs to know of its text."""

    training: IdSequence
    """The ids to train on."""
    validation: Sequence[Spelling]
    """The first ``EVALUATED_CHARACTERS`` of the held-out documents."""
    line_end: int | None
    """The id that ends a line, if there is one."""
    characters_per_id: float = 1.0
    """Characters per id on average."""
    continuing: NDArray[np.bool_] | None = None
    """Marks the ids that continue a character, [V], if there are any."""

    @classmethod
    def of(cls, dataset: Dataset) -> Split:
        """The split of ``dataset``. Raises ``DatasetError`` if nothing is held out."""
        alphabet = dataset.alphabet
        has_lines = dataset.rules.documents != "line" and alphabet.knows("\n")
        return cls(
            training=dataset.training,
            validation=dataset.held_out_documents(EVALUATED_CHARACTERS),
            line_end=int(alphabet.encode("\n")[0]) if has_lines else None,
            characters_per_id=dataset.characters_per_id,
            continuing=inside if (inside := continuing(alphabet)).any() else None,
        )
