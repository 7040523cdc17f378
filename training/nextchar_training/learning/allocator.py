"""The allocator: memory that a training step frees is kept for the next step.

Every step allocates the same tensors and frees them again. glibc returns blocks of that size to the kernel at once,
which then has to clear their pages again in the next step; docs/training.md says how much time that takes.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Tells glibc's allocator to keep the memory that this process frees. Does nothing with other C libraries."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)  # large blocks come from the heap, not from a mapping each
        mallopt(_TRIM_THRESHOLD, _LARGEST)  # and the heap is never trimmed
