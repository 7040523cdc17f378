"""Programs: a server recognizes every graph that the exporter writes, whatever its sizes, and no other."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from nextchar_model.cell import ROW_BLOCKS, Cell, Precision
from nextchar_model.draws import MAX_FLAT_DRAW
from nextchar_model.program import PROGRAMS
from nextchar_model.screen import program_of
from nextchar_training.export.graph import build_advance

CELLS: tuple[Cell, ...] = ("rnn", "gru", "lstm")
PRECISIONS: tuple[Precision, ...] = ("int8", "fp32")
LARGE = MAX_FLAT_DRAW + 1
SIZES = {
    "table": (3, 4),
    "embedding": (3, 2),
    "closer, table": (129, 129),
    "closer, embedding": (129, 2),
    "columns, table": (LARGE, LARGE),
    "columns, embedding": (LARGE, 2),
}


def weights(cell: Cell, V: int, H: int, layers: int) -> dict[str, NDArray[np.float32]]:
    """Returns the weights of a network, all of them zero, except the embedding."""
    rows, E = ROW_BLOCKS[cell] * H, 2
    shapes = {"readout.weight": (V, H), "readout.bias": (V,)}
    for n in range(layers):
        shapes[f"layers.{n}.weight_ih_l0"] = (rows, H if n else E)
        shapes[f"layers.{n}.weight_hh_l0"] = (rows, H)
        shapes |= {f"layers.{n}.bias_{side}_l0": (rows,) for side in ("ih", "hh")}
    zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return zeros | {"embedding.weight": np.ones((V, E), np.float32)}


def program(cell: Cell, precision: Precision, V: int, H: int, layers: int) -> str:
    model = build_advance(weights(cell, V, H, layers), cell=cell, layers=layers, precision=precision)
    return program_of(memoryview(model.SerializeToString(deterministic=True)), layers)


@pytest.mark.parametrize(("V", "H"), SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("layers", [1, 2])
def test_every_program_of_the_exporter_is_known(V: int, H: int, layers: int) -> None:
    written = {program(cell, precision, V, H, layers) for cell, precision in product(CELLS, PRECISIONS)}
    assert len(written) == len(CELLS) * len(PRECISIONS)
    assert sorted(written - PROGRAMS) == []  # add those that are missing, and keep the others: older files have them


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_further_layers_and_other_sizes_make_no_other_program(cell: Cell, precision: Precision) -> None:
    for V, H in ((3, 4), (3, 2)):
        expected = program(cell, precision, V, H, 2)
        assert {program(cell, precision, 3 * V, 3 * H, layers) for layers in (2, 3, 4, 12)} == {expected}
