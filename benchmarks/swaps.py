"""Swaps: calls and memory while model files are replaced, half of them by files that can't be served.

Callers without any retries ask for texts all the time. Each text is generated again in this process, from the file
whose digest its ``Started`` tells, and compared.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import numpy as np
import torch

from benchmarks.models import WIDE, alphabet_of, model_file
from benchmarks.replicas import Replica, replicas
from benchmarks.report import Claim, claims, table
from nextchar.v1 import generation_pb2 as pb
from nextchar.v1 import generation_pb2_grpc
from nextchar_model.description import TrainingSummary
from nextchar_model.runner import Runner
from nextchar_training.export.exporter import MIN_CHARACTERS, export
from nextchar_training.learning.network import Network

TITLE = "Swaps"
_SWAPS = 40
_FILES = 4  # good ones, in turn, so that a file that was unloaded is loaded again
_CALLERS = 64
_CHARACTERS = 400
_SEEDS = 32
_PROMPT = "ROMEO:"
_CALM = 5.0  # seconds of load before the first swap
_SETTLED = 1.0  # seconds from the end of a swap to the next one
_WARM = 20  # swaps after which the heap has its final size
_COMPARED = 6  # swaps over which the memory is looked at: calls alone make it vary by some MiB
_PATIENCE = 60.0

_BAD: dict[str, Callable[[bytes], bytes]] = {
    "half-written": lambda content: content[: len(content) // 2],
    "one bit damaged": lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
    "empty": lambda content: b"",
    "a text": lambda content: b"not a model\n" * 1000,
    "zeros": lambda content: bytes(len(content)),
}


@dataclass
class _Load:
    """The calls of all callers."""

    texts: list[tuple[str, int, str]] = field(default_factory=list)
    """Digest, seed and text of each."""
    failures: list[str] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """When a message came, and the seconds since the one before it of its stream, or since its request."""

    async def call(self, stub: Any, seed: int) -> None:
        parts, digest, last = [], "", time.perf_counter()
        request = pb.GenerateStreamRequest(
            prompt=_PROMPT, parameters=pb.GenerationParameters(seed=seed, max_characters=_CHARACTERS)
        )
        try:
            async for event in stub.GenerateStream(request):
                now = time.perf_counter()
                self.gaps.append((now, now - last))
                last = now
                digest = event.started.model_digest or digest
                parts.append(event.delta.text)
        except grpc.aio.AioRpcError as error:
            self.failures.append(f"{error.code().name}: {error.details()}")
            return
        self.texts.append((digest, seed, "".join(parts)))

    def slowest(self, start: float, end: float) -> tuple[float, float]:
        """Returns the 99th percentile and the largest of the gaps from ``start`` to ``end``, in seconds."""
        gaps = sorted(gap for when, gap in self.gaps if start <= when < end)
        return gaps[math.ceil(0.99 * len(gaps)) - 1], gaps[-1]


@dataclass(frozen=True)
class _Swap:
    """One file that was renamed into place."""

    file: str
    outcome: str
    seconds: float
    """From the rename until the server said that it serves the file, or why not."""
    memory: float
    """Resident memory of the server, in MiB, a moment later."""


def measure(folder: Path) -> str:
    """Measures the swaps and returns the section of the results."""
    files = [_file(folder, number) for number in range(_FILES)]
    served = folder / "served"
    served.mkdir()
    shutil.copy(files[0], served / "verse.onnx")
    load = _Load()
    with replicas(folder, 1, "--models-dir", str(served)) as (replica,):
        swaps, times = asyncio.run(_swapped(replica, served, files, load))
    different = _different(load.texts, files)
    calm, during = load.slowest(*times[:2]), load.slowest(*times[1:])
    memory = [swap.memory for swap in swaps]
    first, last = median(memory[: _WARM + 1][-_COMPARED:]), median(memory[-_COMPARED:])
    lines = [
        Claim("calls that failed", 0, len(load.failures), at_most=True, unit="calls"),
        Claim("texts that differ from those of their file", 0, different, at_most=True, unit="texts"),
        Claim(f"memory after {_SWAPS} swaps, against that after {_WARM}", 1.05, last / first, at_most=True),
    ]
    used = len({digest for digest, _, _ in load.texts})
    introduction = (
        f"1×512, int8. {_CALLERS} callers, {len(load.texts):,} texts of {_CHARACTERS} characters from {used} files, "
        "each generated again in another process. The memory is the median of six figures. "
        "Between two messages of a stream, or before the first, passed "
        f"{1000 * calm[0]:.0f} ms (p99) and {1000 * calm[1]:.0f} (most) before the first swap, and "
        f"{1000 * during[0]:.0f} and {1000 * during[1]:.0f} during the swaps."
    )
    rows = [
        [str(number), swap.file, swap.outcome, f"{1000 * swap.seconds:.0f}", f"{swap.memory:.1f}"]
        for number, swap in enumerate(swaps)
    ]
    return "\n\n".join(
        [introduction, claims(lines), table(["swap", "file", "outcome", "ms until told", "resident MiB"], rows)]
    )


def _file(folder: Path, number: int) -> Path:
    """Exports a network whose weights are those of ``number``."""
    if number == 0:
        return model_file(folder, WIDE)
    torch.manual_seed(number)
    network = Network(WIDE)
    with torch.no_grad():
        network.readout.weight.mul_(6)
        network.readout.bias[0] = -100.0
    alphabet = alphabet_of(WIDE.alphabet_size)
    text = "".join(np.random.default_rng(number).choice(alphabet.symbols, MIN_CHARACTERS))
    path = folder / f"swapped-{number}.onnx"
    summary = TrainingSummary("random weights", len(text), "benchmarks", 0, 0.0, 0, 0.0)
    export(network.eval(), alphabet, summary, path, precision="int8", text=text)
    return path


async def _swapped(
    replica: Replica, served: Path, files: list[Path], load: _Load
) -> tuple[list[_Swap], tuple[float, float, float]]:
    """Swaps files beside ``load``. Returns the swaps, and the start of the load, of the swaps, and the end."""
    swaps = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{replica.port}") as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)  # type: ignore[no-untyped-call]
        start = time.perf_counter()
        async with _calling(stub, load):
            await asyncio.sleep(_CALM)
            swaps.append(_Swap(files[0].stem, "serves from the start", 0.0, _memory(replica.pid)))
            swapping = time.perf_counter()
            good, bad = itertools.cycle([*files[1:], files[0]]), itertools.cycle(_BAD.items())
            for number in range(_SWAPS):
                if number % 2 == 0:
                    file = next(good)
                    name, content = file.stem, file.read_bytes()
                else:
                    name, damage = next(bad)
                    content = damage(file.read_bytes())
                swaps.append(await _swap(replica, stub, served, name, content))
            end = time.perf_counter()
    return swaps, (start, swapping, end)


async def _swap(replica: Replica, stub: Any, served: Path, name: str, content: bytes) -> _Swap:
    before = await stub.ListModels(pb.ListModelsRequest())
    new = served / ".new"
    new.write_bytes(content)
    start = time.perf_counter()
    new.rename(served / "verse.onnx")
    replica.send(signal.SIGHUP)
    async with asyncio.timeout(_PATIENCE):
        while True:
            now = await stub.ListModels(pb.ListModelsRequest())
            if now.load_failures and now.load_failures != before.load_failures:
                outcome = f"refused: {now.load_failures[0].reason}"
                break
            if now.models[0].digest != before.models[0].digest:
                outcome = f"serves {now.models[0].digest[:8]}"
                break
            await asyncio.sleep(0.005)
    seconds = time.perf_counter() - start
    await asyncio.sleep(_SETTLED)
    return _Swap(name, outcome, seconds, _memory(replica.pid))


@asynccontextmanager
async def _calling(stub: Any, load: _Load) -> Any:
    """Lets callers call while the body runs; all calls that began end."""
    done = asyncio.Event()
    seeds = itertools.cycle(range(_SEEDS))

    async def caller(seeds: Iterator[int]) -> None:
        while not done.is_set():
            await load.call(stub, next(seeds))

    async with asyncio.TaskGroup() as group:
        for _ in range(_CALLERS):
            group.create_task(caller(seeds))
        try:
            yield
        finally:
            done.set()


def _different(texts: list[tuple[str, int, str]], files: list[Path]) -> int:
    """Returns how many of ``texts`` aren't those that their file generates."""
    runners = {runner.digest: runner for runner in map(Runner, files)}
    expected: dict[tuple[str, int], str] = {}
    for digest, seed, _ in texts:
        if (digest, seed) not in expected and digest in runners:
            runner = runners[digest]
            ids = runner.generate(_PROMPT, seed, _CHARACTERS).ids[-_CHARACTERS:, 0]
            expected[digest, seed] = "".join(runner.description.alphabet.symbols[one - 1] for one in ids)
    return sum(expected.get((digest, seed)) != text for digest, seed, text in texts)


def _memory(pid: int) -> float:
    """Returns the resident memory of a process, in MiB."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
