"""Writes batches to Redis. Each batch is applied exactly once, despite failures of Redis, network or agent.

Each batch is one MULTI/EXEC that also stores the batch's sequence number, with the key of that number under
WATCH. If a reply is lost, the next attempt reads the number to see whether the batch was applied.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import redis

from netify_agent.accounting.device_table import DEFAULT_MAX
from netify_agent.store.addresses import surplus
from netify_agent.store.client import Client, StoreError, StoreRefused, as_store_error
from netify_agent.store.deltas import Change, Summary
from netify_agent.store.encoding import decode_state
from netify_agent.store.flow_writer import AT_ONCE, Before, FlowWriter, FlowWriterLimits
from netify_agent.store.flush import Flush, FlushFacts, FlushPart, Restored, Rewound
from netify_agent.store.forget_requests import ForgetRequests
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.history_writer import HistoryLimits, HistoryWriter, Work
from netify_agent.store.layout import (
    FIRST_SEEN,
    GATEWAY,
    INTERFACE,
    LAST_SEEN,
    MIRRORED,
    SCHEMA,
    UNATTRIBUTED,
    Keys,
)
from netify_agent.store.lease import LEASE_FIELDS, Lease, lease_s, milliseconds
from netify_agent.store.migrate import sources_of, users_of_protocols
from netify_agent.store.rates import RateWindow
from netify_agent.store.redirect import watching
from netify_agent.store.retention import Due, Retention, RetentionLimits, WallClock
from netify_agent.store.transaction import Sent, Transaction, repeat

log = logging.getLogger(__name__)


class StoreWriter:
    """Writes one gateway's store.

    Every method raises :class:`~netify_agent.store.client.StoreError` if Redis can't be reached or refuses.
    Either nothing changed, or the next :meth:`apply` finds out what did. It raises :class:`StoreRefused` if a
    retry can't help.

    :ivar lease: this agent's lease on the store.
    :ivar growth: change of each device's totals by the latest flush, for the audit.
    :ivar forget_requests: what the next flush should have in ``forget``.
    :ivar meta_lost: whether Redis lost ``meta`` but not the other keys.
    """

    def __init__(
        self,
        client: Client,
        gateway: str,
        history: HistorySteps,
        forget_after_s: int,
        *,
        max_devices: int = DEFAULT_MAX,
        flow_limits: FlowWriterLimits | None = None,
        retention_limits: RetentionLimits | None = None,
        history_limits: HistoryLimits | None = None,
        lease: Lease | None = None,
        part: FlushPart | None = None,
    ) -> None:
        """Sends nothing yet.

        :param history: the steps of the history.
        :param forget_after_s: see :class:`Retention`, also for ``max_devices``.
        :param lease: this agent's lease; None: one for the default interval.
        :param part: adds commands to each flush.
        """
        self.lease = lease or Lease(lease_s(15))
        self.growth: dict[str, Sequence[int]] = {}
        self.meta_lost = False
        self._client = client
        self._gateway = gateway
        self._keys = Keys(gateway)
        self._flow_writer = FlowWriter(self._keys, flow_limits)
        self._history = HistoryWriter(client, self._keys, history, history_limits)
        self.forget_requests = ForgetRequests(client, gateway)
        self._part = part
        self.retention = Retention(client, self._keys, forget_after_s, max_devices, retention_limits)
        self._window = RateWindow()
        # Rows of the latest flush, by device: Redis is known to hold when they were first seen.
        self._first_seen: dict[str, Mapping[str, int]] = {}
        self._moving: set[str] = set()  # devices that have a rate since the last flush
        self._dropped: list[str] = []  # devices dropped by the last flush
        self._sent = Sent(0, ())  # the latest flush
        self._replaced: str | None = None  # the writer that this agent took over from
        self._now_ms = 0  # Redis' clock when ``meta`` was last read

    def report_progress_to(self, progress: Callable[[], None]) -> None:
        """Call ``progress`` now and then during a flush of very many flows."""
        self._flow_writer.progress = progress

    def claim(self) -> Restored:
        """Become the only writer of this gateway and return the stored state.

        :raises StoreTaken: another agent writes this gateway.
        """
        meta_key = self._keys.meta
        try:
            with watching(self._client, meta_key) as pipe:
                meta = pipe.hgetall(meta_key)
                schema = int(meta.get("schema", "") if meta else SCHEMA)
                if schema > SCHEMA:
                    raise StoreRefused(
                        f"the data of gateway '{self._gateway}' in Redis is of schema {schema}; this "
                        f"netify-agent knows schemas up to {SCHEMA}: upgrade it, or use another database"
                    )
                self._now_ms = milliseconds(*pipe.time())
                self.lease.check(meta, self._now_ms, self._gateway)
                missing = users_of_protocols(pipe, self._keys) if schema < 2 else {}
                names = pipe.zrange(self._keys.devices, 0, -1)
                pipe.multi()
                pipe.hgetall(self._keys.flows)
                for key, devices in missing.items():
                    pipe.zadd(key, devices)
                if schema < 4:
                    pipe.sadd(self._keys.unmigrated, *names, GATEWAY)
                fields = {"schema": SCHEMA, "sources": json.dumps(sources_of(meta))}
                pipe.hset(meta_key, mapping={**fields, **self.lease.fields(self._now_ms)})
                flows, *_ = pipe.execute()
            if meta.get("writer") != self.lease.writer:  # equal if the reply to an earlier claim was lost
                self._replaced = meta.get("writer")
            return Restored(
                int(meta.get("seq", 0)),
                {digest: decode_state(text) for digest, text in flows.items()},
                sources_of(meta),
                names,
            )
        except redis.RedisError as error:
            raise as_store_error(error, self._gateway) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreRefused(
                f"{meta_key} in Redis does not hold what netify-agent stores there: use another database"
            ) from error

    def apply(self, flush: Flush) -> Sent:
        """Apply ``flush``, unless it is already applied.

        :returns: the data that :meth:`repeat` needs to apply it again.
        :raises Rewound: if the previous flush is missing in Redis.
        """
        with self._watching(flush.sequence) as pipe:
            if pipe is None:
                return self._sent
            self.growth = {}
            clock = WallClock.read(pipe, self._keys.meta, flush.at_ms, flush.elapsed_ms)
            if self._part is not None:
                self._part.begin(flush)
            requested = self.forget_requests.standing(pipe, flush.forget, self._now_ms)
            due = self.retention.read(pipe, clock, requested)
            before = self._flow_writer.read(pipe, flush.batch, clock, due.requested)
            summary = Summary(flush.batch)
            notes = flush.batch.devices
            changed = {device: notes[device] for device in summary.devices if device in notes}
            due = due.without({*summary.devices, *self._history.unmigrated(pipe)})
            work = self._history.read(pipe, clock, flush.batch.bucket, flush.elapsed_ms, due.devices)
            surplus_ips = surplus(self._client, self._keys, changed)
            with Transaction(pipe.connection) as transaction:
                first_seen = self._queue(transaction, flush, summary, clock, due, before, surplus_ips, work)
                self._first_seen = {}  # until Redis has answered
                self._sent = transaction.commit()
                refused = [f"{name} of {key} ({why})" for name, key, why in transaction.refused()]
        _check_refused(flush.sequence, refused)
        self._first_seen = first_seen
        due.log(self._dropped)
        return self._sent

    def repeat(self, sequence: int, sent: Sent) -> None:
        """Apply flush ``sequence`` again, to a Redis that has lost it. Otherwise as :meth:`apply`."""
        with self._watching(sequence) as pipe:
            refused = repeat(pipe.connection, sent) if pipe is not None else []
        _check_refused(sequence, refused)

    @contextmanager
    def _watching(self, sequence: int) -> Iterator[Any]:
        """Return a pipeline with ``meta`` under WATCH; None if flush ``sequence`` is already applied."""
        meta = self._keys.meta
        try:
            with watching(self._client, meta) as pipe:
                names = ("seq", "schema", *LEASE_FIELDS)
                found = {
                    name: value
                    for name, value in zip(names, pipe.hmget(meta, names), strict=True)
                    if value is not None
                }
                self._now_ms = milliseconds(*pipe.time())
                stored, schema, writer = int(found.get("seq", 0)), found.get("schema"), found.get("writer")
                if writer != self.lease.writer or stored < sequence - 1:
                    self._first_seen = {}  # this is not what the latest flush left
                if writer not in (self.lease.writer, self._replaced, None):
                    self.lease.check_lost(found, self._now_ms, self._gateway)
                    self._replaced = writer  # Redis was restored to the state of an earlier agent
                if schema is None and sequence > 1 and pipe.exists(*self._keys.lasting):
                    # ``meta`` alone was evicted or deleted: a restored Redis would lack all keys.
                    self.meta_lost = True
                    stored = sequence - 1
                if schema not in (None, str(SCHEMA)):
                    self.claim()  # Redis was restored to the state of an older netify-agent
                    raise StoreError("Redis was restored with data of an older schema, which was migrated")
                if stored == sequence and writer == self.lease.writer:
                    yield None
                    return
                if stored < sequence - 1:
                    raise Rewound(stored)
                if stored >= sequence:
                    raise StoreRefused(f"flush {stored} in Redis is another agent's, which writes there")
                yield pipe
                pipe.watching = False  # EXEC ended it
        except redis.RedisError as error:
            raise as_store_error(error, self._gateway) from error

    def release(self) -> None:
        """Release the lease at a clean stop, so that the next agent need not wait for it to run out."""
        meta = self._keys.meta
        try:
            with watching(self._client, meta) as pipe:
                if pipe.hget(meta, "writer") == self.lease.writer:
                    pipe.multi()
                    pipe.hset(meta, "lease", 0)
                    pipe.execute()
        except redis.RedisError as error:
            raise as_store_error(error, self._gateway) from error

    def moving_devices(self) -> set[str]:
        """Devices that have a rate since the last flush."""
        return self._moving - {GATEWAY}

    def devices(self) -> list[str]:
        """Devices that have a row."""
        try:
            names: list[str] = self._client.zrange(self._keys.devices, 0, -1)
        except redis.RedisError as error:
            raise as_store_error(error, self._gateway) from error
        return names

    def dropped_devices(self) -> list[str]:
        """Devices whose rows the last flush dropped."""
        return self._dropped

    def _queue(
        self,
        pipe: Transaction,
        flush: Flush,
        summary: Summary,
        clock: WallClock,
        due: Due,
        before: Before,
        surplus_ips: dict[str, list[str]],
        work: Work,
    ) -> dict[str, Mapping[str, int]]:
        """Queue all commands; returns the rows that will have their first moment, by device."""
        batch = flush.batch
        self._queue_meta(pipe, flush, clock)
        self.retention.queue_corrections(pipe, due, clock)
        self._history.queue(pipe, work)
        self._window.begin(flush.sequence, flush.elapsed_ms)
        rates: dict[str, str] = {}
        first_seen: dict[str, Mapping[str, int]] = {}
        for change in summary.changes():
            due.note(change.name, change.lasting)
            self._queue_totals(pipe, change)
            if change.name != GATEWAY:
                self._queue_device(pipe, change, flush)
                self.growth[change.name] = change.lasting.total[:4]
            self._queue_history(pipe, work, change)
            if self._part is not None:
                self._part.add(change)
            rates[change.name] = self._window.add(change.name, change.fresh)
            first_seen[change.name] = change.first_seen
        devices = iter(summary.devices)
        while part := list(islice(devices, AT_ONCE)):
            pipe.zadd(self._keys.devices, dict.fromkeys(part, flush.at_ms))
        rates = self._queue_rates(pipe, rates)
        pipe.grow(self._keys.unattributed, summary.unattributed)
        pipe.grow(self._keys.mirrored, summary.mirrored)
        pipe.grow(self._keys.left_out, summary.left_out)
        self._history.grow_other(pipe, work, UNATTRIBUTED, summary.unattributed_interval)
        self._history.grow_other(pipe, work, MIRRORED, summary.mirrored_interval)
        self._history.finish(pipe, work)
        self._flow_writer.queue(pipe, batch, flush.at_ms, before)
        for name, count in batch.counters.items():
            pipe.hincrby(self._keys.counters, name, count)
        if batch.categories:
            pipe.hset(self._keys.categories, mapping=batch.categories)
        for device, ips in surplus_ips.items():
            pipe.zrem(self._keys.addresses(device), *ips)
        silent = self.retention.queue_forget(pipe, due)
        self._flow_writer.queue_forget(pipe, silent)
        self._dropped = [*silent, *self.retention.queue_requested(pipe, due)]
        self.growth.update((device, due.shrinkage(device)) for device in self._dropped)
        if self._part is not None:
            self._part.queue(pipe, FlushFacts(flush, summary.devices, rates, self._dropped))
        for device in self._dropped:
            first_seen.pop(device, None)
        return first_seen

    def _queue_meta(self, pipe: Transaction, flush: Flush, clock: WallClock) -> None:
        meta: dict[str, str | int] = {
            "seq": flush.sequence,
            "at": flush.at_ms,
            "elapsed": flush.elapsed_ms,
            "steady": clock.steady_since,
            **self.lease.fields(self._now_ms),
            "schema": SCHEMA,
            "sources": json.dumps(flush.batch.sources),
        }
        pipe.hset(self._keys.meta, mapping=meta)

    def _queue_totals(self, pipe: Transaction, change: Change) -> None:
        name, tally = change.name, change.lasting
        pipe.grow(self._keys.totals(name), tally.total)
        applications = self._keys.applications(name)
        pipe.grow_rows(applications, tally.applications)
        known = self._first_seen.get(name, {})
        for tag, first in change.first_seen.items():
            if tag in known:
                continue
            pipe.hsetnx(applications, f"{FIRST_SEEN}:{tag}", first)
        if change.last_seen:
            pipe.hset(
                applications, mapping={f"{LAST_SEEN}:{tag}": at for tag, at in change.last_seen.items()}
            )
        pipe.grow_rows(self._keys.protocols(name), tally.protocols)

    def _queue_device(self, pipe: Transaction, change: Change, flush: Flush) -> None:
        device, keys = change.name, self._keys
        key = keys.totals(device)
        fields: dict[str, str | int] = {}
        if change.last_seen:
            fields[LAST_SEEN] = max(change.last_seen.values())
            if not self._first_seen.get(device):
                pipe.hsetnx(key, FIRST_SEEN, min(change.first_seen.values(), default=fields[LAST_SEEN]))
        note = flush.batch.devices.get(device)
        if note is not None:
            if note.interface is not None:
                fields["interface"] = note.interface
            if note.hint is not None:
                fields["hint"] = note.hint
            if note.addresses:
                addresses = keys.addresses(device)
                if seen := {ip: at for ip, at in note.addresses.items() if at}:
                    pipe.zadd(addresses, seen)
                if listed := {ip: 0 for ip, at in note.addresses.items() if not at}:
                    pipe.zadd(addresses, listed, nx=True)  # listed by netifyd without a time
        if fields:
            pipe.hset(key, mapping=fields)
        tally = change.lasting
        used = {
            keys.users(tag): sums[0] + sums[1] for tag, sums in tally.applications.items() if any(sums[:2])
        }
        for protocol, sums in tally.protocols.items():
            if any(sums[:2]):
                used[keys.protocol_users(protocol)] = sums[0] + sums[1]
        pipe.add_scores(device, used)
        for of, amount in used.items():
            if amount < 0:  # a device without bytes is not a user
                pipe.zremrangebyscore(of, "-inf", 0)

    def _queue_history(self, pipe: Transaction, work: Work, change: Change) -> None:
        history, tally = self._history, change.interval
        history.grow(pipe, work, change.name, tally.total, tally.applications)
        for interface, total in change.interfaces.items():
            history.grow_other(pipe, work, INTERFACE + interface, total)

    def _queue_rates(self, pipe: Transaction, rates: dict[str, str]) -> dict[str, str]:
        """Replace all rates, those of ``rates`` and the rest of the window; returns them. Others are 0."""
        pipe.delete(self._keys.rates)
        found = {name: text for name, text in chain(rates.items(), self._window.rest(rates)) if text}
        moving = iter(found.items())
        while part := dict(islice(moving, AT_ONCE)):
            pipe.hset(self._keys.rates, part)
        self._moving = set(found)
        return found


def _check_refused(sequence: int, refused: Sequence[str]) -> None:
    """Raises StoreRefused if Redis refused single commands of an applied flush."""
    if refused:
        raise StoreRefused(
            f"Redis took flush {sequence} but refused {len(refused)} of its commands, such as {refused[0]}: "
            "another program writes to this gateway's keys"
        )
