"""``python -m benchmarks [PART ...]`` runs the parts and writes benchmarks/results/results.md.

Without a PART it runs those that measure speed, except ``training``, which takes more than an hour.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
import time
from pathlib import Path

USUAL = ("kernel", "limits", "served", "scale", "prefixes")
PARTS = (
    *USUAL,
    "batch",
    "complete",
    "constraints",
    "scores",
    "prompts",
    "samples",
    "callers_limits",
    "faults",
    "failover",
    "fuzzing",
    "tokens",
    "traces",
    "truncation",
    "network",
    "http_api",
    "scrapes",
    "swaps",
    "versions",
    "workers",
    "training",
    "map",
)


def main() -> None:
    """Runs the parts that the command line names, in the order of ``PARTS``."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    wanted = parser.parse_args().parts or USUAL
    from benchmarks import report

    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            if part in wanted:
                module = importlib.import_module(f"benchmarks.{part}")
                print(f"{part} ...", flush=True)
                started = time.perf_counter()
                section = module.measure(Path(folder))
                report.write(part, module.TITLE, section, time.perf_counter() - started)
                print(section, flush=True)


if __name__ == "__main__":
    main()
