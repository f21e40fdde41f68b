"""Worker: CPU time of a fresh `GET /`, by the route and by the plain way, on the same Redis.

`python network_worker.py URL DEVICES APPLICATIONS`. The plain way makes a dictionary of each application and
keeps nothing. Each round is one flush that moves every application of every device.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import Any

from flush_worker import Flusher
from worker import obey

from netify_agent.api.documents import Documents
from netify_agent.api.flush_log import FlushLog
from netify_agent.api.http import parameters
from netify_agent.api.http.route import Request, encode
from netify_agent.api.routes import devices
from netify_agent.api.services import Services
from netify_agent.config.settings import Settings
from netify_agent.enrich import Directory
from netify_agent.store.flusher import FlusherStatus


class Network(Flusher):
    """A store with one gateway, and the route that reads it."""

    def __init__(self, url: str, devices_: int, applications: int) -> None:
        super().__init__(url, devices_, applications)
        self._network = self._store.reader
        directory = Directory(vendors="", hosts=[], leases=[], reverse_dns=False, categories="")
        self._documents = Documents("bench", 15, directory)
        self._log = FlushLog()
        settings = Settings(gateway="bench")
        status = FlusherStatus(error=None)
        services = Services(
            settings,
            self._network,
            directory,
            dict,
            dict,
            dict,
            self._log,
            status,
            lambda out, redis_up: None,
        )
        self._route = devices.routes(services)[0]

    def measure(self, count: int, plain: bool) -> list[tuple[float, float]]:
        """CPU seconds of an answer after a flush that changed every device, and after one that changed none.

        :param plain: by the plain way.
        """
        build = self._plain if plain else self._by_route
        self._answers(build)  # the first of all makes rows
        return [self._answers(build) for _ in range(count)]

    def _answers(self, build: Callable[[], bytes]) -> tuple[float, float]:
        self._feed(self._traffic.reports())
        self._flush(15_000)
        changed = _cpu_seconds(build)
        self._flush(15_000)  # the rates fall to 0
        build()
        self._flush(15_000)
        return changed, _cpu_seconds(build)

    def _flush(self, elapsed_ms: int) -> None:
        flush = self._store.flush(elapsed_ms=elapsed_ms)
        changed, moving = flush.batch.changed_devices(), self._store.writer.moving_devices()
        self._log.applied(flush.sequence, flush.at_ms, changed, moving)

    def _by_route(self) -> bytes:
        values = parameters.read(self._route.parameters, "", {})
        answer: Any = self._route.answer(Request(values, {}))
        return encode(answer)

    def _plain(self) -> bytes:
        snapshot = self._network.snapshot()
        rows = sorted(snapshot.devices, key=lambda row: -row.total_bytes)
        self._network.add_details(snapshot, rows)
        at_ms, categories = snapshot.flush.at_ms, snapshot.categories
        listed = [self._documents.device(row, at_ms, categories) for row in rows]
        return encode({**self._documents.network(snapshot), "devices": listed, "total": len(rows)})


def _cpu_seconds(build: Callable[[], bytes]) -> float:
    gc.collect()
    started = time.process_time()
    build()
    return time.process_time() - started


def main() -> None:
    url, count, applications = sys.argv[1:]
    obey({"measure": Network(url, int(count), int(applications)).measure})


if __name__ == "__main__":
    main()
