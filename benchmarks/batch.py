"""Batches: ``nextchar batch`` against ``nextchar bench`` with texts of the same length, and the effect of kills.

The server is pinned to one core, and the command to the other. Without a server, the command has all cores, and the
kernel beside it is ``Runner.advance`` alone on as many threads. The weights are random; a text has 10 characters.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.kernel import steps_of
from benchmarks.models import WIDE, model_file, name_of
from benchmarks.report import Claim, claims, table
from benchmarks.servers import LOAD_CORE, Load, served
from nextchar_model.runner import Runner
from nextchar_model.slices import MAX_ROWS

TITLE = "Batches"
LINES = int(os.environ.get("LINES_OF_A_BATCH", "1000000"))
_LENGTH = 10
_BENCH_SECONDS = 20
_KERNEL_SECONDS = 10.0
_KILLS = 2
_SUMMARY = re.compile(r"([\d,]+) lines/s")


def measure(folder: Path) -> str:
    """Measures batches and returns the section of the results."""
    model = model_file(folder, WIDE)
    with served(folder, "--model", model, "--lanes", "1") as server:
        endpoint = ("--endpoint", f"127.0.0.1:{server.port}")
        bench = {
            streams: Load(
                server, streams=streams, seconds=_BENCH_SECONDS, max_characters=_LENGTH, prompt_characters=0
            ).report(_BENCH_SECONDS + 60)["requests_per_second"]
            for streams in (64, 256)
        }
        whole = folder / "whole.jsonl"
        lines = _run(whole, *endpoint, core=LOAD_CORE)
        killed = folder / "killed.jsonl"
        kills = _killed(killed, *endpoint, "--concurrency", "300")
    alone = folder / "alone.jsonl"
    own_lines = _run(alone, "--model-file", str(model))
    hashes = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in (whole, killed, alone)}
    kernel = _kernel(model)
    lines_of = {f"`nextchar bench --streams {streams}`": rate for streams, rate in bench.items()}
    lines_of["`nextchar batch`, one server on one core"] = lines
    lines_of["`nextchar batch --model-file`, all cores"] = own_lines
    lines_of[f"kernel, {_LENGTH} steps of {MAX_ROWS} rows per call, all cores"] = kernel / _LENGTH
    rows = [[command, f"{rate:,.0f}", f"{rate * _LENGTH:,.0f}"] for command, rate in lines_of.items()]
    is_one = float(len(set(hashes.values())) == 1)
    figures = [
        Claim("batch through one server, against `nextchar bench`", 0.8, lines / max(bench.values())),
        Claim("batch without a server, against the kernel", 0.9, own_lines * _LENGTH / kernel),
        Claim(f"one hash: undisturbed, killed {kills} times, without a server", 1, is_one),
    ]
    return "\n\n".join(
        [
            f"{name_of(WIDE)}, int8, V=66; {LINES:,} texts of {_LENGTH} characters.",
            claims(figures),
            table(["command", "texts per second", "characters per second"], rows),
        ]
    )


def _command(out: Path, *options: str, core: int | None) -> list[str]:
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    usual = ("--count", str(LINES), "--max-characters", str(_LENGTH), "--seed", "7", "--out", str(out))
    return [*pinned, sys.executable, "-m", "nextchar_client", "batch", *usual, *options]


def _run(out: Path, *options: str, core: int | None = None) -> float:
    """Runs a batch, and returns its lines per second."""
    ended = subprocess.run(_command(out, *options, core=core), stderr=subprocess.PIPE, text=True, check=True)
    summary = _SUMMARY.search(ended.stderr)
    assert summary is not None, ended.stderr
    return float(summary[1].replace(",", ""))


def _killed(out: Path, *options: str) -> int:
    """Runs a batch that is killed at each third; returns the number of kills."""
    state = out.with_name(f"{out.name}.state")
    for kill in range(1, _KILLS + 1):
        process = subprocess.Popen(_command(out, *options, core=LOAD_CORE), stderr=subprocess.DEVNULL)
        while not state.exists() or json.loads(state.read_bytes())["progress"]["lines"] < LINES * kill / (_KILLS + 1):
            if process.poll() is not None:
                raise RuntimeError(f"the batch ended with {process.returncode} before kill {kill}")
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    _run(out, *options, core=LOAD_CORE)
    return _KILLS


def _kernel(model: Path) -> float:
    """Returns the characters per second of the kernel on all cores."""
    runner = Runner(model)
    calls = [steps_of(runner, MAX_ROWS, _LENGTH) for _ in os.sched_getaffinity(0)]
    end = time.perf_counter() + _KERNEL_SECONDS

    def run(index: int) -> int:
        count = 0
        while time.perf_counter() < end:
            calls[index]()
            count += 1
        return count

    started = time.perf_counter()
    with ThreadPoolExecutor(len(calls)) as pool:
        counts = sum(pool.map(run, range(len(calls))))
    return counts * MAX_ROWS * _LENGTH / (time.perf_counter() - started)
