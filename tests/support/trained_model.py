"""The packaged model's trained weights in both precisions."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from nextchar_model.cell import Precision
from nextchar_model.runner import Runner
from nextchar_server.settings.config import PACKAGED_MODEL
from nextchar_training.export.exporter import export
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture

TEXT = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n\n" * 4


def trained_model(precision: Precision, folder: Path) -> Path:
    """Returns the packaged file for int8; for fp32 a file in ``folder`` that has the same weights."""
    if precision == "int8":
        return PACKAGED_MODEL
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(PACKAGED_MODEL).graph.initializer}
    description = Runner(PACKAGED_MODEL).description
    V, H = description.alphabet.size, description.hidden_size
    # The file has embedding · Wᵀ + b as one table, so an embedding of unit vectors stands for the trained one.
    network = Network(Architecture(alphabet_size=V, hidden_size=H, embedding_size=V, cell=description.cell))
    weights = {
        "embedding.weight": np.eye(V, dtype=np.float32),
        "layers.0.weight_ih_l0": stored["rows_table"].T,
        "layers.0.weight_hh_l0": (stored["gates_0_weight"] * stored["gates_0_scale"]).T,
        "readout.weight": (stored["logits_weight"] * stored["logits_scale"]).T,
        "readout.bias": stored["logits_bias"],
    }
    with torch.no_grad():
        for name, values in weights.items():
            network.get_parameter(name).copy_(torch.tensor(values))
    path = folder / "trained.onnx"
    export(network, description.alphabet, description.training, path, precision=precision, text=TEXT)
    return path
