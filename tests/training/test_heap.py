"""Memory that is freed and asked for again: whether the kernel has to find it anew."""

import subprocess
import sys

import pytest

from tests.training.processes import REPOSITORY

# Faults of pages, while a block as large as an activation is filled that another one of that size has been freed for.
PROGRAM = """
import ctypes, resource, sys
from training.heap import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
size, libc = 200_000_000, ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def fill():
    block = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(size)))
    ctypes.memset(block, 1, size)
    libc.free(block)

fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="says what glibc does")
def test_freed_memory_is_used_again() -> None:
    kept, given_back = (
        int(subprocess.check_output([sys.executable, "-c", PROGRAM, how], cwd=REPOSITORY, text=True))
        for how in ("kept", "given back")
    )
    assert given_back > 50  # pages of 4 KiB, or of 2 MiB
    assert kept < given_back / 10
