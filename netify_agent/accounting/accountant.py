"""Records to changes: the rules that keep every byte in its right place.

No I/O, no clock, no Redis, no HTTP: records go in, a :class:`~netify_agent.accounting.batch.Batch` comes
out, so that each rule can be proven with plain data. "Trap n" names the traps of netifyd's wire format that
are listed in docs/accounting.md, together with the rule for each. Not thread-safe: the caller locks.

The rule under all rules: of a flow we count exactly what its cumulative ``total_bytes`` grew by since
its last record; ``local_*`` and ``other_*`` only say in which direction. So nothing can be counted twice
(a record that comes again adds nothing) and nothing that a flow's next record proves can be lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from netify_agent.accounting.baseline import Baseline
from netify_agent.accounting.batch import MAX_ADDRESSES, Batch, FlowState, Instance
from netify_agent.accounting.batch_builder import BatchBuilder, forget_corrections
from netify_agent.accounting.flow import Flow, split
from netify_agent.accounting.flow_table import FlowTable, another_life, is_digest
from netify_agent.netifyd.flow_counters import BadCounters, read_counters
from netify_agent.netifyd.flow_record import (
    UNDESCRIBED,
    Description,
    Key,
    describe,
    device_id,
    short_text,
    timestamp,
)
from netify_agent.netifyd.records import DESCRIPTION_TYPES

_KNOWN_TYPES = frozenset(
    (
        "agent_hello",
        "agent_status",
        "definitions",
        "flow",
        "flow_dpi_update",
        "flow_dpi_complete",
        "flow_stats",
        "flow_purge",
        "interfaces",
        "interface_stats",
        "endpoints",
    )
)

_OF_FLOWS = DESCRIPTION_TYPES | {"flow_stats", "flow_purge"}

Record = Mapping[str, Any]


class Accountant:
    """What all records so far prove.

    :ivar records: records taken, by type; unknown types among them.
    :ivar rejected: records that could not be used, by what was wrong with them.
    """

    def __init__(self, max_flows: int, bucket: int = 0) -> None:
        """Start with an empty flow table.

        :param max_flows: live flows kept; past it the least recently seen are let go and counted.
        :param bucket: start of the current history bucket, seconds since the epoch.
        """
        self.records: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self._builder = BatchBuilder(bucket)
        self._baseline = Baseline(self._builder)
        self._table = FlowTable(max_flows, self._builder, self._baseline)
        self._devices: set[str] = set()
        self._fresh: set[str] = set()  # connections whose first agent_status is still to come
        self._of_stored: set[str] = set()  # over before the restore: of the netifyd that it tells of

    # -- what the listener and the writer call ---------------------------------------------------

    @property
    def max_flows(self) -> int:
        """Live flows kept; may be changed at any time."""
        return self._table.max_flows

    @max_flows.setter
    def max_flows(self, value: int) -> None:
        self._table.max_flows = value

    @property
    def live_flows(self) -> int:
        """Flows in the table."""
        return len(self._table.live)

    @property
    def pending_changes(self) -> int:
        """Rows and flow states that changed since the last :meth:`take`."""
        return self._builder.batch.size + len(self._builder.changed)

    def connected(self, source: str) -> None:
        """A connection to ``source`` (an endpoint's URL) begins: its netifyd may be another process."""
        self._fresh.add(source)

    def feed(self, records: Iterable[Record], source: str) -> None:
        """Account for records in the order of their arrival.

        :param records: objects with a ``type``; whatever else is in them is checked here.
        :param source: URL of the endpoint they came from.
        """
        table, taken = self._table, self.records
        for record in records:
            kind = record["type"]
            taken[kind if kind in _KNOWN_TYPES else "unknown"] += 1
            if kind in _OF_FLOWS:
                fields = record.get("flow")
                digest = fields.get("digest") if type(fields) is dict else None
                if type(fields) is not dict or not is_digest(digest):
                    self.rejected[f"{kind} without digest"] += 1
                    continue
                table.sequence += 1
                if "digest_prev" in fields:
                    table.rename(digest, fields["digest_prev"])
                flow = table.live.get(digest) or table.find(digest)
                if flow is not None:
                    self._builder.touch(flow)
                if kind in DESCRIPTION_TYPES:
                    self._describe(digest, flow, fields, record, source)
                else:
                    self._counters(digest, flow, fields, source, kind == "flow_purge")
            elif kind == "agent_status":
                self._status(record, source)
                self._addresses(record.get("devices"))
            elif kind == "endpoints":
                self._addresses({mac: ips for mac, ips in record.items() if mac != "type"})

    def take(self, bucket: int) -> Batch:
        """Hand over all changes since the last call and begin a new batch.

        :param bucket: start of the history bucket that begins now, seconds since the epoch.
        :returns: the changes, stamped with the bucket in which they began to gather. The states of its flows
            come with :meth:`freeze`.
        """
        batch = self._builder.take(bucket)
        batch.epoch, batch.evicted = self._baseline.epoch, self._baseline.evicted
        batch.instances = dict(self._baseline.instances)
        return batch

    def freeze(self, most: int | None = None) -> bool:
        """Write the states of flows, as they were at :meth:`take`, into the batch that was taken last.

        :param most: how many at once, so that it takes no longer than the listener can wait; None: all.
        :returns: whether any are left: the batch is complete when there are none.
        """
        return self._builder.freeze(most)

    def restore(
        self,
        flows: Mapping[str, FlowState],
        epoch: int | None,
        evicted: int,
        instances: Mapping[str, Instance],
    ) -> None:
        """Take back what an earlier run of the agent stored; what has arrived meanwhile is kept.

        Call it once, with nothing in it for a new store: until then the bytes that flows had before
        their first record are only held, because it can't be known whether they were counted.
        """
        baseline = self._baseline
        if epoch is not None:
            baseline.epoch, baseline.guessed = epoch, False
        baseline.evicted = max(baseline.evicted, evicted)
        baseline.restored = True
        waiting = self._table.flows()
        arrived, baseline.instances = baseline.instances, dict(instances)
        restarted = {
            source
            for source, instance in instances.items()
            if source in arrived and arrived[source].uptime < instance.uptime
        }
        for digest, state in flows.items():
            over = state.source in restarted and digest not in self._of_stored
            self._restore_flow(digest, Flow.restored(digest, state), over)
        self._of_stored.clear()
        baseline.instances.update(arrived)
        for flow in waiting:
            if flow.unclaimed_bytes or flow.unclaimed_packets:
                baseline.resolve(flow)
                self._builder.save(flow)
        self._table.evict()

    def _restore_flow(self, digest: str, stored: Flow, over: bool) -> None:
        """Take back one flow; ``over``: the netifyd that it was of is gone."""
        current = self._table.find(digest)
        if current is None and not over:
            self._table.live[digest] = stored
            self._devices.update(key.device for key in (stored.key, stored.peer) if key and key.device)
            return
        if current is not None and not current.ended and current.digest == digest:
            current.born = stored.born
        else:
            self._builder.changed[digest] = None
        if current is None or over or another_life(stored.first_seen, current.first_seen):
            stored.ended = True
            self._baseline.resolve(stored)
            if current is None or current.digest != digest:
                self._builder.save(stored)
        else:
            self._table.merge(stored, current)

    def forget_counts(self) -> None:
        """The store lost what it held: later corrections must not take from rows that are not there.

        Live flows are counted as flows anew; :meth:`dirty_all` is to follow, which places them.
        """
        self._builder.freeze()
        forget_corrections(self._builder.batch)
        for flow in self._table.flows():
            flow.forget_counts()
        for flow in self._table.live.values():
            self._builder.count_flows(flow, 1)

    def dirty_all(self) -> None:
        """Put every live flow into the next batch, for a store that has lost them."""
        for flow in self._table.live.values():
            self._builder.save(flow)
        self._builder.batch.placed.update(self._table.live)
        self._builder.batch.complete = True

    # -- netifyd's own life ----------------------------------------------------------------------

    def _status(self, record: Record, source: str) -> None:
        uptime, clock = timestamp(record.get("uptime")), timestamp(record.get("timestamp")) * 1000
        if not clock:
            return
        baseline = self._baseline
        started = Instance(clock - uptime * 1000, uptime)
        if baseline.epoch is None or baseline.guessed:
            # Where netifyd tracked no flow when we came, all that it ever saw is ours to count.
            epoch = started.start if record.get("flow_count") == 0 else clock
            baseline.epoch = epoch if baseline.epoch is None else min(epoch, baseline.epoch)
            baseline.guessed = False
        baseline.clock = clock
        known = baseline.instances.get(source)
        if known is None:
            baseline.instances[source] = started
        elif uptime < known.uptime and source in self._fresh:
            # Another process: the flows of the one that is gone are over.
            for flow in [flow for flow in self._table.live.values() if flow.source == source]:
                self._table.end(flow, over=True)
                if not baseline.restored:
                    self._of_stored.add(flow.digest)
            baseline.instances[source] = started
            self._builder.batch.counters["netifyd_restarts"] += 1
        else:
            baseline.instances[source] = Instance(known.start, uptime)
        self._fresh.discard(source)
        self._table.expire()

    def _addresses(self, devices: object) -> None:
        """IP addresses of known devices, as netifyd lists them by MAC."""
        if not isinstance(devices, dict):
            return
        for mac, ips in devices.items():
            device = device_id(short_text(mac), None)
            if device is not None and device in self._devices and isinstance(ips, list):
                for ip in ips[:MAX_ADDRESSES]:
                    address = device_id(None, short_text(ip))
                    if address is not None:
                        _remember(self._builder.note(device).addresses, address, 0)

    # -- what a flow is --------------------------------------------------------------------------

    def _describe(
        self, digest: str, flow: Flow | None, fields: dict[str, Any], record: Record, source: str
    ) -> None:
        told = describe(fields, record.get("interface"))
        self._baseline.heard(told.last_seen)
        if flow is not None and flow.digest != digest and _is_earlier(flow, told):
            self._builder.batch.counters["records_repeated"] += 1
            return  # An earlier detection of a flow that has since been refined under a new digest.
        if flow is None or _is_over(flow, told):
            counted = -1, -1
            if (
                flow is not None
                and flow.digest == digest
                and flow.last_seen >= told.first_seen
                and not flow.over
            ):
                # Counters of this new life may have come before its description: they count once.
                counted = flow.total_bytes, flow.total_packets
            flow = self._begin(digest, flow, told.key, told.peer, source)
            flow.total_bytes, flow.total_packets = counted
        flow.touched = self._table.sequence
        flow.first_seen = told.first_seen or flow.first_seen
        flow.last_seen = max(told.last_seen, flow.last_seen)  # a repeated one is of the past
        self._learn(told)
        self._builder.describe(flow, told)
        self._baseline.resolve(flow)
        self._builder.save(flow)

    def _begin(self, digest: str, old: Flow | None, key: Key, peer: Key | None, source: str) -> Flow:
        """A flow begins, perhaps under a digest of ``old``, which is over then (the same two ends again)."""
        if old is not None:
            if old.digest == digest:
                self._table.forget(old)
            elif not old.ended:
                self._table.end(old, over=True)
        flow = Flow(digest, source)
        self._table.insert(flow, key, peer)
        return flow

    def _learn(self, told: Description) -> None:
        """Keep what a description tells of devices and applications."""
        for key in (told.key, told.peer):
            if key is not None and key.device is not None:
                self._devices.add(key.device)
                self._builder.note(key.device).interface = told.details.interface
        for device, ip in told.addresses:
            _remember(self._builder.note(device).addresses, ip, told.last_seen)
        for device, name in told.hints:
            self._builder.note(device).hint = name
        if told.category:
            self._builder.batch.categories[told.key.application] = told.category

    # -- what a flow carried ---------------------------------------------------------------------

    def _counters(
        self, digest: str, flow: Flow | None, fields: dict[str, Any], source: str, purge: bool
    ) -> None:
        try:
            up, down, packets_up, packets_down, total, total_packets, seen = read_counters(fields)
        except BadCounters as error:
            self.rejected[str(error)] += 1
            return
        self._baseline.heard(seen)
        if flow is None:
            flow = self._begin(digest, None, UNDESCRIBED, None, source)
        if total < 0:  # the record has none: what was known before and the interval
            total = max(flow.total_bytes, 0) + up + down
        if total_packets < 0:
            total_packets = max(flow.total_packets, 0) + packets_up + packets_down
        if flow.ended or total <= flow.total_bytes:
            life = self._life(flow, digest, total, up + down, seen, source)
            if life is None:
                self._builder.batch.counters["records_repeated"] += 1
                if purge:
                    flow.over = flow.ended  # The end of one that we had let go.
                return
            flow = life
        flow.touched = self._table.sequence
        if seen:
            flow.last_seen = seen
        if (
            flow.total_bytes == total - up - down
            and flow.total_packets == total_packets - packets_up - packets_down
            and flow.total_bytes >= 0
        ):
            flow.total_bytes, flow.total_packets = total, total_packets
            if up or down or packets_up or packets_down:
                self._builder.count(flow, up, down, packets_up, packets_down)
        else:
            self._count(flow, up, down, packets_up, packets_down, total, total_packets)
        self._baseline.resolve(flow)
        if purge:
            self._table.end(flow, over=True)
        else:
            self._builder.save(flow)

    def _life(self, flow: Flow, digest: str, total: int, grown: int, seen: int, source: str) -> Flow | None:
        """The life of the flow's ends that counters are of; None if they only repeat what is known.

        :param total: bytes of that life so far; :param grown: those of the interval; :param seen: its end.
        """
        if total == flow.total_bytes and not grown and not flow.ended:
            return flow
        if total <= flow.total_bytes:
            # Only a later life can be seen later, and with less or with all in its first record.
            if seen <= flow.last_seen or (total == flow.total_bytes and not total == grown > 0):
                return None
        elif not flow.over or 0 < flow.total_bytes == total - grown:
            self._table.reopen(flow)
            return flow
        later = self._begin(digest, flow, flow.key, flow.peer, source)
        later.risk = flow.risk
        later.total_bytes = later.total_packets = 0  # It began after the one before, so all of it is ours.
        return later

    def _count(
        self,
        flow: Flow,
        up: int,
        down: int,
        packets_up: int,
        packets_down: int,
        total: int,
        total_packets: int,
    ) -> None:
        """Count what the totals prove to be new, which is not what the interval says."""
        if flow.total_bytes < 0:
            # Its first counters: what it carried before them is known to be ours only if it began
            # on our watch (trap 6).
            flow.unclaimed_bytes = max(total - up - down, 0)
            flow.unclaimed_packets = max(total_packets - packets_up - packets_down, 0)
            flow.total_bytes, flow.total_packets = flow.unclaimed_bytes, flow.unclaimed_packets
        grown, grown_packets = total - flow.total_bytes, max(total_packets - flow.total_packets, 0)
        flow.total_bytes, flow.total_packets = total, max(total_packets, flow.total_packets)
        missed, missed_packets = grown - up - down, grown_packets - packets_up - packets_down
        if missed < 0 or missed_packets < 0:
            # The interval claims more than the total grew by: the total is believed.
            self._builder.batch.counters["records_contradictory"] += 1
            up, down = (up, down) if missed >= 0 else split(grown, up, down)
            if missed_packets < 0:
                packets_up, packets_down = split(grown_packets, packets_up, packets_down)
        if grown or grown_packets:
            self._builder.count(flow, up, down, packets_up, packets_down)
        if missed > 0 or missed_packets > 0:
            self._builder.count_missed(flow, max(missed, 0), max(missed_packets, 0))


def _is_earlier(flow: Flow, told: Description) -> bool:
    """Whether ``told``, of an earlier digest of ``flow``, is of that same life; flow's own is better then."""
    return flow.first_seen > 0 and told.first_seen in (0, flow.first_seen)


def _is_over(flow: Flow, told: Description) -> bool:
    """Whether ``told`` is of a later flow of the same two ends than ``flow``."""
    return another_life(flow.first_seen, told.first_seen) or (flow.over and told.first_seen > flow.last_seen)


def _remember(addresses: dict[str, int], ip: str, seen: int) -> None:
    """Note that a device had ``ip`` at ``seen`` (ms), most recent last, at most MAX_ADDRESSES of them."""
    seen = max(addresses.pop(ip, 0), seen)
    addresses[ip] = seen
    if len(addresses) > MAX_ADDRESSES:
        del addresses[next(iter(addresses))]
