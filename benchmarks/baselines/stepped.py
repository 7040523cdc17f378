"""Baseline (b): the exported model, one ONNX ``LSTM`` step per call, stepped and sampled from Python with NumPy.

``python -m benchmarks.baselines.stepped CHECKPOINT PORT``
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from benchmarks.baselines.server import serve
from nextchar_model.alphabet import BOUNDARY, Ids
from nextchar_training.run.checkpoint import Checkpoint, load_checkpoint

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

_STEP = """
<ir_version: 10, opset_import: ["": 20]>
step (int64[1, 1] id, float[1, 1, {H}] h, float[1, 1, {H}] c)
  => (float[1, {V}] logits, float[1, 1, {H}] new_h, float[1, 1, {H}] new_c) {{
  embedded = Gather <axis = 0> (embedding, id)
  outputs, new_h, new_c = LSTM <hidden_size = {H}> (embedded, W, R, B, , h, c)
  row = Squeeze (new_h, first_axis)
  logits = Gemm <transB = 1> (row, readout, readout_bias)
}}
"""


def main() -> None:
    """Runs the server."""
    checkpoint = load_checkpoint(Path(sys.argv[1]))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(_export(checkpoint).SerializeToString(), options)
    H = checkpoint.architecture.hidden_size

    def generate(prompt: Ids, seed: int) -> Iterator[int]:
        random = np.random.default_rng(seed)
        h, c = np.zeros((1, 1, H), np.float32), np.zeros((1, 1, H), np.float32)
        for id_ in [BOUNDARY, *prompt]:
            logits, h, c = session.run(None, {"id": np.array([[id_]]), "h": h, "c": c})
        while True:
            probabilities = np.exp(logits[0] - logits[0].max())
            cumulative = probabilities.cumsum()
            id_ = int(cumulative.searchsorted(random.random() * cumulative[-1], side="right"))
            yield id_
            logits, h, c = session.run(None, {"id": np.array([[id_]]), "h": h, "c": c})

    serve(checkpoint.alphabet, generate, int(sys.argv[2]))


def _export(checkpoint: Checkpoint) -> onnx.ModelProto:
    """Returns a model of one step: from an id and a state to logits and a state."""
    weights = {name: value.numpy() for name, value in checkpoint.weights.items()}
    V, H = weights["readout.weight"].shape
    bias = np.concatenate([_reordered(weights["layers.0.bias_ih_l0"]), _reordered(weights["layers.0.bias_hh_l0"])])
    model = onnx.parser.parse_model(_STEP.format(H=H, V=V))
    constants = {
        "embedding": weights["embedding.weight"],
        "W": _reordered(weights["layers.0.weight_ih_l0"])[None],
        "R": _reordered(weights["layers.0.weight_hh_l0"])[None],
        "B": bias[None],
        "readout": weights["readout.weight"],
        "readout_bias": weights["readout.bias"],
        "first_axis": np.array([0]),
    }
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    return model


def _reordered(gates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns PyTorch's gates i, f, g, o in ONNX's order i, o, f, g."""
    i, f, g, o = np.split(gates, 4)
    return np.concatenate([i, o, f, g])


if __name__ == "__main__":
    main()
