"""Time limits of the daemon's threads."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class SupervisorLimits:
    """Time limits of threads in seconds."""

    # Without progress:
    listener_s: float = 120.0  # a chunk takes milliseconds; a host name look-up may take very long
    writer_s: float = 120.0  # one flush to a slow Redis, with all timeouts
    names_s: float = 120.0  # one look-up in a slow resolver
    notify_s: float = 300.0  # a look-up in a slow resolver, four addresses, and one conversation
    fleet_s: float = math.inf  # a collector that never completes its answer must not stop the agent
    # At a stop; the unit's TimeoutStopSec is above the sum of all these:
    listener_stop_s: float = 10.0
    slow_flush_s: float = 30.0  # a running flush, in addition to the time for the last one
    other_stop_s: float = 5.0  # names, web and TLS each
    tick_s: float = 0.5  # between checks of the main loop
