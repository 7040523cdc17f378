"""The split: what of a dataset is trained on, and what is held out and evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import Spelling
from nextchar_model.decoder import continuing

from .dataset import Dataset
from .ids import Text

EVALUATED_CHARACTERS = 2**17
"""Characters of a text that are evaluated, at most, unless another number is asked for."""


@dataclass(frozen=True)
class Split:
    """What is trained on and what is evaluated, as ids."""

    training: Text
    validation: Sequence[Spelling]
    """Documents: those of the first ``EVALUATED_CHARACTERS`` that were held out."""
    line_end: int | None
    """The id with which a line ends."""
    characters_an_id: float = 1.0
    """Characters that an id spells, in the mean."""
    continuing: NDArray[np.bool_] | None = None
    """The ids that begin no character, [V], where there are any."""

    @classmethod
    def of(cls, dataset: Dataset) -> Split:
        """What ``dataset`` trains on and holds out."""
        alphabet = dataset.alphabet
        has_lines = dataset.rules.documents != "line" and alphabet.knows("\n")
        return cls(
            training=dataset.training,
            validation=dataset.documents(dataset.validation, alphabet, EVALUATED_CHARACTERS),
            line_end=int(alphabet.encode("\n")[0]) if has_lines else None,
            characters_an_id=dataset.characters_an_id,
            continuing=inside if (inside := continuing(alphabet)).any() else None,
        )
