"""Fuzzing: a server that receives requests and resume tokens with flipped bits (``fuzzer``).

The server runs on one core; the fuzzer and a health probe run on the other one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fuzzer import KINDS
from benchmarks.probes import Probe
from benchmarks.report import Claim, claims, table
from benchmarks.servers import LOAD_CORE, Server, free_port, served

TITLE = "Fuzzing"
_MESSAGES = 100_000
_WARM = 5_000  # messages after which a server holds all that it keeps
_SEED = 13
_PATIENCE = 600.0  # seconds for all messages
_MIB = 2**20
_HANDLED = re.compile(r'grpc_server_handled_total\{.*grpc_code="(\w+)".*nextchar.*\} (\S+)')


@dataclass(frozen=True)
class _Fuzzed:
    """A server that received messages of one kind."""

    kind: str
    seconds: float
    statuses: Counter[str]
    without_end: int
    code: int | None
    """The server's exit code after SIGTERM."""
    health: float
    """99th percentile of the health check's seconds."""
    growth: int
    """Resident bytes at the end beyond those after the first ``_WARM`` messages."""


def measure(folder: Path) -> str:
    """Measures the fuzzing and returns the section of the results."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})  # the probe keeps away from the server's core
    try:
        rows = [_fuzzed(folder, kind) for kind in KINDS]
    finally:
        os.sched_setaffinity(0, cores)
    return f"{claims(_claims(rows))}\n\n{_table(rows)}"


def _fuzzed(folder: Path, kind: str) -> _Fuzzed:
    http_port = free_port()
    flags = ("--http-port", str(http_port), "--lanes", "1", "--max-characters", "2000")
    with served(folder, *flags) as server:
        _send(server, kind, _WARM, _SEED + 1)
        time.sleep(1)  # until all are counted
        memory, before = server.memory, _statuses(http_port)
        started = time.perf_counter()
        with Probe(server.port) as probe:
            without_end = _send(server, kind, _MESSAGES, _SEED)
        seconds = time.perf_counter() - started
        statuses = _counted(http_port, before)
        growth = server.memory - memory
        _, code = server.terminate(30)
    row = _Fuzzed(kind, seconds, statuses, without_end, code, probe.percentile, growth)
    print(row, flush=True)
    return row


def _send(server: Server, kind: str, count: int, seed: int) -> int:
    """Sends messages from a process of its own, and returns the number of those that never ended."""
    arguments = [kind, str(count), str(seed), str(server.port)]
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "benchmarks.fuzzer", *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE).stdout)


def _counted(http_port: int, before: Counter[str]) -> Counter[str]:
    """Returns the statuses of the messages since ``before``.

    A server counts a call shortly after its caller has the answer.
    """
    before = before + Counter(OK=1)  # the call that brought the token
    end = time.perf_counter() + 5
    while (statuses := _statuses(http_port) - before).total() < _MESSAGES and time.perf_counter() < end:
        time.sleep(0.1)
    return statuses


def _statuses(http_port: int) -> Counter[str]:
    """Returns how many calls of the generation service ended with each status so far."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    text: str = direct.open(f"http://127.0.0.1:{http_port}/metrics", timeout=10).read().decode()
    statuses: Counter[str] = Counter()
    for code, number in _HANDLED.findall(text):
        statuses[code] += int(float(number))
    return statuses


def _claims(rows: list[_Fuzzed]) -> list[Claim]:
    bugs = sum(row.statuses["INTERNAL"] + row.statuses["UNKNOWN"] for row in rows)
    missing = sum(row.without_end + _MESSAGES - row.statuses.total() for row in rows)
    accepted = sum(row.statuses["OK"] for row in rows if row.kind == "tokens")
    return [
        Claim("calls that ended with INTERNAL or UNKNOWN", 0, bugs, at_most=True, unit="calls"),
        Claim("calls that didn't end, or weren't counted", 0, missing, at_most=True, unit="calls"),
        Claim("damaged tokens that were accepted", 0, accepted, at_most=True, unit="tokens"),
        Claim("servers that didn't drain with code 0", 0, sum(row.code != 0 for row in rows), at_most=True, unit=""),
        Claim("health check, p99", 100, max(row.health for row in rows) * 1e3, at_most=True, unit="ms"),
        Claim("memory gained", 16, max(row.growth for row in rows) / _MIB, at_most=True, unit="MiB"),
    ]


def _table(rows: list[_Fuzzed]) -> str:
    return table(
        ["kind", "messages", "seconds", "statuses", "health p99, ms", "memory gained, MiB"],
        [
            [
                row.kind,
                f"{_MESSAGES:,}",
                f"{row.seconds:.0f}",
                ", ".join(f"{code} {number:,}" for code, number in row.statuses.most_common()),
                f"{row.health * 1e3:.0f}",
                f"{row.growth / _MIB:.1f}",
            ]
            for row in rows
        ],
    )
