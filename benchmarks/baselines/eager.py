"""Baseline (a): PyTorch eager, ``nn.LSTM`` stepped one character at a time.

``python -m benchmarks.baselines.eager CHECKPOINT PORT [--without-onednn]``
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.baselines.server import serve
from nextchar_model.alphabet import BOUNDARY, Ids
from nextchar_training.run.checkpoint import load_checkpoint


def main() -> None:
    """Runs the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--without-onednn", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)  # each request has a thread of its own; more would compete for the core
    torch.backends.mkldnn.set_flags(not options.without_onednn)  # type: ignore[no-untyped-call] # in all threads
    checkpoint = load_checkpoint(options.checkpoint)
    network = checkpoint.network()

    @torch.inference_mode()
    def generate(prompt: Ids, seed: int) -> Iterator[int]:
        random = torch.Generator().manual_seed(seed % 2**63)
        ids = torch.cat([torch.tensor([BOUNDARY]), torch.from_numpy(prompt)])[:, None]  # (T, 1)
        state = network.initial_state(1)
        while True:
            logits, state = network(ids, state)  # (T, 1, V)
            ids = torch.multinomial(logits[-1].softmax(-1), 1, generator=random)  # (1, 1)
            yield int(ids)

    serve(checkpoint.alphabet, generate, options.port)


if __name__ == "__main__":
    main()
