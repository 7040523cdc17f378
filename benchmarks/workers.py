"""Workers: two processes of one lane on two cores, against one process on one core, and one of two lanes on two.

The callers need processor time too, and a machine of two cores has none to spare. So each core of a server is shared
with one load generator, whose time is measured and taken out: the rate of a server on cores of its own is that of its
own time per character. On a machine with more cores, the callers run beside.
"""

from __future__ import annotations

import math
import os
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.models import WIDE, model_file
from benchmarks.report import Claim, claims, table
from benchmarks.servers import LOAD_CORE, SERVER_CORE, Load, Server, free_port, served
from nextchar_server.shares import default_lanes, default_workers

TITLE = "Workers"
STREAMS = 64
CHARACTERS = 400
_SECONDS = 6.0
_RAMP = 0.5
_ROUNDS = 4
_PLENTY = 2**40  # bytes of memory
_TRIES = 20
_SCRAPES = 50
_BOTH = f"{SERVER_CORE},{LOAD_CORE}"
_LOCKED = 0.33
"""Share of a busy core for which a process holds the interpreter's lock: its lanes' Python, and the event loop."""

_ONE, _WORKERS, _LANES = "one worker of one lane, one core", "two workers of one lane", "one worker of two lanes"
_CORES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


@dataclass(frozen=True)
class _Run:
    """One run of a server under load."""

    rate: float
    """Characters per second."""
    server: float
    """Processor seconds of the server per character."""
    load: float
    """Processor seconds of the load generators per character."""
    main: float
    """Processor seconds of the main threads per character, in which the event loops run."""
    first: float
    """Time to the first character, p99, in seconds."""


def measure(folder: Path) -> str:
    """Measures the three servers in turn and returns the section of the results."""
    model = model_file(folder, WIDE)
    runs: dict[str, list[_Run]] = {_ONE: [], _WORKERS: [], _LANES: []}
    with (
        _served(folder, model, "--lanes", "1", core=SERVER_CORE) as one,
        _served(folder, model, "--lanes", "1", "--workers", "2", core=_BOTH) as workers,
        _served(folder, model, "--lanes", "2", core=_BOTH) as lanes,
    ):
        servers = {_ONE: one, _WORKERS: workers, _LANES: lanes}
        for _ in range(_ROUNDS):
            for name, group in servers.items():
                runs[name].append(_run(group, [LOAD_CORE] if name == _ONE else [SERVER_CORE, LOAD_CORE]))
        memory = {name: _memory(group.pids) for name, group in servers.items()}
        scrapes = {name: _scrape(group) for name, group in servers.items()}
    return _section(runs, memory, scrapes)


@dataclass(frozen=True)
class _Group:
    """A server with all its processes."""

    server: Server
    http_port: int

    @property
    def pids(self) -> list[int]:
        """The processes: the one that was started, and its workers."""
        pid = self.server.pid
        found = [pid]
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended meanwhile
                continue
            if parent == pid:
                found.append(int(stat.parent.name))
        return found

    @property
    def cpu_seconds(self) -> tuple[float, float]:
        """Seconds used so far by all threads, and by the main threads alone."""
        servers = [Server(_Process(pid), self.server.port, 0.0) for pid in self.pids]  # type: ignore[arg-type]
        used = [server.cpu_seconds for server in servers]
        return sum(all_ for all_, _ in used), sum(main for _, main in used)

    @property
    def characters(self) -> float:
        """Characters generated so far."""
        lines = self.metrics().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("nextchar_generated_characters_total{"))

    def metrics(self) -> str:
        """Scrapes the metrics."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{self.http_port}/metrics") as answer:
            return str(answer.read(), "utf-8")


@dataclass(frozen=True)
class _Process:
    pid: int


@contextmanager
def _served(folder: Path, model: Path, *flags: str, core: int | str) -> Iterator[_Group]:
    port = free_port()
    with served(folder, "--model", model, *flags, "--http-port", str(port), core=core) as server:
        group = _Group(server, port)
        Load(server, streams=STREAMS, seconds=2, max_characters=CHARACTERS).report()  # warms up
        yield group


def _run(group: _Group, load_cores: Sequence[int]) -> _Run:
    """Puts 64 streams on each core of the server. Workers have a generator's connection each."""
    flags = {"streams": STREAMS, "max_characters": CHARACTERS, "ramp": _RAMP, "seconds": _SECONDS}
    for _ in range(_TRIES):
        loads = [Load(group.server, core, **flags) for core in load_cores]
        while sum(counts := [connections(pid, group.server.port) for pid in group.pids]) < len(loads):
            time.sleep(0.01)
        if len(group.pids) == 1 or max(counts) == 1:
            break
        for load in loads:
            with suppress(RuntimeError):  # it has measured nothing
                load.report(0.0, may_fail=True)
    else:
        raise RuntimeError(f"{_TRIES} times, all connections were of one worker")
    time.sleep(_RAMP + 0.5)
    before, characters, started = group.cpu_seconds, group.characters, time.perf_counter()
    time.sleep(_SECONDS - 2.0)
    after, made, took = group.cpu_seconds, group.characters - characters, time.perf_counter() - started
    reports = [load.report(_SECONDS) for load in loads]
    return _Run(
        made / took,
        (after[0] - before[0]) / made,
        sum(report["cpu"] for report in reports) / sum(report["characters_per_second"] for report in reports),
        (after[1] - before[1]) / made,
        max(report["first_character_seconds"]["p99"] for report in reports),
    )


