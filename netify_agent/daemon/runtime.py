"""Settings of the Python interpreter, so that no thread keeps the listener waiting.

netifyd's backlog is bounded, and what overflows it is lost: the listener must get the interpreter soon. The
figures are from docs/performance.md.
"""

from __future__ import annotations

import gc
import sys

_TURN_S = 0.001
_FULL_COLLECTION_EVERY = 1000  # collections of the middle generation


def prepare() -> None:
    """Set up this process. Call it once, after all modules are loaded and before threads start.

    A thread that wakes up waits one millisecond for the interpreter instead of five. A full garbage
    collection, which stops all threads for 0.2 s with 100,000 live flows, runs a hundred times less often:
    the accounting makes no cycles, those of libraries are mostly collected young, and modules are never
    garbage.
    """
    sys.setswitchinterval(_TURN_S)
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _FULL_COLLECTION_EVERY)
