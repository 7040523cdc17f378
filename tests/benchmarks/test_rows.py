"""The loop inside the baselines that batch, with our kernel, with PyTorch and with a script."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.baselines.pytorch import PyTorch
from benchmarks.baselines.rows import Request, Rows, Stepper
from benchmarks.baselines.stepping import Kernel
from nextchar_model.alphabet import Alphabet
from nextchar_model.runner import Runner
from nextchar_training.data.rules import Rules
from nextchar_training.run.checkpoint import Checkpoint, TrainingRecord, save_checkpoint
from tests.support.tiny_model import TinyModel

WANTED = [Request(n, prompt, 20 + 7 * n, n) for n, prompt in enumerate(("Romeo", "", "night a", "light", "a"))]


def texts_of(stepper: Stepper[Any], *arrivals: Sequence[Request]) -> dict[Any, str]:
    """The texts of requests that arrive in groups, a turn between two groups."""
    rows = Rows(stepper, steps=8)
    texts: dict[Any, str] = {}
    groups = iter(arrivals)
    while (group := next(groups, ())) or len(rows):
        for piece in [*rows.add(group), *rows.advance()]:
            texts[piece.key] = texts.get(piece.key, "") + piece.text
    return texts


def alone(model: Path) -> dict[Any, str]:
    """The same texts by the runner, one at a time."""
    runner = Runner(model)
    symbols = ["", *runner.description.alphabet.symbols]
    texts = {}
    for request in WANTED:
        ids = runner.generate(request.prompt, request.seed, request.max_characters).ids[:, 0]
        texts[request.key] = "".join(symbols[id_] for id_ in ids[-request.max_characters :])
    return texts


def test_texts_in_one_batch_are_those_of_the_runner_alone(tiny: TinyModel) -> None:
    assert texts_of(Kernel(tiny.int8), WANTED) == alone(tiny.int8)


def test_texts_that_join_running_ones_are_the_same(tiny: TinyModel) -> None:
    assert texts_of(Kernel(tiny.int8), WANTED[:2], WANTED[2:3], WANTED[3:]) == alone(tiny.int8)


def test_pytorch_makes_the_texts_of_the_model_file_in_float32(tiny: TinyModel, tmp_path: Path) -> None:
    record = TrainingRecord("random weights", (), "", Rules(), 0, "none", 0, 0, 0.0, 0.0, 0.0, 0.0)
    path = tmp_path / "tiny.pt"
    save_checkpoint(Checkpoint(tiny.network.architecture, tiny.alphabet, tiny.network.state_dict(), record), path)
    assert texts_of(PyTorch(path, torch.float32), WANTED[:2], WANTED[2:]) == alone(tiny.fp32)


class Script:
    """A model whose rows say the alphabet from their number on; behind its last character comes the boundary, 0."""

    alphabet = Alphabet(tuple("abcd"))

    def begin(self, prompts: NDArray[np.int64], draws: NDArray[np.float32]) -> tuple[NDArray[np.int64], list[int]]:
        first = [1 + row % 4 for row in range(len(draws))]
        return np.array(first), first

    def advance(self, state: list[int], draws: NDArray[np.float32]) -> tuple[NDArray[np.int64], list[int]]:
        steps = np.array([[(last + step) % 5 for last in state] for step in range(1, len(draws) + 1)])
        return steps, steps[-1].tolist()

    def join(self, first: list[int], second: list[int]) -> list[int]:
        return first + second

    def take(self, state: list[int], rows: Sequence[int]) -> list[int]:
        return [state[row] for row in rows]


def test_a_text_that_ends_leaves_and_the_others_go_on() -> None:
    rows = Rows(Script(), steps=2)
    assert rows.add([Request(n, "", 9, 0) for n in range(4)]) == [(n, "abcd"[n], False) for n in range(4)]
    assert rows.advance() == [(0, "bc", False), (1, "cd", False), (2, "d", True), (3, "", True)]
    assert len(rows) == 2
    assert rows.advance() == [(0, "d", True), (1, "", True)]
    assert len(rows) == 0
