"""The models behind the baselines that batch: our own kernel with a model file, or PyTorch with a checkpoint.

``rows`` advances texts with them. Our kernel is ``nextchar_model.runner``, which anybody may put into a server of
another make; ``pytorch`` has the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines.rows import Stepper
from nextchar_model.batch import SAMPLE, Batch, SamplingSettings
from nextchar_model.runner import Runner


def stepper_of(path: Path) -> Stepper[Any]:
    """Opens a model file in our kernel, or a checkpoint in PyTorch in its fastest form. Both use one thread."""
    if path.suffix != ".pt":
        return Kernel(path)
    import torch  # large, and the kernel doesn't need it

    from benchmarks.baselines.pytorch import PyTorch, fastest_type

    torch.set_num_threads(1)
    dtype = fastest_type()
    # Batches of oneDNN's LSTM are faster than those of PyTorch's own in bfloat16, and slower in float32.
    torch.backends.mkldnn.set_flags(dtype == torch.bfloat16)  # type: ignore[no-untyped-call]
    return PyTorch(path, dtype)


class Kernel:
    """Our kernel, which draws the ids itself."""

    def __init__(self, path: Path) -> None:
        self._runner = Runner(path)
        self.alphabet = self._runner.description.alphabet

    def begin(self, prompts: NDArray[np.int64], draws: NDArray[np.float32]) -> tuple[NDArray[np.int64], Batch]:
        """Reads the prompts without readout and sampler, and draws the first ids."""
        batch = self._runner.start([SamplingSettings()] * len(draws))
        read = prompts[1:]  # the boundary is what a batch starts from
        steps = self._runner.advance(batch, np.full((1, len(draws)), SAMPLE), draws[None], read=read)
        return steps.ids[0], batch

    def advance(self, state: Batch, draws: NDArray[np.float32]) -> tuple[NDArray[np.int64], Batch]:
        """Takes all steps in one call."""
        return self._runner.advance(state, np.full(draws.shape, SAMPLE), draws).ids, state

    def join(self, first: Batch, second: Batch) -> Batch:
        """Returns one batch."""
        return Batch.join([first, second])

    def take(self, state: Batch, rows: Sequence[int]) -> Batch:
        """Returns a smaller batch."""
        return state.take(rows)
