"""Two workers in two processes share their values."""

import json
import os
import socket
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, torch
from nextchar_training.learning.workers import joined

rank = int(os.environ["RANK"])
with joined(2, torch.device("cpu"), []) as workers:
    own = [torch.tensor([[1.0, 2.0], [3.0, 4.0]]) + rank, torch.tensor(10.0 * rank)]
    workers.average(own)
    print(json.dumps({
        "average": [one.tolist() for one in own],
        "mean": workers.mean(torch.tensor(float(rank))).item(),
        "gather": workers.gather(torch.tensor([[rank, rank + 10]]), 0).tolist(),
        "agree": workers.agree([rank + 7.0]),
        "part": workers.part(torch.arange(6), 0).tolist(),
    }))
"""


@pytest.mark.slow
def test_two_workers_average_gather_and_agree() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    joint = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT], env={**joint, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    first, second = (json.loads(process.communicate(timeout=300)[0]) for process in both)
    assert (first.pop("part"), second.pop("part")) == ([0, 1, 2], [3, 4, 5])
    assert first == second
    assert first == {
        "average": [[[1.5, 2.5], [3.5, 4.5]], 5.0],
        "mean": 0.5,
        "gather": [[0, 10], [1, 11]],
        "agree": [7.0],
    }
