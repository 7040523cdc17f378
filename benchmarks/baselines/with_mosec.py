"""Baseline (c): mosec with dynamic batching, streaming by server-sent events.

``python -m benchmarks.baselines.with_mosec CHECKPOINT|MODEL PORT``

Written as mosec's example of a service with events: its front collects requests for a moment, and a worker process
gets them as one batch and sends an event for each of them. A batch runs to its end before the next one starts, because
mosec has no way to add to it; a text that ends leaves the steps of the others.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import mosec

from benchmarks.baselines.rows import Piece, Request, Rows
from benchmarks.baselines.stepping import stepper_of

_MOST_ROWS = 64
_WAIT_MILLISECONDS = 5  # for a batch to fill
_STEPS = 64  # the fastest of 16, 32 and 64: an event costs as much as several steps of a row


class Texts(mosec.SSEWorker):
    """Generates the texts of a batch of requests."""

    def __init__(self) -> None:
        super().__init__()
        self._stepper = stepper_of(Path(os.environ["MODEL"]))

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Sends the characters of all texts as they come, and returns the requests, which mosec ignores."""
        rows = Rows(self._stepper, _STEPS)
        self._send(rows.add([Request(place, **request) for place, request in enumerate(data)]))
        while len(rows):
            self._send(rows.advance())
        return data

    def _send(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            self.send_stream_event(json.dumps({"text": piece.text}), index=piece.key)


def main() -> None:
    """Runs the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("port")
    options = parser.parse_args()
    # mosec reads its settings from the command line or from here; its time limits are for a model that hangs.
    os.environ |= {
        "MOSEC_PORT": options.port,
        "MOSEC_ADDRESS": "127.0.0.1",
        "MOSEC_TIMEOUT": "60000",
        "MOSEC_PATH": str(options.model.with_name(f"mosec-{options.port}")),  # of its sockets, which a kill leaves
    }
    server = mosec.Server()
    server.append_worker(
        Texts,
        max_batch_size=_MOST_ROWS,
        max_wait_time=_WAIT_MILLISECONDS,
        timeout=60,
        env=[{"MODEL": str(options.model)}],
        route="/texts",
    )
    server.run()


if __name__ == "__main__":
    main()
