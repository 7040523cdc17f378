"""Trains a small model on lines and serves it: the beginning of the other examples."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch

from nextchar_client import Client
from nextchar_training import Recipe, Rules, Sizes, export_model, fit


@contextlib.contextmanager
def served(
    lines: Sequence[str],
    *,
    alphabet: Literal["characters", "jamo", "bytes"] = "characters",
    epochs: int = 10,
) -> Iterator[Client]:
    """Trains on ``lines``, each of which is a document, and yields a client of a server that serves the model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.set_num_threads(1)  # steps this small gain nothing from a second one
        (folder / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
        with contextlib.redirect_stdout(sys.stderr):  # the progress of the training
            fit(
                folder / "lines.txt",
                folder / "run",
                recipe=Recipe(epochs=epochs, batch_size=16, learning_rate=0.01, dropout=0.1),
                sizes=Sizes(hidden_size=64, embedding_size=16),
                rules=Rules(documents="line", alphabet=alphabet),
            )
            export_model(folder / "run", folder / "model.onnx")
        options = ["--model", str(folder / "model.onnx"), "--grpc-port", "0", "--http-port", "0"]
        command = [sys.executable, "-m", "nextchar_server", *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            try:
                with Client(f"127.0.0.1:{_port(server)}") as client:
                    yield client
            finally:
                server.terminate()


def numbers(seed: int = 1) -> random.Random:
    """Returns the random numbers with which an example makes its data, the same in every run."""
    return random.Random(seed)


def _port(server: subprocess.Popen[str]) -> int:
    """Waits until ``server`` serves, and returns its port."""
    assert server.stderr is not None
    for line in server.stderr:
        event = json.loads(line)
        if event["event"] == "serving":
            threading.Thread(target=server.stderr.read, daemon=True).start()  # a full pipe would hold it up
            return int(event["grpc_port"])
    raise RuntimeError("the server ended before it served")
