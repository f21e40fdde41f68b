"""Progress of each thread. The main loop feeds systemd's watchdog only while no thread is overdue."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass


@dataclass
class _Deadline:
    """When one thread must next report progress, on the monotonic clock."""

    name: str
    limit_s: float
    due: float


class Liveness:
    """When each thread last reported progress. Thread-safe.

    Threads are identified by an owner object, not by name: during a reload an old and a new thread may have
    the same name for a while.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the table
        self._threads: dict[int, _Deadline] = {}  # by id() of the owner, which removes its entry

    def register(self, owner: object, name: str, limit_s: float) -> None:
        """Expect progress of ``owner`` at least every ``limit_s`` seconds.

        :param name: for log and ``/healthz``; the first word is the kind of thread.
        """
        with self._lock:
            self._threads[id(owner)] = _Deadline(name, limit_s, time.monotonic() + limit_s)

    def progress(self, owner: object) -> None:
        """Note that ``owner`` made progress. Ignored after :meth:`remove`."""
        with self._lock:
            deadline = self._threads.get(id(owner))
            if deadline is not None:
                deadline.due = time.monotonic() + deadline.limit_s

    def remove(self, owner: object) -> None:
        """Expect no more progress of ``owner``, which was asked to end."""
        with self._lock:
            self._threads.pop(id(owner), None)

    def stuck(self) -> list[str]:
        """Return the names of overdue threads."""
        now = time.monotonic()
        with self._lock:
            return [deadline.name for deadline in self._threads.values() if deadline.due < now]

    def checks(self) -> dict[str, str | None]:
        """Return each kind of thread (first word of the name) with its problem, or None."""
        stuck = {name.partition(" ")[0] for name in self.stuck()}
        with self._lock:
            kinds = [deadline.name.partition(" ")[0] for deadline in self._threads.values()]
        return {kind: "no progress" if kind in stuck else None for kind in kinds}
