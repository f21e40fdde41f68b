"""The run clock: how long agents of this gateway have run. Setting the system's clock does not change it."""

from __future__ import annotations

import time
from collections.abc import Callable


class RunClock:
    """Milliseconds that agents of this gateway have run, over restarts. Thread-safe."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start at 0. ``monotonic``: returns the monotonic clock in seconds."""
        self._monotonic = monotonic
        self._zero_s = monotonic()

    @property
    def ms(self) -> int:
        """The run clock in milliseconds."""
        return int((self._monotonic() - self._zero_s) * 1000)

    def resume(self, earlier_ms: int) -> None:
        """Add the time of earlier runs."""
        self._zero_s -= earlier_ms / 1000
