"""The protections: the share that ordinary streams keep beside callers that take more than theirs.

The server runs on one core. The ordinary callers, the others (``attacks``) and a health probe run on the other one.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.probes import Probe, held
from benchmarks.report import Claim, claims, table
from benchmarks.servers import LOAD_CORE, Load, Server, free_port, served
from nextchar_client import AsyncClient, Delta, Finished, FinishReason, NextcharError

TITLE = "Protections"
_STREAMS = 64
_CHARACTERS = 400
_SECONDS = 3.0
_DRAIN = 10.0
_DRAINED_CHARACTERS = 1000  # of each stream that runs at SIGTERM
_MIB = 2**20


@dataclass(frozen=True)
class _Case:
    """An attack by ``callers`` callers, of which ``rows`` are texts that deserve a row of the batch."""

    attack: str
    callers: int
    rows: int = 0

    @property
    def fair_share(self) -> float:
        """The part of the server that the ordinary streams would have if every text got the same."""
        return _STREAMS / (_STREAMS + self.rows)


_CASES = (
    *(_Case("alternatives", callers, callers) for callers in (8, 32, 100)),
    _Case("scores", 100, 100),
    _Case("texts", 48, 48),
    *(_Case(attack, 4) for attack in ("bias", "many_bias", "stops", "prompts", "malformed")),
    _Case("scrapers", 8),
    _Case("stalled", 3072),
    _Case("stalled_alternatives", 3072),
    _Case("resets", 2),
    _Case("bombs", 20),
    _Case("idle", 1003),
)


@dataclass(frozen=True)
class _Beside:
    """The measurements of the ordinary streams and of the probe beside an attack."""

    case: _Case
    alone: float
    """Characters per second without the attack: the mean of before and after it."""
    beside: float
    busy: float
    """Part of its core that the server used meanwhile: if it is well below 1, the callers' core was the limit."""
    failed: int
    health: float
    """99th percentile of the health check's seconds."""
    memory: int
    """Resident bytes before."""
    peak: int
    after: int
    seconds_to_empty: float
    """Seconds from the attack's end until no stream and no memory was held."""

    @property
    def share(self) -> float:
        """Part of the fair share that the ordinary streams kept."""
        return self.beside / self.alone / self.case.fair_share


def measure(folder: Path) -> str:
    """Measures the protections and returns the section of the results."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})  # the probe keeps away from the server's core
    try:
        wanted = os.environ.get("ATTACKS", "").split()
        cases = [case for case in _CASES if not wanted or case.attack in wanted]
        rows = [_beside(folder, case) for case in cases]
        stops = [_stop(folder, case) for case in cases]
    finally:
        os.sched_setaffinity(0, cores)
    return "\n\n".join([_beside_table(rows), claims(_claims(rows, stops)), _stop_table(stops)])


def _beside(folder: Path, case: _Case) -> _Beside:
    """Measures the ordinary streams before, beside and after an attack on a server of its own."""
    http_port = free_port()
    with served(folder, "--http-port", str(http_port), "--lanes", "1") as server:
        _ordinary(server, 1.0)  # warms up
        before, _ = _ordinary(server)
        memory = server.memory
        server.forget_peak()
        with _attacked(case, server, http_port), Probe(server.port) as probe:
            began, used = time.perf_counter(), server.cpu_seconds[0]
            beside, failed = _ordinary(server)
            busy = (server.cpu_seconds[0] - used) / (time.perf_counter() - began)
        peak = server.peak_memory
        ended = time.perf_counter()
        while held(http_port) and time.perf_counter() < ended + 30:
            time.sleep(0.05)
        seconds = time.perf_counter() - ended
        after, _ = _ordinary(server)
        row = _Beside(
            case, (before + after) / 2, beside, busy, failed, probe.percentile, memory, peak, server.memory, seconds
        )
    print(_row(row), flush=True)
    return row


def _ordinary(server: Server, seconds: float = _SECONDS) -> tuple[float, int]:
    """Returns the characters per second of ordinary streams, and the number of them that failed."""
    load = Load(server, streams=_STREAMS, seconds=seconds, max_characters=_CHARACTERS)
    report = load.report(seconds + 20, may_fail=True)
    return report["characters_per_second"], report["failed"] + report["unfinished"]


@contextmanager
def _attacked(case: _Case, server: Server, http_port: int) -> Iterator[None]:
    """Runs an attack, and waits until all its callers have begun."""
    arguments = [case.attack, str(case.callers), str(server.port), str(http_port)]
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "benchmarks.attacks", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the attack {case.attack} ended by itself")
        yield
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class _Stop:
    """A SIGTERM in the middle of an attack."""

    case: _Case
    seconds: float
    code: int | None
    lost: tuple[str, ...]
    """Why ordinary streams didn't come out whole, one reason per stream."""

    @property
    def whole(self) -> int:
        """Number of ordinary streams that came out whole."""
        return _STREAMS - len(self.lost)


