"""An accountant with its flusher in a thread, for tests."""

from __future__ import annotations

import copy
import threading
from contextlib import suppress

from real_store import (
    SOURCE,
    Netifyd,
    Record,
)
from support import eventually

from netify_agent.accounting.accountant import Accountant
from netify_agent.accounting.batch import MAX_ENDED, Batch
from netify_agent.store.audit import SumAudit
from netify_agent.store.client import TIMEOUT_S, StoreError, connect
from netify_agent.store.flusher import Flusher, FlusherLimits
from netify_agent.store.history_reader import HistoryReader
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.lease import Lease
from netify_agent.store.reader import NetworkSnapshot, StoreReader
from netify_agent.store.writer import Flush, StoreWriter

HISTORY = HistorySteps({300: 2 * 86400})


IMPATIENT = FlusherLimits(backoff_first_s=0.01, backoff_longest_s=0.05, idle_s=0.02)


KEPT_FLUSHES = IMPATIENT.kept_flushes


class Rig:
    """An accountant, its flusher in a thread, and a reader with a connection of its own.

    :ivar lock: guards the accountant.
    """

    def __init__(
        self,
        redis_url: str,
        through: str | None = None,
        interval_s: float = 0.02,
        limits: FlusherLimits = IMPATIENT,
        timeout_s: float = TIMEOUT_S,
        lease: Lease | None = None,
        max_shown: int = MAX_ENDED,
    ) -> None:
        self.netifyd = Netifyd()
        self.accountant = Accountant(200_000, max_shown=max_shown)
        self.flushed: list[Flush] = []
        self.error: BaseException | None = None
        self.client = connect(redis_url, None, gateway="gw1")
        self.reader = StoreReader(self.client, "gw1")
        self.history = HistoryReader(self.client, "gw1", HISTORY)
        self.lock = threading.Lock()
        self._stop = threading.Event()
        client = connect(through or redis_url, None, timeout_s=timeout_s, gateway="gw1")
        self.store = StoreWriter(client, "gw1", HISTORY, 86400, lease=lease)
        audit = SumAudit(client, "gw1")
        self.writer = Flusher(
            self.accountant, self.lock, self.store, interval_s, HISTORY, self._note, limits, audit
        )
        self.taken: list[Batch] = []
        self.reports = 0
        self._thread = threading.Thread(target=self._run)

    def _note(self, flush: Flush) -> None:
        """Keep a copy: the writer lets go of what is in it."""
        self.taken.append(flush.batch)
        self.flushed.append(copy.deepcopy(flush))

    def _run(self) -> None:
        try:
            self.writer.run(self._stop, self._progress)
        except BaseException as error:
            self.error = error

    def _progress(self) -> None:
        self.reports += 1

    def start(self) -> Rig:
        self._thread.start()
        return self

    @property
    def runs(self) -> bool:
        """Whether it was started and not stopped, and did not fail."""
        return self._thread.is_alive()

    def feed(self, *records: Record) -> None:
        with self.lock:
            self.accountant.feed(records, SOURCE)

    def attempts(self) -> int:
        return self.writer.status.flushes + self.writer.status.failures

    def flush(self) -> None:
        """Wait until all that was fed before is in Redis: a flush may be under way already."""
        before = self.writer.status.flushes
        eventually(lambda: self.writer.status.flushes >= before + 2 or self.error, "two more flushes")
        assert self.error is None, repr(self.error)

    def ask_to_stop(self) -> None:
        self._stop.set()

    def stop(self) -> None:
        self.ask_to_stop()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def snapshot(self) -> NetworkSnapshot:
        """Between two flushes, which come as fast as once a millisecond here."""

        def read() -> NetworkSnapshot | None:
            with suppress(StoreError):
                return self.reader.snapshot()
            return None

        snapshot: NetworkSnapshot = eventually(read, "a picture that no flush interrupts")
        return snapshot

    def bytes_down(self) -> dict[str, int]:
        snapshot = self.snapshot()
        rows = {row.name: row.counters["bytes_down"] for row in snapshot.devices}
        return rows | {"gateway": snapshot.gateway.counters["bytes_down"]}
