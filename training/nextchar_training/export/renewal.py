"""Renewal: the graph of this version for a model file of an earlier one, from the file's own weights.

For models whose checkpoint is gone. The constants of the old graph go into the new one as they are, so its numbers keep
their bits; the checks are those of an export.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from nextchar_model.cell import ROW_BLOCKS
from nextchar_model.description import ModelDescription
from nextchar_model.runner import Runner
from nextchar_model.screen import PRODUCER
from nextchar_model.seal import sealed

from ..files import write_whole
from .exporter import ExportError
from .graph import build_advance
from .layers import Weights


def renew(path: Path, out: Path, *, say: Callable[[str], None] = lambda line: None) -> None:
    """Writes the model of the file ``path`` to ``out``, in this version's format. ``say`` is called with the result.

    Raises ``ModelFileError`` if ``path`` isn't a model file, and ``ExportError`` if the new file's results differ from
    the replay sample of the old one.
    """
    runner = Runner(path)
    description = runner.description
    earlier = {one.name: one for one in onnx.load(path).graph.initializer}
    has_output_scales = any(one.name.endswith("_scale") and one.dims for one in earlier.values())
    model = build_advance(
        _zeros(description),
        cell=description.cell,
        layers=description.layers,
        precision=description.precision,
        scales="output" if has_output_scales else "matrix",
    )
    for constant in model.graph.initializer:
        if (kept := earlier.get(constant.name)) is not None:
            if constant.dims != kept.dims or constant.data_type != kept.data_type:
                raise ExportError(f"{path}: its constant {constant.name} has another shape than in this version")
            constant.CopyFrom(kept)
    del model.metadata_props[:]
    model.producer_name = PRODUCER.decode()
    for key, value in description.to_metadata().items():
        model.metadata_props.add(key=key, value=value)
    write_whole(out, sealed(model.SerializeToString(deterministic=True)), kind="model file")
    new = Runner(out)
    sample = description.replay_sample
    before, after = (one.generate(sample.text, sample.seed, len(sample.ids)) for one in (runner, new))
    if before.ids.tobytes() != after.ids.tobytes() or before.logprob.tobytes() != after.logprob.tobytes():
        out.unlink()
        raise ExportError(f"{path}: its graph in this version's form computes other bits")
    say(f"replay sample repeated bit for bit: numeric class {new.replay().numeric_class}")


def _zeros(description: ModelDescription) -> Weights:
    """Returns weights of the shapes that ``description`` says; their values don't matter."""
    V, E, H = description.alphabet.size, description.embedding_size, description.hidden_size
    rows = ROW_BLOCKS[description.cell] * H
    shapes = {"embedding.weight": (V, E), "readout.weight": (V, H), "readout.bias": (V,)}
    for n in range(description.layers):
        shapes[f"layers.{n}.weight_ih_l0"] = (rows, H if n else E)
        shapes[f"layers.{n}.weight_hh_l0"] = (rows, H)
        shapes |= {f"layers.{n}.bias_{side}_l0": (rows,) for side in ("ih", "hh")}
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
