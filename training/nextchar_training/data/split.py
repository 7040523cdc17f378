"""The split: the part of a dataset to train on, and the part to evaluate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nextchar_model.alphabet import Spelling
from nextchar_model.decoder import continuing

from .dataset import Dataset
from .ids import IdSequence
from .rules import Rules

EVALUATED_CHARACTERS = 2**17
"""Characters of a text that an evaluation uses at most, unless another number is asked for."""


@dataclass(frozen=True)
class Split:
    """All that a training needs to know of its text."""

    training: IdSequence
    """The ids to train on."""
    validation: Sequence[Spelling]
    """The first ``EVALUATED_CHARACTERS`` of the documents to evaluate on."""
    line_end: int | None
    """The id that ends a line, if there is one."""
    characters_per_id: float = 1.0
    """Characters per id on average."""
    continuing: NDArray[np.bool_] | None = None
    """Marks the ids that continue a character, [V], if there are any."""
    validates_all: bool = True
    """Whether ``validation`` is all there is to evaluate on."""

    @classmethod
    def of(cls, dataset: Dataset) -> Split:
        """The split of ``dataset``. Raises ``DatasetError`` if nothing is held out."""
        alphabet = dataset.alphabet
        validation = dataset.excerpt(dataset.validation, alphabet, EVALUATED_CHARACTERS)
        has_lines = dataset.rules.documents != "line" and alphabet.knows("\n")
        return cls(
            training=dataset.training,
            validation=validation.documents,
            validates_all=validation.is_whole,
            line_end=int(alphabet.encode("\n")[0]) if has_lines else None,
            characters_per_id=dataset.characters_per_id,
            continuing=inside if (inside := continuing(alphabet)).any() else None,
        )


def is_unseen(dataset: Dataset, rules: Rules, sha256: str, files_sha256: str | None = None) -> bool:
    """Whether a training by ``rules`` on the text of ``sha256`` never saw the part of ``dataset`` to evaluate on.

    ``files_sha256`` is that of ``Facts``. If files are documents and it is unknown, the training may have seen it.
    """
    own, texts = _explicit(rules), _explicit(dataset.rules)
    if not (texts.verbatim or dataset.facts.line_ends or dataset.facts.marks):
        own = replace(own, verbatim=False)  # which changes nothing in this text
    if own.development:
        texts = replace(texts, development=True)  # it left both parts alone
    facts = dataset.facts
    return own == texts and (sha256, files_sha256) == (facts.sha256, facts.files_sha256)


def _explicit(rules: Rules) -> Rules:
    return replace(rules, hold_out=rules.held_out, skip_undecodable=False)  # the digest shows the latter's effect
