"""Two versions of the server: the processor time that a character costs in each, and a call.

Both run on one core at once, each under a load of its own, so that everything else that happens on the machine meets
both alike. Throughputs that are measured one after another on a shared machine differ by a fifth; this ratio by a
fiftieth.

``BEFORE`` names a checkout of the other version.
"""

from __future__ import annotations

import os
import re
import statistics
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import table
from benchmarks.servers import Load, Server, free_port, served

TITLE = "Two versions"
_CASES = ((64, 32), (64, 400), (64, 2000), (64, 30_000), (1, 400))  # streams, and characters of each text
_ROUNDS = 5
_WARM_UP, _SECONDS = 3.0, 6.0
_PACKAGES = ("cli", "proto", "model", "training", "server", "client")


@dataclass(frozen=True)
class _Version:
    """A running version."""

    server: Server
    http_port: int

    def spent(self) -> tuple[float, float]:
        """Returns the seconds of processor time so far, and the number of characters that were generated."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics") as answer:
            metrics = answer.read().decode()
        found = re.search(r"^nextchar_generated_characters_total\S* (\S+)$", metrics, re.MULTILINE)
        return self.server.cpu_seconds[0], float(found[1]) if found else 0.0


def measure(folder: Path) -> str:
    """Compares ``BEFORE`` with this checkout, and returns the section of the results."""
    before = Path(os.environ["BEFORE"]).absolute()
    rows = []
    for streams, characters in _CASES:
        with ExitStack() as stack:
            versions = [_start(stack, folder, root) for root in (before, None)]
            rounds = [_costs(versions, streams, characters) for _ in range(_ROUNDS)]
        ratios = sorted(now / then for then, now in rounds)
        then, now = (statistics.median(costs) * 1e6 for costs in zip(*rounds, strict=True))
        rows.append(
            [
                *(streams, characters, f"{then:.1f}", f"{now:.1f}"),
                f"{then * characters:,.0f} / {now * characters:,.0f}",
                *(f"{statistics.median(ratios):.3f}", f"{ratios[0]:.3f} to {ratios[-1]:.3f}"),
            ]
        )
        print(rows[-1], flush=True)
    costs = ["before, µs per character", "now", "before / now, µs per call"]
    head = ["streams", "characters per text", *costs, "now / before", f"{_ROUNDS} rounds"]
    return table(head, rows)


def _start(stack: ExitStack, folder: Path, root: Path | None) -> _Version:
    port = free_port()
    path = None if root is None else os.pathsep.join(str(root / package) for package in _PACKAGES)
    flags = ("--http-port", str(port), "--lanes", "1")
    return _Version(stack.enter_context(served(folder, *flags, python_path=path)), port)


def _costs(versions: Sequence[_Version], streams: int, characters: int) -> tuple[float, ...]:
    """Returns the processor seconds per character of each version, under one load each at once."""
    seconds = _WARM_UP + _SECONDS + 1
    loads = [Load(version.server, streams=streams, seconds=seconds, max_characters=characters) for version in versions]
    time.sleep(_WARM_UP)
    began = [version.spent() for version in versions]
    time.sleep(_SECONDS)
    ended = [version.spent() for version in versions]
    for load in loads:
        load.report()
    return tuple((end[0] - start[0]) / (end[1] - start[1]) for start, end in zip(began, ended, strict=True))
