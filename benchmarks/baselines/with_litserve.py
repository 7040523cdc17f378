"""Baseline (d): LitServe with continuous batching.

``python -m benchmarks.baselines.with_litserve CHECKPOINT|MODEL PORT``

Written for LitServe's ``ContinuousBatchingLoop``: it adds requests to the running ones as they come, calls ``step``
again and again, and streams the outputs, each a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import litserve
from litserve.loops.continuous_batching_loop import ContinuousBatchingLoop, Output
from litserve.utils import LitAPIStatus

from benchmarks.baselines.rows import Request, Rows
from benchmarks.baselines.stepping import stepper_of

_MOST_ROWS = 256  # more than callers: with fewer, newcomers can overtake those that LitServe lets wait
_STEPS = 48  # between 32, at which first characters come sooner, and 64, which is faster: an output costs several steps


class Loop(ContinuousBatchingLoop):
    """LitServe's loop, which waits in pauses while no text runs instead of spinning.

    On the one core, the spinning kept the processes that bring the next requests from running: requests waited for
    seconds.
    """

    async def run(self, lit_api: litserve.LitAPI, *everything: Any) -> None:
        """Advances the running texts until none is left."""
        if not lit_api.has_active_requests():
            await asyncio.sleep(self.sleep_delay)
        await super().run(lit_api, *everything)


class Texts(litserve.LitAPI):
    """Advances all running texts, of which newcomers get their first character apart."""

    def __init__(self, model: Path) -> None:
        super().__init__(max_batch_size=_MOST_ROWS, stream=True, api_path="/texts", loop=Loop())
        self._model = model

    def setup(self, device: str) -> None:
        """Opens the model, in the process that will run it."""
        self._rows = Rows(stepper_of(self._model), _STEPS)
        self._waiting: SimpleQueue[Request] = SimpleQueue()  # requests come in another thread than steps run in
        self._begins = False  # whether the last step was for newcomers

    def add_request(self, uid: str, request: dict[str, Any]) -> None:
        """Takes a request, which the next step begins."""
        self._waiting.put(Request(uid, **request))

    def has_capacity(self) -> bool:
        """Whether another text can run."""
        return len(self._rows) + self._waiting.qsize() < _MOST_ROWS

    def has_active_requests(self) -> bool:
        """Whether there is something to do."""
        return bool(self._waiting.qsize() or len(self._rows))

    def step(self, prev_outputs: list[Output] | None) -> list[Output]:
        """Begins the texts of newcomers, or advances all texts: in turns, if there is both to do."""
        self._begins = self._waiting.qsize() > 0 and not (self._begins and len(self._rows))
        if self._begins:
            pieces = self._rows.add([self._waiting.get() for _ in range(self._waiting.qsize())])
        else:
            pieces = self._rows.advance()
        outputs = []
        for piece in pieces:
            outputs.append(Output(piece.key, {"text": piece.text}, LitAPIStatus.OK))
            if piece.is_last:
                outputs.append(Output(piece.key, {}, LitAPIStatus.FINISH_STREAMING))
        return outputs


def main() -> None:
    """Runs the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    # ZeroMQ is LitServe's advice for more than a hundred requests per second.
    server = litserve.LitServer(Texts(options.model), accelerator="cpu", devices=1, fast_queue=True)
    server.run(host="127.0.0.1", port=options.port, num_api_servers=1, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