def connections(pid: int, port: int) -> int:
    """Returns the number of connections to ``port`` that a process has."""
    inodes = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == "01":  # established
                inodes.add(f"socket:[{fields[9]}]")
    files = Path(f"/proc/{pid}/fd").iterdir()
    return sum(_target(file) in inodes for file in files)


def _target(file: Path) -> str:
    try:
        return os.readlink(file)  # noqa: PTH115 - no path
    except OSError:
        return ""


def _memory(pids: Sequence[int]) -> float:
    """Returns the bytes of the processes, of which shared pages are divided among those that share them."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _scrape(group: _Group) -> tuple[float, float]:
    """Returns the processor time of a scrape, of all processes, and the time that it takes."""
    before, times = group.cpu_seconds[0], []
    for _ in range(_SCRAPES):
        time.sleep(0.2)  # beyond the pause that the server makes between two
        started = time.perf_counter()
        group.metrics()
        times.append(time.perf_counter() - started)
    return (group.cpu_seconds[0] - before) / _SCRAPES, median(times)


def _section(runs: dict[str, list[_Run]], memory: dict[str, float], scrapes: dict[str, tuple[float, float]]) -> str:
    head = (
        "server",
        "characters/s",
        "server's µs per character, main threads",
        "load's µs",
        "first character p99, ms",
        "memory, MiB",
        "scrape: CPU, time, ms",
    )
    return "\n\n".join(
        [
            f"1×512, int8, {STREAMS} staggered streams per core, texts of {CHARACTERS}. Medians of {_ROUNDS} runs in "
            "turn. The one worker has a core of its own; those on two cores share them with two load generators, whose "
            "connections the kernel spread evenly.",
            claims(_claims(runs)),
            table(head, [[name, *_figures(runs[name]), *_costs(memory[name], scrapes[name])] for name in runs]),
            "Memory is proportional (pages that processes share are divided among them), after the load.",
            "### From 1 to 64 cores",
            f"Computed, not measured: a process holds the interpreter's lock for {_LOCKED} of each core that it keeps "
            "busy, so it fills some three cores however many lanes it has; workers share nothing.",
            table(
                ("cores", "workers of `auto`, lanes of each", "`auto`, in rates of one core", "one process"),
                [[cores, *_curve(cores)] for cores in _CORES],
            ),
        ]
    )


def _claims(runs: dict[str, list[_Run]]) -> list[Claim]:
    one, two, lanes = runs[_ONE], runs[_WORKERS], runs[_LANES]
    left = 2 / (1 / _middle(one, "rate") + _middle(one, "load"))
    own = 2 * _middle(one, "server") / _middle(two, "server")
    return [
        Claim("two workers on two cores against one on one, by the server's own time", 1.9, own),
        Claim("two workers, of the rate that their load leaves", 0.95, _middle(two, "rate") / left, unit=""),
        Claim("two workers against one worker of two lanes", 1.0, _middle(two, "rate") / _middle(lanes, "rate")),
    ]


def _middle(runs: Sequence[_Run], field: str) -> float:
    return median(float(getattr(run, field)) for run in runs)


def _figures(runs: Sequence[_Run]) -> tuple[str, ...]:
    return (
        f"{_middle(runs, 'rate'):,.0f}",
        f"{_middle(runs, 'server') * 1e6:.2f}, {_middle(runs, 'main') * 1e6:.2f}",
        f"{_middle(runs, 'load') * 1e6:.2f}",
        f"{_middle(runs, 'first') * 1e3:.1f}",
    )


def _costs(memory: float, scrape: tuple[float, float]) -> tuple[str, str]:
    return f"{memory / 2**20:.0f}", f"{scrape[0] * 1e3:.1f}, {scrape[1] * 1e3:.1f}"


def _curve(cores: int) -> tuple[str, str, str]:
    workers = default_workers(cores, _PLENTY)
    lanes = math.ceil(cores / workers)
    return f"{workers} of {lanes}", f"{cores:.1f}", f"{min(default_lanes(cores), 1 / _LOCKED):.1f}"
