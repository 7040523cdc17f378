"""Memory: what a training frees is kept for its next step.

Every step asks for the same tensors and frees them again. glibc gives blocks of such a size back to the kernel at
once, which then has to clear their pages again in the next step; docs/training.md has what that costs.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Tells glibc's allocator to keep what this process frees. Other C libraries have their own ways, and keep them."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)  # large blocks come from the heap, not from a mapping of their own
        mallopt(_TRIM_THRESHOLD, _LARGEST)  # and its end is not cut off
