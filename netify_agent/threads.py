"""Starts short-lived threads, and survives a lack of memory."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable

_BEGIN_S = 10.0


def start_thread(
    body: Callable[[], object],
    *,
    begin_s: float = _BEGIN_S,
    create: Callable[[Callable[[], None], tuple[()]], object] = _thread.start_new_thread,
) -> None:
    """Run ``body`` in a daemon thread, and return when that has begun.

    ``threading.Thread.start`` of Python 3.11 waits for ever if the new thread gets no memory before it can
    report that it runs.

    :param begin_s: seconds to wait for the thread.
    :param create: creates a thread, as ``_thread.start_new_thread`` does.
    :raises RuntimeError: the thread could not be created, or did not begin in time; it may begin later.
    :raises MemoryError: no memory for it.
    """
    begun = threading.Event()

    def run() -> None:
        begun.set()
        body()

    create(run, ())
    if not begun.wait(begin_s):
        raise RuntimeError("a thread did not begin")
