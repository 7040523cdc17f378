"""Tiny models of random weights for Korean, one per alphabet."""

from pathlib import Path

import torch

from nextchar_model.alphabet import Alphabet, Kind
from nextchar_model.cell import Cell, Precision
from nextchar_model.description import TrainingSummary
from nextchar_training.export.exporter import export
from nextchar_training.learning.network import Network
from nextchar_training.learning.recipe import Architecture

KINDS: tuple[Kind, ...] = ("characters", "jamo", "bytes")
KOREAN = "서울특별시 강남구 테헤란로 값 없는 물건, 밟고 읽는 책들. ㅋㅋㅋ ㅠㅠ Café née! 12동 503호\n" * 8


def make_korean_model(
    kind: Kind, folder: Path, *, cell: Cell = "lstm", precision: Precision = "int8", endless: bool = False
) -> Path:
    """Exports the tiny model of the alphabet ``kind`` into ``folder``, and returns its file.

    If it is ``endless``, no document ends.
    """
    torch.manual_seed(0)
    alphabet = Alphabet.of(KOREAN, kind)
    network = Network(Architecture(alphabet_size=alphabet.size, hidden_size=32, embedding_size=8, cell=cell))
    with torch.no_grad():
        network.readout.weight.mul_(6)
        if kind == "bytes":  # favour the bytes of Hangul, so that some form characters
            network.readout.bias[1:] -= 3.0
            for id_ in alphabet.encode(KOREAN).tolist():
                network.readout.bias[id_] = 1.0
        if endless:
            network.readout.bias[0] = -50.0
    path = folder / f"{kind}-{cell}-{precision}.onnx"
    summary = TrainingSummary("random weights", len(KOREAN), "none", 0, 0.0, 0, 0.0, rules={"documents": "file"})
    export(network, alphabet, summary, path, precision=precision, text=KOREAN)
    return path
