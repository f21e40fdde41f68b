"""Signs of progress: what the watchdog looks at before it tells systemd that all is well."""

from __future__ import annotations

import threading
import time


class Liveness:
    """When each thread last showed that it gets on, on the monotonic clock. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}
        self._limits: dict[str, float] = {}

    def register(self, name: str, limit_s: float) -> None:
        """``name`` promises a beat at least every ``limit_s`` seconds, from now on."""
        with self._lock:
            self._limits[name] = limit_s
            self._due[name] = time.monotonic() + limit_s

    def beat(self, name: str) -> None:
        """``name`` has made progress: it did something, or it found that nothing is to be done."""
        with self._lock:
            self._due[name] = time.monotonic() + self._limits[name]

    def forget(self, name: str) -> None:
        """``name`` has ended; it owes nothing any more."""
        with self._lock:
            self._due.pop(name, None)

    def stuck(self) -> list[str]:
        """The names whose beat is overdue."""
        now = time.monotonic()
        with self._lock:
            return [name for name, due in self._due.items() if due < now]

    def checks(self) -> dict[str, str | None]:
        """Each kind of thread (the first word of its name), with what is wrong with it, or None."""
        stuck = {name.partition(" ")[0] for name in self.stuck()}
        with self._lock:
            kinds = [name.partition(" ")[0] for name in self._due]
        return {kind: "no progress" if kind in stuck else None for kind in kinds}
