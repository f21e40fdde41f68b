"""The thread between accounting and store: takes a batch each interval and sees it into Redis.

Holds what makes a flush survive everything: the batch on its way, and the latest ones that were applied,
for a Redis that comes back from an older snapshot of itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from netify_agent.accounting.accountant import Accountant
from netify_agent.accounting.batch import Batch
from netify_agent.accounting.batch_builder import forget_corrections
from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.client import StoreError, StoreRefused
from netify_agent.store.transaction import Sent
from netify_agent.store.writer import Flush, Rewound, StoreWriter

log = logging.getLogger(__name__)

#: Flushes kept after they were applied. With the default interval they cover six minutes: Redis 6's and
#: 7's default snapshots come at the latest 5 minutes after 100 changes (redis.conf, ``save``).
KEPT_FLUSHES = 24
KEPT_BYTES = 4 << 20  # in all of them: a flush of 100 devices with 20 applications each is 450 kB
FINAL_FLUSH_S = 10.0  # how long a stop may try to get the last flush out
_BACKOFF_S = (0.5, 15.0)
_IDLE_S = 0.5
_TURN_S = 0.0005
_NEVER = threading.Event()
_FLOWS_AT_ONCE = 500  # states written while the listener waits: 0.3 ms
_COMPLAIN_S = 600.0  # between two lines in the log about the same outage


@dataclass
class FlusherStatus:
    """How flushing goes.

    :ivar restored: whether the store was opened, and what an earlier run left in it taken back.
    :ivar sequence: number of the last flush that Redis took.
    :ivar last_flush: when it took it, our clock, seconds since the epoch; 0 before the first.
    :ivar flush_ms: how long that took, in milliseconds.
    :ivar flushes: flushes taken since the start; :ivar failures: attempts that failed.
    :ivar repeated: flushes given back to a Redis that had gone back to an older state.
    :ivar error: why Redis does not take a flush, in one line; None while it does.
    :ivar finished: the last flush of all, at the stop, is in Redis.
    :ivar lost: flushes that Redis had taken and then lost for good.
    :ivar pending: rows and flow states that are on their way to Redis.
    """

    restored: bool = False
    sequence: int = 0
    last_flush: float = 0.0
    flush_ms: float = 0.0
    flushes: int = 0
    failures: int = 0
    repeated: int = 0
    lost: int = 0
    pending: int = 0
    finished: bool = False
    error: str | None = "no flush yet"


class Flusher:
    """Flushes what ``accountant`` has gathered; :meth:`run` is the body of its thread."""

    def __init__(
        self,
        accountant: Accountant,
        lock: threading.Lock,
        store: StoreWriter,
        interval_s: float,
        bucket_s: int,
        on_devices: Callable[[Flush], None] = lambda flush: None,
    ) -> None:
        """Nothing happens yet.

        :param lock: guards ``accountant``; held only while the batch is swapped.
        :param bucket_s: seconds that the shortest history bucket covers.
        :param on_devices: told of each flush that was applied, for those who look devices up.
        """
        self.status = FlusherStatus()
        self.interval_s = interval_s
        self._accountant = accountant
        self._lock = lock
        self._store = store
        self._bucket_s = bucket_s
        self._on_devices = on_devices
        self._pending: Flush | None = None
        self._applied: deque[tuple[int, Sent]] = deque()  # by sequence number
        self._complained_at = -_COMPLAIN_S
        self._taken_at = time.monotonic()
        self._opened_s = int(time.time())
        self._told_full = False

    def run(self, stop: threading.Event, beat: Callable[[], None]) -> None:
        """Flush every interval until ``stop`` is set, then once more.

        :raises StoreRefused: where going on would do harm.
        """
        last = self._taken_at - self.interval_s  # the first flush is due at once: it opens the store
        wait = 0.0
        while not stop.is_set():
            beat()
            now = time.monotonic()
            due = last + (wait or self.interval_s)  # a reload may change the interval at any time
            if now < due:
                stop.wait(min(due - now, _IDLE_S))
            elif self._attempt(beat):
                wait = 0.0
                last = due if now - due < self.interval_s else now  # in step, unless we fell behind
            else:
                wait = min(max(wait * 2, _BACKOFF_S[0]), _BACKOFF_S[1])
                last = time.monotonic()
        self._finish(beat)

    def _finish(self, beat: Callable[[], None]) -> None:
        """The last flush: what is on its way, then what has gathered since."""
        deadline = time.monotonic() + FINAL_FLUSH_S
        for _ in range(2):
            again = self._pending is not None
            while not self._attempt(beat):
                if time.monotonic() > deadline:
                    log.error(
                        "stopping without the last flush: %s; what netifyd still tells of live flows at the "
                        "next start is recovered then",
                        self.status.error,
                    )
                    return
                _NEVER.wait(_IDLE_S)
            if not again:
                break
        self.status.finished = True

    def _attempt(self, beat: Callable[[], None]) -> bool:
        """Get one flush into Redis; False if it could not be done now."""
        status = self.status
        try:
            if not status.restored:
                self._restore()
            if self._pending is None:
                self._pending = self._take()
                status.pending = self._pending.batch.size
            started = time.monotonic()
            try:
                sent = self._store.apply(self._pending)
            except Rewound as rewound:
                self._give_back(rewound.sequence, beat)
                sent = self._store.apply(self._pending)
        except Rewound:
            return False
        except StoreRefused:
            raise
        except StoreError as error:
            status.failures += 1
            now = time.monotonic()
            if status.error is None or now - self._complained_at >= _COMPLAIN_S:
                log.warning("Redis does not take a flush, trying on: %s", error)
                self._complained_at = now
            status.error = str(error)
            return False
        if status.error is not None and status.failures:
            log.info("Redis takes flushes again")
        status.error = None
        status.sequence = self._pending.sequence
        status.flushes += 1
        status.last_flush = time.time()
        status.flush_ms = (time.monotonic() - started) * 1000
        self._keep(self._pending.sequence, sent)
        self._on_devices(self._pending)
        self._note_devices(self._pending.batch)
        self._pending.batch.release()
        self._pending = None
        status.pending = 0
        return True

    def _note_devices(self, batch: Batch) -> None:
        """Let the accounting know which devices have a row now, and tell once that there is no more room."""
        changed, dropped = batch.changed_devices(), self._store.dropped_devices()
        devices = self._accountant.devices
        with self._lock:
            self._accountant.flushed(changed, dropped)
            known, full = len(devices), devices.full
        if full and not self._told_full:
            log.warning(
                "the device table is full: %d devices (devices.max: %d); traffic of devices that are not "
                "known is counted as '%s'",
                known,
                devices.max,
                OTHER_DEVICE,
            )
        self._told_full = full or (self._told_full and known > devices.max * 0.9)

    def _keep(self, sequence: int, sent: Sent) -> None:
        """Remember a flush, and of those before it as many as the bounds allow."""
        self._applied.append((sequence, sent))
        size = sum(len(kept.data) for _, kept in self._applied)
        while len(self._applied) > KEPT_FLUSHES or (size > KEPT_BYTES and len(self._applied) > 1):
            size -= len(self._applied.popleft()[1].data)

    def _restore(self) -> None:
        restored = self._store.claim()
        with self._lock:
            self._accountant.restore(
                restored.flows, restored.epoch, restored.evicted, restored.instances, restored.devices
            )
        self.status.sequence = restored.sequence
        self.status.restored = True
        log.info(
            "store opened: %d flushes so far, %d live flows taken back",
            restored.sequence,
            len(restored.flows),
        )

    def _take(self) -> Flush:
        now_s = int(time.time())
        with self._lock:
            batch = self._accountant.take(now_s - now_s % self._bucket_s)
        left = True
        while left:
            with self._lock:
                left = self._accountant.freeze(_FLOWS_AT_ONCE)
            _NEVER.wait(_TURN_S)  # else the lock is taken again before the listener has woken up
        if not batch.bucket:  # the first one: the accountant knows no clock
            batch.bucket = self._opened_s - self._opened_s % self._bucket_s
        taken_at = time.monotonic()
        elapsed_ms = int((taken_at - self._taken_at) * 1000)
        self._taken_at = taken_at
        return Flush(self.status.sequence + 1, batch, int(time.time() * 1000), elapsed_ms)

    def _give_back(self, sequence: int, beat: Callable[[], None]) -> None:
        """Redis has forgotten the flushes after ``sequence``: apply them again, or begin anew from there."""
        missing = [kept for kept in self._applied if kept[0] > sequence]
        if missing and missing[0][0] == sequence + 1:
            log.warning(
                "Redis came back with an older state: giving back flushes %d to %d",
                missing[0][0],
                missing[-1][0],
            )
            for number, sent in missing:
                beat()
                self._store.repeat(number, sent)
                self.status.repeated += 1
            return
        lost = self.status.sequence - sequence
        log.error(
            "Redis lost %d flushes for good (it holds those up to %d): totals go on from there; turn on "
            "persistence (appendonly yes) in Redis",
            lost,
            sequence,
        )
        self.status.lost += lost
        self._applied.clear()
        assert self._pending is not None
        batch = self._pending.batch
        forget_corrections(batch)
        for digest, state in batch.flows.items():
            if state is not None:
                batch.flows[digest] = state._replace(bytes_up=0, bytes_down=0, packets_up=0, packets_down=0)
        devices = self._store.devices()
        self._pending = replace(self._pending, sequence=sequence + 1)
        self.status.sequence = sequence
        with self._lock:
            self._accountant.forget_counts()
            self._accountant.dirty_all()
            self._accountant.flushed(batch.changed_devices(), (), stored=devices)
