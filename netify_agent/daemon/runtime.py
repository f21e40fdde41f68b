"""Settings of this process: threads take turns soon, and freed memory goes back to the system.

netifyd's backlog is bounded and records beyond it are lost, so the listener must run soon. The figures are
from docs/performance.md.
"""

from __future__ import annotations

import ctypes
import gc
import sys

_TURN_S = 0.001
_FULL_COLLECTION_EVERY = 1000  # collections of the middle generation
# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_RETURN_FROM_BYTES = 128 << 10  # glibc's own initial value of both thresholds


def prepare() -> None:
    """Set up this process. Call it once, after all modules are loaded and before threads start.

    A waking thread waits one millisecond for the interpreter instead of five. Full garbage collections, which
    stop all threads for 0.2 s with 100,000 live flows, run a hundred times less often. The accounting creates
    no reference cycles, and cycles of libraries are mostly collected in the young generations.
    """
    sys.setswitchinterval(_TURN_S)
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _FULL_COLLECTION_EVERY)
    _return_freed_memory()


def _return_freed_memory() -> None:
    """Have glibc's malloc keep little of what was freed.

    By default, each thread gets an arena of its own, and what is free in one is not used by others. One
    arena is enough, because the interpreter lets one thread run at a time. Once set, the thresholds stay:
    otherwise glibc raises them to as much as 64 MiB when large buffers are freed. Other C libraries have no
    ``mallopt``; there, nothing is done.
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt, malloc_trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError):
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_MMAP_THRESHOLD, _RETURN_FROM_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _RETURN_FROM_BYTES)
    malloc_trim(0)  # what loading the modules left
