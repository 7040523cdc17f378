"""The hardware: whether it multiplies in bfloat16, and how much of the processor a training gets.

Threads that wait for each other collapse when other programs hold the cores: two threads on two busy cores can fall to
a tenth of their speed. CPU time far below wall time shows it.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

import torch

_WINDOW = 5.0  # seconds: long enough to even out single steps, short enough to notice a change


class BusyMeter:
    """The CPU time of this process per wall time and thread, in windows of five seconds.

    Near 1 if every thread runs all the time. About 1/2 if another program wants the same cores. Threads also wait for
    each other at the end of every operation, so several of them reach less than 1 on an idle machine too.
    """

    def __init__(
        self,
        threads: int,
        *,
        wall: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        """Starts the first window. ``wall`` and ``cpu`` are clocks, in seconds."""
        self._threads, self._wall, self._cpu = threads, wall, cpu
        self._wall_start, self._cpu_start = wall(), cpu()
        self._last: float | None = None

    def read(self) -> float:
        """Returns the figure of the last whole window, or of the first one so far."""
        wall, cpu = self._wall() - self._wall_start, self._cpu() - self._cpu_start
        if wall < _WINDOW and self._last is not None:
            return self._last
        busy = cpu / wall / self._threads if wall > 0 else 1.0
        if wall >= _WINDOW:
            self._last = busy
            self._wall_start, self._cpu_start = self._wall(), self._cpu()
        return busy


def has_fast_bf16(device: torch.device) -> bool:
    """Whether ``device`` has instructions for products in bfloat16. Without them bfloat16 is slower than float32.

    On a CPU these are AMX or AVX512-BF16; on a GPU they come with compute capability 8.0.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return platform.machine() in ("x86_64", "AMD64") and bool(
        torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    )
