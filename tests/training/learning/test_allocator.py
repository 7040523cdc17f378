"""Freed memory is used again: counted in page faults, in a process of its own."""

import ctypes
import subprocess
import sys

import pytest

ROUNDS, PAGES = 10, 16384
PROGRAM = f"""
import resource, sys, torch
from nextchar_training.learning.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def work():
    torch.ones({PAGES} * 1024)  # fp32, in pages of 4 KiB
for _ in range(10):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({ROUNDS}):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    output = subprocess.run([sys.executable, "-c", PROGRAM, mode], check=True, capture_output=True, text=True).stdout
    return int(output)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this allocator is not glibc's")
@pytest.mark.slow
def test_freed_memory_is_used_again_without_the_kernel() -> None:
    assert faults("keep") < ROUNDS
    assert faults("usual") > ROUNDS * PAGES
