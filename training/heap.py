"""What the C library does with memory that tensors have freed: keep it for the next ones, as PyTorch does on a GPU.

glibc asks the kernel anew for every block of more than 32 MiB, of which the kernel fills each page with zeros when it
is first touched; an activation of `fast` has 250 MB. mallopt(3) says what is set here, benchmarks/RESULTS.md what it
gains.
"""

from __future__ import annotations

import ctypes

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4

_NEVER = -1
_AT_ONCE = 64 * 2**20  # bytes that the heap grows by, at least


def keep_freed_memory() -> None:
    """For this process, as long as it lives; without effect where the C library is not glibc.

    To be called when pictures have been read: what reading them took is wanted back.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _AT_ONCE)):
            mallopt(parameter, value)
