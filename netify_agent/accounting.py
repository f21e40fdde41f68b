"""Records to changes: the flow table, and the rules that keep every byte in its right place.

No I/O, no clock, no Redis, no HTTP: records go in, a :class:`~netify_agent.batch.Batch` comes out, so
that each rule can be proven with plain data. "Trap n" names the traps of netifyd's wire format that are
listed in docs/accounting.md, together with the rule for each. Not thread-safe: the caller locks.

The rule under all rules: of a flow we count exactly what its cumulative ``total_bytes`` grew by since
its last record; ``local_*`` and ``other_*`` only say in which direction. So nothing can be counted twice
(a record that comes again adds nothing) and nothing that a flow's next record proves can be lost.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from netify_agent.batch import MAX_ADDRESSES, Batch, FlowState, Instance
from netify_agent.description import UNDESCRIBED, Description, Key, clean, describe, device_id, timestamp
from netify_agent.flow import Flow, split
from netify_agent.ledger import Ledger

_MAX_CHAIN = 16  # digests that one flow is followed through
_IDLE_REPORTS = 240  # agent_status records (one each 15 s) after which a silent flow is let go
_MAX_COUNT = 1 << 53  # above this no counter of a record is believed
_KNOWN_TYPES = frozenset(
    (
        "agent_hello",
        "agent_status",
        "definitions",
        "flow",
        "flow_stats",
        "flow_purge",
        "interfaces",
        "interface_stats",
        "endpoints",
    )
)

Record = Mapping[str, Any]


class Accountant:
    """The flow table.

    :ivar records: records taken, by type; unknown types among them.
    :ivar rejected: records that could not be used, by what was wrong with them.
    :ivar max_flows: live flows kept; may be changed at any time.
    """

    def __init__(self, max_flows: int, bucket: int = 0) -> None:
        """Start with an empty table.

        :param max_flows: live flows kept; past it the least recently seen are let go and counted.
        :param bucket: start of the current history bucket, seconds since the epoch.
        """
        self.records: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.max_flows = max_flows
        self._max_ended = max(max_flows // 10, 100)
        self._flows: dict[str, Flow] = {}
        self._ended: OrderedDict[str, Flow] = OrderedDict()  # for late records of flows that are over
        self._aliases: OrderedDict[str, str] = OrderedDict()  # earlier digest to the one that replaced it
        self._devices: set[str] = set()
        self._instances: dict[str, Instance] = {}
        self._fresh: set[str] = set()  # connections whose first agent_status is still to come
        self._chains = False  # this netifyd changes digests (v5)
        self._epoch: int | None = None  # netifyd's clock, ms, when this store first heard of it
        self._evicted = 0  # netifyd's clock, ms: flows born before may have been let go by us
        self._restored = False
        self._sequence = 0  # of flow records taken
        self._reports: deque[int] = deque()  # the sequence at each of the latest agent_status records
        self._ledger = Ledger(bucket)

    # -- what the listener and the writer call ---------------------------------------------------

    def connected(self, source: str) -> None:
        """A connection to ``source`` (an endpoint's URL) begins: its netifyd may be another process."""
        self._fresh.add(source)

    def feed(self, records: Iterable[Record], source: str) -> None:
        """Account for records in the order of their arrival.

        :param records: objects with a ``type``; whatever else is in them is checked here.
        :param source: URL of the endpoint they came from.
        """
        for record in records:
            kind = record["type"]
            self.records[kind if kind in _KNOWN_TYPES else "unknown"] += 1
            if kind in ("flow", "flow_stats", "flow_purge"):
                flow = record.get("flow")
                digest = flow.get("digest") if isinstance(flow, dict) else None
                if not isinstance(flow, dict) or not _is_digest(digest):
                    self.rejected[f"{kind} without digest"] += 1
                    continue
                self._sequence += 1
                if "digest_prev" in flow:
                    self._rename(digest, flow["digest_prev"])
                if kind == "flow":
                    self._describe(digest, flow, record, source)
                else:
                    self._counters(digest, flow, source, kind == "flow_purge")
            elif kind == "agent_status":
                self._status(record, source)
                self._addresses(record.get("devices"))
            elif kind == "endpoints":
                self._addresses({mac: ips for mac, ips in record.items() if mac != "type"})

    def take(self, bucket: int) -> Batch:
        """Hand over all changes since the last call and begin a new batch.

        :param bucket: start of the history bucket that begins now, seconds since the epoch.
        :returns: the changes, stamped with the bucket in which they began to gather.
        """
        batch = self._ledger.take(bucket)
        batch.epoch, batch.evicted = self._epoch, self._evicted
        batch.instances = dict(self._instances)
        return batch

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
        if epoch is not None:
            self._epoch = epoch
        self._evicted = max(self._evicted, evicted)
        self._restored = True
        restarted = set()
        for source, instance in instances.items():
            arrived = self._instances.setdefault(source, instance)
            if arrived.uptime < instance.uptime:
                restarted.add(source)
        for digest, state in flows.items():
            stored = Flow.restored(digest, state, self._ledger.generation - 1)
            current = self._find(digest)
            if current is not None:
                current.born = stored.born  # under either name the store holds it now
            if current is None or current.ended or current.digest != digest:
                self._ledger.batch.flows[digest] = None
            if state.source in restarted:
                continue
            if current is None:
                del self._ledger.batch.flows[digest]
                self._flows[digest] = stored
                self._know(stored.key, stored.peer)
            elif not current.first_seen or current.first_seen == stored.first_seen:
                self._merge(stored, current)
        for flow in [*self._flows.values(), *self._ended.values()]:
            self._resolve(flow)
        self._evict()

    def forget_counts(self) -> None:
        """The store lost what it held: later corrections must not take from rows that are not there."""
        for flow in (*self._flows.values(), *self._ended.values()):
            flow.forget_counts()

    def dirty_all(self) -> None:
        """Put every live flow into the next batch, for a store that has lost them."""
        for flow in self._flows.values():
            self._ledger.save(flow)

    @property
    def live_flows(self) -> int:
        """Flows in the table."""
        return len(self._flows)

    # -- netifyd's own life ----------------------------------------------------------------------

    def _status(self, record: Record, source: str) -> None:
        uptime, clock = timestamp(record.get("uptime")), timestamp(record.get("timestamp")) * 1000
        if not clock:
            return
        if self._epoch is None:
            # Where netifyd tracked no flow when we came, all that it ever saw is ours to count.
            self._epoch = clock - uptime * 1000 if record.get("flow_count") == 0 else clock
        known = self._instances.get(source)
        if known is None:
            self._instances[source] = Instance(clock - uptime * 1000, uptime)
        elif uptime < known.uptime and source in self._fresh:
            # Another process: the flows of the one that is gone are over.
            for flow in [flow for flow in self._flows.values() if flow.source == source]:
                self._end(flow, over=True)
            self._instances[source] = Instance(clock - uptime * 1000, uptime)
            self._ledger.batch.counters["netifyd_restarts"] += 1
        else:
            self._instances[source] = Instance(known.start, uptime)
        self._fresh.discard(source)
        self._expire()

    def _addresses(self, devices: object) -> None:
        """IP addresses of known devices, as netifyd lists them by MAC."""
        if not isinstance(devices, dict):
            return
        for mac, ips in devices.items():
            device = device_id(mac, None) if isinstance(mac, str) and len(mac) <= 64 else None
            if device in self._devices and device is not None and isinstance(ips, list):
                for ip in ips[:MAX_ADDRESSES]:
                    owner = device_id(None, ip) if isinstance(ip, str) and len(ip) <= 64 else None
                    if owner and owner not in ("0.0.0.0", "::"):
                        _remember(self._ledger.note(device).addresses, owner, 0)

    # -- what a flow is --------------------------------------------------------------------------

    def _describe(self, digest: str, fields: dict[str, Any], record: Record, source: str) -> None:
        told = describe(fields)
        if self._epoch is None and told.last_seen:
            self._epoch = told.last_seen
        flow = self._find(digest)
        if flow is not None and flow.digest != digest:
            if told.first_seen == flow.first_seen:
                self._ledger.batch.counters["records_repeated"] += 1
                return  # An earlier detection of a flow that has since been refined under a new digest.
            flow = None
        if flow is None or (flow.first_seen and told.first_seen and flow.first_seen != told.first_seen):
            flow = self._new_life(digest, flow, told, source)
        flow.touched = self._sequence
        flow.first_seen = told.first_seen or flow.first_seen
        flow.last_seen = told.last_seen or flow.last_seen
        self._learn(told, record)
        self._ledger.move(flow, told.key, told.peer)
        self._resolve(flow)
        self._ledger.save(flow)

    def _new_life(self, digest: str, old: Flow | None, told: Description, source: str) -> Flow:
        """A flow that begins, perhaps under the digest of one that is over (the same two ends again)."""
        flow = Flow(digest, source, self._ledger.generation)
        if old is not None:
            if not old.over and old.last_seen >= told.first_seen:
                # Counters of this new life may have come before its description: they count once.
                flow.total_bytes, flow.total_packets = old.total_bytes, old.total_packets
            self._forget(old)
        self._aliases.pop(digest, None)
        self._insert(flow, told.key, told.peer)
        return flow

    def _learn(self, told: Description, record: Record) -> None:
        """Keep what a description tells of devices and applications."""
        interface = clean(record.get("interface"))
        for device in self._know(told.key, told.peer):
            self._ledger.note(device).interface = interface
        for device, ip in told.addresses:
            _remember(self._ledger.note(device).addresses, ip, told.last_seen)
        for device, name in told.hints:
            self._ledger.note(device).hint = name
        if told.category:
            self._ledger.batch.categories[told.key.application] = told.category

    def _know(self, *keys: Key | None) -> list[str]:
        """Remember the devices of ``keys`` and return them."""
        devices = [key.device for key in keys if key is not None and key.device is not None]
        self._devices.update(devices)
        return devices

    # -- what a flow carried ---------------------------------------------------------------------

    def _counters(self, digest: str, fields: dict[str, Any], source: str, purge: bool) -> None:
        try:
            up, down = fields["local_bytes"], fields["other_bytes"]
            packets_up, packets_down = fields["local_packets"], fields["other_packets"]
        except KeyError as error:
            self.rejected[f"counters without {error.args[0]}"] += 1
            return
        total = fields.get("total_bytes", -1)
        total_packets = fields.get("total_packets", -1)
        for value in (up, down, packets_up, packets_down, total, total_packets):
            if type(value) is not int or not -1 <= value < _MAX_COUNT:
                self.rejected["counters out of range"] += 1
                return
        if min(up, down, packets_up, packets_down) < 0:
            self.rejected["counters out of range"] += 1
            return
        seen = timestamp(fields.get("last_seen_at"))
        if self._epoch is None and seen:
            self._epoch = seen
        flow = self._flows.get(digest) or self._find(digest)
        if flow is None:
            flow = Flow(digest, source, self._ledger.generation)
            self._insert(flow, UNDESCRIBED, None)
        if total < 0:
            total = max(flow.total_bytes, 0) + up + down
        if total_packets < 0:
            total_packets = max(flow.total_packets, 0) + packets_up + packets_down
        if self._account(flow, up, down, packets_up, packets_down, total, total_packets, seen):
            flow.touched = self._sequence
            if purge:
                self._end(flow, over=True)
            else:
                self._ledger.save(flow)

    def _account(
        self,
        flow: Flow,
        up: int,
        down: int,
        packets_up: int,
        packets_down: int,
        total: int,
        total_packets: int,
        seen: int,
    ) -> bool:
        """Count what ``total`` proves to be new; False if the record only repeats what is known."""
        if flow.ended and not self._revive(flow, up + down, total, seen):
            return False
        if flow.total_bytes < 0:
            # Its first counters: what it carried before them is known to be ours only if it began
            # on our watch (trap 6).
            flow.held_bytes = max(total - up - down, 0)
            flow.held_packets = max(total_packets - packets_up - packets_down, 0)
            flow.total_bytes, flow.total_packets = flow.held_bytes, flow.held_packets
        elif total < flow.total_bytes or (total == flow.total_bytes and up + down):
            if total == flow.total_bytes or seen <= flow.last_seen:
                self._ledger.batch.counters["records_repeated"] += 1
                return False
            self._renew(flow)
        grown, grown_packets = total - flow.total_bytes, max(total_packets - flow.total_packets, 0)
        flow.total_bytes, flow.total_packets = total, max(total_packets, flow.total_packets)
        flow.last_seen = seen or flow.last_seen
        missed, missed_packets = grown - up - down, grown_packets - packets_up - packets_down
        if missed < 0 or missed_packets < 0:
            # The interval claims more than the total grew by: the total is believed.
            self._ledger.batch.counters["records_contradictory"] += 1
            up, down = (up, down) if missed >= 0 else split(grown, up, down)
            if missed_packets < 0:
                packets_up, packets_down = split(grown_packets, packets_up, packets_down)
        if grown or grown_packets:
            self._ledger.count(flow, up, down, packets_up, packets_down)
        if missed > 0 or missed_packets > 0:
            self._ledger.count_missed(flow, max(missed, 0), max(missed_packets, 0))
        if flow.held_bytes or flow.held_packets:
            self._resolve(flow)
        return True

    def _resolve(self, flow: Flow) -> None:
        """Decide about the bytes that a flow carried before its first record, once it can be known."""
        if not (flow.held_bytes or flow.held_packets) or not self._restored:
            return
        described = flow.key.device is not None
        if self._chains and not described and not flow.ended:
            return  # It may turn out to continue a flow whose bytes are counted already.
        horizon = max(self._epoch or 0, self._evicted)
        instance = self._instances.get(flow.source)
        born = max(flow.first_seen, instance.start if instance is not None else 0)
        ours = born >= horizon > 0
        if not ours and not described and not flow.ended:
            return
        held, packets = flow.held_bytes, flow.held_packets
        flow.held_bytes = flow.held_packets = 0
        if ours:
            self._ledger.count_missed(flow, held, packets)
        else:
            self._ledger.batch.counters["bytes_before"] += held
            self._ledger.batch.counters["packets_before"] += packets

    # -- the table -------------------------------------------------------------------------------

    def _find(self, digest: str) -> Flow | None:
        """The flow of a digest: live, lately over, or known by a later digest."""
        flow = self._flows.get(digest) or self._ended.get(digest)
        for _ in range(_MAX_CHAIN):
            newer = self._aliases.get(digest) if flow is None else None
            if newer is None:
                break
            digest = newer
            flow = self._flows.get(digest) or self._ended.get(digest)
        return flow

    def _insert(self, flow: Flow, key: Key, peer: Key | None) -> None:
        flow.touched = self._sequence
        flow.key, flow.peer = key, peer
        self._flows[flow.digest] = flow
        self._ledger.count_flows(flow, 1)
        self._evict()

    def _end(self, flow: Flow, *, over: bool) -> None:
        """The flow leaves the table; it is remembered for a while, for records that come late."""
        flow.ended, flow.over = True, over
        self._resolve(flow)
        del self._flows[flow.digest]
        self._ledger.unsave(flow)
        self._ended[flow.digest] = flow
        if len(self._ended) > self._max_ended:
            self._ended.popitem(last=False)

    def _forget(self, flow: Flow) -> None:
        """The digest is needed for another flow."""
        if not flow.ended:
            self._end(flow, over=True)
        self._ended.pop(flow.digest, None)

    def _revive(self, flow: Flow, grown: int, total: int, seen: int) -> bool:
        """Counters of a flow that had left: a repetition (False), its continuation, or a new life."""
        if total == flow.total_bytes or (total < flow.total_bytes and seen <= flow.last_seen):
            self._ledger.batch.counters["records_repeated"] += 1
            return False
        self._ended.pop(flow.digest)
        self._flows[flow.digest] = flow
        flow.born = self._ledger.generation
        if total < flow.total_bytes or (flow.over and total - grown != flow.total_bytes):
            self._renew(flow)
        flow.ended = flow.over = False
        self._evict()
        return True

    def _renew(self, flow: Flow) -> None:
        """Begin a new life under the same digest; it began after the old one, so all of it is ours."""
        flow.forget_counts()
        flow.first_seen = 0
        flow.total_bytes = flow.total_packets = 0
        self._ledger.count_flows(flow, 1)

    def _rename(self, digest: str, previous: object) -> None:
        """A flow goes on under a new digest; ``previous`` are those that it had (v5)."""
        self._chains = True
        for name in previous[:_MAX_CHAIN] if isinstance(previous, list) else ():
            if not _is_digest(name) or name == digest:
                continue
            if self._aliases.get(name) != digest:
                self._aliases[name] = digest
                self._aliases.pop(digest, None)
                if len(self._aliases) > self._max_ended:
                    self._aliases.popitem(last=False)
            old = self._flows.get(name) or self._ended.get(name)
            current = self._flows.get(digest) or self._ended.get(digest)
            if old is None or (current is not None and 0 < old.first_seen != current.first_seen > 0):
                continue
            if current is not None and current.ended and not old.ended:
                del self._ended[digest]  # an earlier life of the same two ends
                current = None
            if not old.ended:
                self._ledger.unsave(old)
            table = self._ended if old.ended else self._flows
            del table[name]
            if current is not None:
                self._merge(old, current)
            else:
                old.digest, old.born = digest, self._ledger.generation
                table[digest] = old
                self._ledger.save(old)

    def _merge(self, old: Flow, new: Flow) -> None:
        """Two entries have turned out to be one flow: ``old`` is what was known of it before."""
        if new.key.device is None:
            self._ledger.move(new, old.key, old.peer)
        else:
            self._ledger.move(old, new.key, new.peer)
        self._ledger.count_flows(new, -1)
        missed = packets = 0
        if new.total_bytes < 0:
            new.total_bytes, new.total_packets = old.total_bytes, old.total_packets
        elif old.total_bytes >= 0:
            missed = max(new.held_bytes - old.total_bytes, 0)
            packets = max(new.held_packets - old.total_packets, 0)
        new.absorb(old, self._ledger.batch.bucket)
        if missed or packets:
            self._ledger.count_missed(new, missed, packets)
        self._resolve(new)
        self._ledger.save(new)

    def _evict(self) -> None:
        """Past the bound, let the least recently seen flows go, a part of the table at a time."""
        excess = len(self._flows) - self.max_flows
        if excess <= 0:
            return
        count = excess + self.max_flows // 64
        for flow in heapq.nsmallest(count, self._flows.values(), key=lambda flow: flow.touched):
            self._let_go(flow, "flows_evicted")

    def _let_go(self, flow: Flow, counter: str) -> None:
        """Take a flow out of the table that netifyd has not ended, and count it as ``counter``."""
        self._evicted = max(self._evicted, flow.last_seen + 1)
        self._end(flow, over=False)
        self._ledger.batch.counters[counter] += 1

    def _expire(self) -> None:
        """Let go of flows whose end we missed. By arrival, not by clock: clocks jump (trap 9)."""
        self._reports.append(self._sequence)
        if len(self._reports) < _IDLE_REPORTS:
            return
        idle_since = self._reports.popleft()
        for flow in [flow for flow in self._flows.values() if flow.touched < idle_since]:
            self._let_go(flow, "flows_expired")


def _is_digest(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= 128 and value.isascii()


def _remember(addresses: dict[str, int], ip: str, seen: int) -> None:
    """Note that a device had ``ip`` at ``seen`` (ms), most recent last, at most MAX_ADDRESSES of them."""
    seen = max(addresses.pop(ip, 0), seen)
    addresses[ip] = seen
    if len(addresses) > MAX_ADDRESSES:
        del addresses[next(iter(addresses))]
