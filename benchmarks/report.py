"""The report: what the parts found, as one Markdown file.

A part's section stands between markers, so that a part that runs alone replaces its own and leaves the others.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).with_name("results.md")

_HEAD = """# Results

What `make bench` measured on one machine. Take the ratios, each from one run, and not the absolute figures: the same
machine gives others on another day. A shared machine's other work is in every figure.
"""


@dataclass(frozen=True)
class Claim:
    """A figure and what it was to be at least, or at most."""

    what: str
    wanted: float
    measured: float
    at_most: bool = False
    unit: str = "×"

    @property
    def holds(self) -> bool:
        """Whether the measured figure is on the right side of the wanted one."""
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted


def claims(lines: Iterable[Claim]) -> str:
    """A table of claims."""
    return table(
        ["claim", "wanted", "measured", "holds"],
        [
            [
                line.what,
                f"{'≤' if line.at_most else '≥'} {line.wanted:g} {line.unit}",
                f"{line.measured:.4g} {line.unit}" if line.measured < 1000 else f"{line.measured:,.0f} {line.unit}",
                "yes" if line.holds else "**no**",
            ]
            for line in lines
        ],
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write(part: str, title: str, section: str, seconds: float) -> None:
    """Puts ``section`` into the results, in the place of the one that ``part`` had."""
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
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {packages}; load averages at the end {load}"
        f"{f', at niceness {niceness}' if niceness else ''}."
    )


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"model name\s*: (.*)", text)
    family = re.search(r"cpu family\s*: (.*)", text)
    flags = sorted(set(re.findall(r"\b(avx2|avx512f|avx512_vnni|avx_vnni|avx512_bf16|amx_int8)\b", text)))
    return f"{model[1] if model else '?'} (family {family[1] if family else '?'}: {', '.join(flags)})"