def _stop(folder: Path, case: _Case) -> _Stop:
    """Ends a server in the middle of an attack, while ordinary streams run."""
    http_port = free_port()
    drain = ("--drain-timeout", str(_DRAIN))
    with (
        served(folder, "--http-port", str(http_port), "--lanes", "1", *drain) as server,
        _attacked(case, server, http_port),
    ):
        row = asyncio.run(_terminated(case, server))
    print(row, flush=True)
    return row


async def _terminated(case: _Case, server: Server) -> _Stop:
    async with AsyncClient(f"127.0.0.1:{server.port}") as client:
        running = [asyncio.Event() for _ in range(_STREAMS)]
        streams = [asyncio.create_task(_loss(client, begun)) for begun in running]
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN):
                for begun in running:
                    await begun.wait()
        seconds, code = await asyncio.to_thread(server.terminate, _DRAIN + 30)
        return _Stop(case, seconds, code, tuple(filter(None, await asyncio.gather(*streams))))


async def _loss(client: AsyncClient, begun: asyncio.Event) -> str:
    """Reads one stream, and returns why it isn't whole; empty if it is. Sets ``begun`` at its first characters."""
    characters, reason = 0, "the stream has no end"
    try:
        async for event in client.stream("ROMEO:", max_characters=_DRAINED_CHARACTERS):
            begun.set()
            if isinstance(event, Delta):
                characters += len(event.text)
            elif isinstance(event, Finished):
                reason = "" if event.finish_reason is FinishReason.MAX_CHARACTERS else event.finish_reason.name
    except NextcharError as error:
        reason = f"{type(error).__name__}: {error}"
    finally:
        begun.set()
    return f"{reason}, after {characters} characters" if reason else ""


def _claims(rows: list[_Beside], stops: list[_Stop]) -> list[Claim]:
    """Returns the worst case of each bound."""
    return [
        Claim("least part of their fair share that ordinary streams keep", 0.5, min(row.share for row in rows)),
        Claim("ordinary streams that failed", 0, sum(row.failed for row in rows), at_most=True, unit="streams"),
        Claim("health check, p99", 100, max(row.health for row in rows) * 1e3, at_most=True, unit="ms"),
        Claim(
            "most memory beyond an idle server's",
            256,
            max(row.peak - row.memory for row in rows) / _MIB,
            at_most=True,
            unit="MiB",
        ),
        Claim(
            "SIGTERM to the end, beyond the drain timeout",
            2,
            max(stop.seconds for stop in stops) - _DRAIN,
            at_most=True,
            unit="s",
        ),
        Claim("least number of whole streams", _STREAMS, min(stop.whole for stop in stops), unit=f"of {_STREAMS}"),
    ]


def _row(row: _Beside) -> list[str]:
    return [
        f"{row.case.callers:,} × {row.case.attack}",
        f"{row.alone:,.0f}",
        f"{row.beside:,.0f}",
        f"{row.case.fair_share:.0%}",
        f"{row.share:.2f}",
        f"{row.busy:.0%}",
        str(row.failed),
        f"{row.health * 1e3:.0f}",
        *(f"{value / _MIB:,.0f}" for value in (row.memory, row.peak, row.after)),
        f"{row.seconds_to_empty:.1f}",
    ]


def _beside_table(rows: list[_Beside]) -> str:
    head = [
        "beside",
        "alone, characters/s",
        "beside, characters/s",
        "fair share",
        "kept of it",
        "server busy",
        "failed",
        "health p99, ms",
        "memory before, MiB",
        "peak",
        "after",
        "empty after, s",
    ]
    return table(head, map(_row, rows))


def _stop_table(stops: list[_Stop]) -> str:
    return f"SIGTERM beside each, with a drain timeout of {_DRAIN:g} s:\n\n" + table(
        ["beside", "gone after, s", "exit code", "whole streams", "the first of the others"],
        [
            [
                f"{stop.case.callers:,} × {stop.case.attack}",
                f"{stop.seconds:.1f}",
                stop.code,
                f"{stop.whole} of {_STREAMS}",
                stop.lost[0] if stop.lost else "",
            ]
            for stop in stops
        ],
    )
