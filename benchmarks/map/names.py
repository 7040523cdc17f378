"""Names of the map's models, as run folders and as model files.

``CELL-SIZE[-taught][-SEED]``, such as ``lstm-512``, ``gru-256-taught`` or ``lstm-512-2``: one layer of ``SIZE`` units,
trained on the text alone or also by teachers, with ``SEED``, which is 1 if it isn't named.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from nextchar_model.cell import Cell

RUNS = Path(os.environ.get("RUNS", "runs/map"))
"""The folder of the trainings."""

_CELLS = {str(cell): cell for cell in get_args(Cell)}
_FORM = re.compile(rf"({'|'.join(_CELLS)})-([1-9]\d*)(-taught)?(?:-(\d+))?")


@dataclass(frozen=True, order=True)
class Name:
    """A model of the map."""

    cell: Cell
    hidden_size: int
    taught: bool = False
    seed: int = 1

    @classmethod
    def of(cls, text: str) -> Name | None:
        """Reads a name. Returns None if ``text`` has another form."""
        found = _FORM.fullmatch(text)
        if found is None:
            return None
        cell, size, taught, seed = found.groups()
        name = cls(_CELLS[cell], int(size), taught is not None, 1 if seed is None else int(seed))
        return name if str(name) == text else None  # a seed of 1 isn't named

    def __str__(self) -> str:
        taught, seed = "-taught" if self.taught else "", "" if self.seed == 1 else f"-{self.seed}"
        return f"{self.cell}-{self.hidden_size}{taught}{seed}"
