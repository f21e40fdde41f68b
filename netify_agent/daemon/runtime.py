"""What the daemon asks of Python itself, so that no thread keeps the listener waiting.

netifyd's backlog is bounded, and what overflows it is lost: of all threads the listener must get its turn
soon. The figures are of docs/performance.md.
"""

from __future__ import annotations

import gc
import sys

_TURN_S = 0.001
_FULL_COLLECTION_EVERY = 1000  # collections of the middle generation


def prepare() -> None:
    """Set up this process; to be called once, when all modules are loaded and before threads start.

    A thread that wakes up waits for the interpreter for a millisecond and not for five. And a full garbage
    collection, which stops all threads for 0.2 s with 100,000 live flows, is made a hundred times less
    often: the accounts hold no cycles, what libraries leave behind is mostly found while it is young, and
    what was loaded is never garbage.
    """
    sys.setswitchinterval(_TURN_S)
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _FULL_COLLECTION_EVERY)
