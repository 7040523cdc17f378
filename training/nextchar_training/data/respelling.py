"""Respelling: a dataset in another alphabet, for a model that learned from another text.

Fine-tuning needs it. The dataset in the cache keeps its own ids; each stretch is translated when it is read.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nextchar_model.alphabet import Alphabet

from .dataset import Dataset
from .rules import DatasetError

_SHOWN = 8  # characters that the error lists


def respelled(dataset: Dataset, alphabet: Alphabet) -> Dataset:
    """Returns ``dataset`` with the ids of ``alphabet``.

    Raises ``DatasetError`` if ``alphabet`` is of another kind, or lacks a symbol of the dataset.
    """
    own = dataset.alphabet
    if own == alphabet:
        return dataset
    if own.kind != alphabet.kind:
        raise DatasetError(f"the model's alphabet is of the kind {alphabet.kind}, the dataset's {own.kind}")
    numbers = {symbol: n for n, symbol in enumerate(alphabet.symbols, start=1)}
    if missing := [symbol for symbol in own.symbols if symbol not in numbers]:
        listed = ", ".join(f"{symbol!r} (U+{ord(symbol):04X})" for symbol in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise DatasetError(
            f"{dataset.corpus.name}: the model's alphabet lacks {listed}{more}: remove them from the text, or "
            "leave out rare ones with --minimum-count"
        )
    table = np.array([0, *(numbers[symbol] for symbol in own.symbols)])  # the boundary stays
    facts = replace(dataset.facts, alphabet=alphabet)
    return replace(dataset, facts=facts, ids=dataset.ids.translated(table))
