"""The writer thread: takes a batch from the accounting each interval and writes it to Redis.

Keeps the batch that is not yet in Redis, and the latest applied flushes, in case Redis restarts from an older
snapshot.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import redis

from netify_agent.accounting.accountant import Accountant
from netify_agent.accounting.batch import Batch
from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.audit import SumAudit, eviction_warning
from netify_agent.store.client import Client, StoreError, StoreRefused
from netify_agent.store.flush import Flush, Restored, Rewound
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.transaction import Sent
from netify_agent.store.writer import StoreWriter

log = logging.getLogger(__name__)

_NEVER = threading.Event()


@dataclass(frozen=True)
class FlusherLimits:
    """Bounds and times of the flusher."""

    # Applied flushes that are kept. With the default interval they cover six minutes. By default Redis 6 and
    # 7 write a snapshot at most 5 minutes after 100 changes (redis.conf, ``save``).
    kept_flushes: int = 24
    kept_bytes: int = 4 << 20  # of all kept flushes; one of 100 devices with 20 applications each has 450 kB
    final_flush_s: float = 10.0  # time limit for the last flush at a stop
    backoff_first_s: float = 0.5  # between attempts: a restart of Redis takes about a second
    backoff_longest_s: float = 15.0  # the default interval
    idle_s: float = 0.5  # longest wait between checks of the clock and of the stop request
    turn_s: float = 0.0005  # pause in which the listener can take the lock
    flows_at_once: int = 500  # flow states copied under the lock: 0.3 ms
    log_again_s: float = 600.0  # between log lines about the same outage


_DEFAULT_LIMITS = FlusherLimits()


@dataclass
class FlusherStatus:
    """State of the flusher.

    :ivar restored: whether the store was opened and its stored state was read.
    :ivar sequence: number of the last flush in Redis.
    :ivar last_flush: time of the last flush, agent's clock, seconds since the epoch; 0 before the first.
    :ivar flush_ms: duration of the last flush in milliseconds.
    :ivar flushes: applied flushes since the start; :ivar failures: failed attempts.
    :ivar repeated: flushes applied again after Redis was restored to an older state.
    :ivar lost: applied flushes that Redis lost and that could not be repeated.
    :ivar pending: rows and flow states that are not in Redis yet.
    :ivar finished: whether the last flush at the stop is in Redis.
    :ivar error: why flushes fail, in one line; None while they succeed.
    :ivar warning: a risk in Redis' configuration, in one line; None if there is none.
    :ivar inconsistency: which sums in Redis do not agree, in one line; None while they agree.
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
    warning: str | None = None
    inconsistency: str | None = None


