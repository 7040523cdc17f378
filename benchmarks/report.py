"""The report: the results of all parts in one Markdown file.

Each part's section is enclosed in markers, so that a part that runs alone replaces its own section and no other.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from nextchar_training.run.machine import processor

RESULTS = Path(__file__).parent / "results" / "results.md"
"""The report. The plots are beside it."""

_HEAD = """# Results

Measured by `make bench` on one machine. Trust the ratios, each of which comes from one run, more than the absolute
figures: on another day the same machine measures others. A shared machine's other work is in every figure.
"""


@dataclass(frozen=True)
class Claim:
    """A figure and its target: the least that it was meant to be, or the most."""

    name: str
    wanted: float
    measured: float
    at_most: bool = False
    unit: str = "×"

    @property
    def holds(self) -> bool:
        """Whether the measured figure reaches the target."""
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted


def claims(lines: Iterable[Claim]) -> str:
    """Returns a table of claims."""
    return table(
        ["claim", "wanted", "measured", "holds"],
        [
            [
                line.name,
                f"{'≤' if line.at_most else '≥'} {line.wanted:g} {line.unit}",
                f"{line.measured:.4g} {line.unit}" if line.measured < 1000 else f"{line.measured:,.0f} {line.unit}",
                "yes" if line.holds else "**no**",
            ]
            for line in lines
        ],
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write(part: str, title: str, section: str, seconds: float) -> None:
    """Writes ``section`` into the report, in place of the section that ``part`` had."""
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else _HEAD
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    new = f"{begin}\n## {title}\n\n`make bench ONLY={part}`, {seconds:.0f} s. {_machine()}\n\n{section}\n{end}"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    text = pattern.sub(lambda _: new, old) if pattern.search(old) else f"{old}\n{new}\n"
    RESULTS.write_text(text, encoding="utf-8")


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "torch", "numpy", "grpcio"))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    return (
        f"{processor()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {packages}; load averages at the end {load}"
        f"{f', at niceness {niceness}' if niceness else ''}."
    )
