"""The machine: the name of its processor, for reports of runs and of benchmarks."""

from __future__ import annotations

import platform
import re
from pathlib import Path

_INSTRUCTIONS = re.compile(r"\b(avx2|avx512f|avx512_vnni|avx_vnni|avx512_bf16|amx_int8|amx_bf16)\b")


def processor() -> str:
    """Returns the processor's name, its family, and those of its instructions that speed up matrix products."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    if name is None:  # not Linux, or not x86
        return platform.processor() or platform.machine()
    family = re.search(r"cpu family\s*: (.*)", text)
    instructions = ", ".join(sorted(set(_INSTRUCTIONS.findall(text))))
    return f"{name[1]} (family {family[1] if family else '?'}: {instructions or 'no vector instructions'})"
