"""Worker: flushes of a network against a bare pipeline of as many HINCRBY, on the same Redis.

`python flush_worker.py URL DEVICES APPLICATIONS`. Both use the same client library; each round is one
flush and one bare pipeline.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

from real_store import RealStore
from traffic import Traffic
from worker import obey

from netify_agent.netifyd.framing import RecordReader
from netify_agent.store.client import connect


class Flusher:
    """A store with one gateway in it; every flow has been seen before the first measured flush."""

    def __init__(self, url: str, devices: int, applications: int) -> None:
        self._traffic = Traffic(devices, applications, devices * applications)
        self._devices = devices
        self._store = RealStore(url, "bench")
        self._client = connect(url, None)
        self._reader = RecordReader(1 << 20)
        self._feed(self._traffic.opening())
        self._feed(self._traffic.descriptions())
        self._store.flush()

    def _feed(self, payloads: Any) -> None:
        payloads = iter(payloads)
        while part := list(islice(payloads, 200)):
            self._store.feed(*self._reader.feed(b"".join(part)))

    def rounds(self, count: int) -> dict[str, Any]:
        """Seconds of a flush and of the bare pipeline."""
        self._round()  # the first of all makes rows
        rounds = [self._round() for _ in range(count)]
        return {"fields": rounds[0][0], "rounds": [seconds for _, seconds in rounds]}

    def _round(self) -> tuple[int, tuple[float, float]]:
        self._feed(self._traffic.reports())
        flush = self._store.take()
        before = self._increments()
        flushed = _seconds(lambda: self._store.writer.apply(flush))
        fields = self._increments() - before
        return fields, (flushed, _seconds(lambda: self._bare(fields)))

    def _increments(self) -> int:
        return int(self._client.info("commandstats").get("cmdstat_hincrby", {}).get("calls", 0))

    def _bare(self, fields: int) -> None:
        with self._client.pipeline(transaction=False) as pipe:
            for number in range(fields):
                pipe.hincrby(f"bare:{number % self._devices}", f"field:{number // self._devices}", 1500)
            pipe.execute()


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    url, devices, applications = sys.argv[1:]
    obey({"rounds": Flusher(url, int(devices), int(applications)).rounds})


if __name__ == "__main__":
    main()