class Flusher:
    """Writes the changes of ``accountant`` to Redis. :meth:`run` is the body of its thread."""

    def __init__(
        self,
        accountant: Accountant,
        lock: threading.Lock,
        store: StoreWriter,
        interval_s: float,
        steps: HistorySteps,
        on_flush: Callable[[Flush], None] = lambda flush: None,
        limits: FlusherLimits = _DEFAULT_LIMITS,
        audit: SumAudit | None = None,
        on_open: Callable[[Restored], None] = lambda restored: None,
        on_failure: Callable[[], None] = lambda: None,
        status: FlusherStatus | None = None,
    ) -> None:
        """Does nothing yet.

        :param lock: guards ``accountant``; held only while a batch is taken.
        :param interval_s: seconds between flushes; the attribute may be changed.
        :param steps: the steps of the history.
        :param on_flush: called with each applied flush.
        :param on_open: called with the stored state before the first flush. May raise StoreError.
        :param on_failure: called after each failed attempt.
        :param status: its state, if others have it already; None: a new one.
        :param audit: checks the sums in Redis in parts, one after each flush; None: no checks.
        """
        self.status = status or FlusherStatus()
        self.interval_s = interval_s
        self._accountant = accountant
        self._lock = lock
        self._store = store
        self._steps = steps
        self._on_flush = on_flush
        self._limits = limits
        self._audit = audit
        self._on_open = on_open
        self._on_failure = on_failure
        self._pending: Flush | None = None
        self._applied: deque[tuple[int, Sent]] = deque()  # by sequence number
        self._logged_at = -limits.log_again_s
        self._taken_at = time.monotonic()
        self._opened_s = int(time.time())
        self._full_logged = False

    def run(self, stop: threading.Event, progress: Callable[[], None]) -> None:
        """Flush every interval until ``stop`` is set, then once more.

        :raises StoreRefused: if a retry can't help.
        """
        limits = self._limits
        self._store.report_progress_to(progress)
        last = self._taken_at - self.interval_s  # the first flush, which opens the store, is due at once
        wait = 0.0
        while not stop.is_set():
            progress()
            now = time.monotonic()
            due = last + (wait or self.interval_s)  # a reload may change the interval at any time
            if now < due:
                stop.wait(min(due - now, limits.idle_s))
            elif self._attempt(progress):
                wait = 0.0
                last = due if now - due < self.interval_s else now  # in step, unless late
                self._check_sums()
            else:
                wait = min(max(wait * 2, limits.backoff_first_s), limits.backoff_longest_s)
                last = time.monotonic()
        self._finish(progress)

    def _finish(self, progress: Callable[[], None]) -> None:
        """Write the pending flush, if any, and the last one. Then release the lease."""
        deadline = time.monotonic() + self._limits.final_flush_s
        for _ in range(2):
            again = self._pending is not None
            while not self._attempt(progress):
                if time.monotonic() > deadline:
                    log.error(
                        "stopping without the last flush: %s. After the next start, the bytes of live flows "
                        "are recovered",
                        self.status.error,
                    )
                    return
                _NEVER.wait(self._limits.idle_s)
            if not again:
                break
        self.status.finished = True
        try:
            self._store.release()
        except StoreError as error:
            log.debug("the lease was not released: %s", error)

    def _attempt(self, progress: Callable[[], None]) -> bool:
        """Write one flush to Redis. Returns False if the attempt failed and is to be retried."""
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
                if self._audit is not None:
                    self._audit.restart()
                self._recover(rewound.sequence, progress)
                sent = self._store.apply(self._pending)
        except Rewound:
            return False
        except StoreRefused:
            raise
        except StoreError as error:
            status.failures += 1
            now = time.monotonic()
            if str(error) != status.error or now - self._logged_at >= self._limits.log_again_s:
                log.warning("Redis took no flush, retrying: %s", error)
                self._logged_at = now
            status.error = str(error)
            self._on_failure()
            return False
        if status.error is not None and status.failures:
            log.info("Redis takes flushes again")
        status.error = None
        status.sequence = self._pending.sequence
        status.flushes += 1
        status.last_flush = time.time()
        status.flush_ms = (time.monotonic() - started) * 1000
        self._keep(self._pending.sequence, sent)
        self._on_flush(self._pending)
        self._note_devices(self._pending.batch)
        self._pending.batch.release()
        self._pending = None
        status.pending = 0
        return True

    def _check_sums(self) -> None:
        """Audit the next part of the store. If Redis does not answer, the next flush reports it."""
        audit, status = self._audit, self.status
        if audit is None:
            return
        audit.grow(self._store.growth)
        try:
            ended = audit.step(status.sequence)
            if ended:
                self._check_policy(audit.client)
        except redis.RedisError as error:
            log.debug("the sums were not checked: %s", error)
            return
        found = audit.breach
        if self._store.meta_lost:
            found = found or "Redis lost the key 'meta', which was written again"
            self._store.meta_lost = not ended
        if found is not None and status.inconsistency is None:
            log.error("%s. Totals are wrong by the lost amounts", found)
        if found is None and status.inconsistency is not None:
            log.info("the sums in Redis agree again")
        status.inconsistency = found

    def _check_policy(self, client: Client) -> None:
        warning = eviction_warning(client)
        if warning is not None and warning != self.status.warning:
            log.warning("%s", warning)
        self.status.warning = warning

    def _note_devices(self, batch: Batch) -> None:
        """Update the device table of the accounting, and log once that it is full."""
        changed, dropped = batch.changed_devices(), self._store.dropped_devices()
        devices = self._accountant.devices
        with self._lock:
            self._accountant.flushed(changed, dropped)
            known, full = len(devices), devices.full
        if full and not self._full_logged:
            log.warning(
                "the device table is full: %d devices (devices.max: %d); traffic of new devices is counted "
                "as '%s'",
                known,
                devices.max,
                OTHER_DEVICE,
            )
        self._full_logged = full or (self._full_logged and known > devices.max * 0.9)

    def _keep(self, sequence: int, sent: Sent) -> None:
        """Keep a flush, and as many earlier ones as the limits allow."""
        self._applied.append((sequence, sent))
        size = sum(kept.size for _, kept in self._applied)
        limits = self._limits
        while len(self._applied) > limits.kept_flushes or (
            size > limits.kept_bytes and len(self._applied) > 1
        ):
            size -= self._applied.popleft()[1].size

    def _restore(self) -> None:
        restored = self._store.claim()
        self._on_open(restored)
        with self._lock:
            self._accountant.restore(restored.flows, restored.sources, restored.devices)
        self.status.sequence = restored.sequence
        self.status.restored = True
        if self._audit is not None:
            try:
                self._check_policy(self._audit.client)
            except redis.RedisError as error:
                log.debug("Redis' maxmemory-policy was not checked: %s", error)
        log.info(
            "store opened: %d flushes so far, %d live flows restored",
            restored.sequence,
            len(restored.flows),
        )

    def _take(self) -> Flush:
        now_s = int(time.time())
        forget = self._store.forget_requests.waiting()
        with self._lock:
            self._accountant.leave_behind(forget)
            self._accountant.close_batch(self._steps.bucket(now_s))
        batch = None
        while batch is None:
            with self._lock:
                batch = self._accountant.finish_batch(self._limits.flows_at_once)
            _NEVER.wait(self._limits.turn_s)  # else this thread gets the lock again
        if not batch.bucket:  # the first batch: the accounting has no clock
            batch = replace(batch, bucket=self._steps.bucket(self._opened_s))
        taken_at = time.monotonic()
        elapsed_ms = int((taken_at - self._taken_at) * 1000)
        self._taken_at = taken_at
        return Flush(self.status.sequence + 1, batch, int(time.time() * 1000), elapsed_ms, forget)

    def _recover(self, sequence: int, progress: Callable[[], None]) -> None:
        """Redis lost the flushes after ``sequence``: apply them again, or go on without them."""
        missing = [kept for kept in self._applied if kept[0] > sequence]
        if missing and missing[0][0] == sequence + 1:
            log.warning(
                "Redis was restored to an older state: applying flushes %d to %d again",
                missing[0][0],
                missing[-1][0],
            )
            for number, sent in missing:
                progress()
                self._store.repeat(number, sent)
                self.status.repeated += 1
            return
        lost = self.status.sequence - sequence
        log.error(
            "Redis lost %d flushes for good (it holds those up to %d). Totals continue from there. Turn on "
            "persistence (appendonly yes) in Redis",
            lost,
            sequence,
        )
        self.status.lost += lost
        self._applied.clear()
        assert self._pending is not None
        devices = self._store.devices()
        batch = self._pending.batch.without_corrections()
        self._pending = replace(self._pending, batch=batch, sequence=sequence + 1)
        self.status.sequence = sequence
        with self._lock:
            self._accountant.forget_counts()
            self._accountant.flushed(batch.changed_devices(), (), stored=devices)
