"""Records to changes: the rules that count every byte once, and for the right device and application.

Records go in, a :class:`~netify_agent.accounting.batch.Batch` comes out. docs/accounting.md lists the rules
with the facts about netifyd behind each. Not thread-safe: the caller locks.

The basic rule: of a flow we count exactly what its cumulative ``total_bytes`` grew by since its last record;
``local_*`` and ``other_*`` only give the direction. So a repeated record adds nothing, and nothing that a
flow's next record proves is lost.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain

from netify_agent.accounting.batch import MAX_ENDED, MAX_IPV4, MAX_IPV6, Batch, FlowState, SourceState
from netify_agent.accounting.batch_builder import BatchBuilder
from netify_agent.accounting.capture_points import CapturePoint, CaptureRules
from netify_agent.accounting.device_identity import DeviceIdentity
from netify_agent.accounting.device_moves import DeviceMoves
from netify_agent.accounting.device_table import DEFAULT_MAX, DeviceTable
from netify_agent.accounting.flow import Flow
from netify_agent.accounting.flow_accounting import FlowAccounting, Record
from netify_agent.accounting.flow_id import digest_of
from netify_agent.accounting.flow_table import FlowTable, is_another_flow, is_digest
from netify_agent.netifyd.agent_status import AgentStatus, read_agent_status, read_interfaces, read_neighbours
from netify_agent.netifyd.records import DESCRIPTION_TYPES, NETIFYD_TYPES

_COUNTERS = frozenset(("flow_stats", "flow_purge"))
_OF_FLOWS = DESCRIPTION_TYPES | _COUNTERS


class Accountant:
    """Accounts for records of all sources.

    :ivar records: records taken, by type; all unknown types as ``unknown``.
    :ivar devices: devices that have a row of their own.
    :ivar identity: names the devices of flows.
    """

    def __init__(
        self,
        max_flows: int,
        bucket: int = 0,
        rules: CaptureRules | None = None,
        max_shown: int = MAX_ENDED,
        max_devices: int = DEFAULT_MAX,
    ) -> None:
        """Start with empty flow tables.

        :param max_flows: live flows kept over all sources; beyond it the least recently seen are evicted.
        :param bucket: start of the current history bucket, seconds since the epoch.
        :param rules: which of netifyd's interfaces count.
        :param max_shown: ended flows in a batch, to be shown; beyond it the earliest are dropped.
        :param max_devices: devices with a row of their own; beyond it, unknown ones share one row.
        """
        self.records: Counter[str] = Counter()
        self.devices = DeviceTable(max_devices)
        self.identity = DeviceIdentity(self.devices)
        self._max_flows = max_flows
        self._rules = rules or CaptureRules()
        self._builder = BatchBuilder(bucket, max_shown)
        self._tables: dict[str, FlowTable] = {}
        self._stored_sources: Mapping[str, SourceState] = {}
        self._sources: frozenset[str] | None = None  # those that are listened to; None: any
        self._restored = False
        self._sequence = 0  # arrival number of the latest record of a flow
        self._flows = FlowAccounting(self._builder, self.identity, self._evict)
        self._moves = DeviceMoves(self._tables, self._builder, self.devices, self.identity)
        self._new_connections: set[str] = set()  # sources whose first agent_status is still to come
        # Flows that ended before the restore, because their netifyd was restarted: the stored ones are those.
        self._ended_before_restore: set[str] = set()

    @property
    def rejected(self) -> Counter[str]:
        """Records that could not be used, by what was wrong with them."""
        return self._flows.rejected

    # -- what the listener, the flusher and the API call ---------------------------------------------

    @property
    def max_flows(self) -> int:
        """Live flows kept over all sources; may be changed at any time."""
        return self._max_flows

    @max_flows.setter
    def max_flows(self, value: int) -> None:
        self._max_flows = value
        for table in self._tables.values():
            table.max_ended = self._max_ended

    @property
    def _max_ended(self) -> int:
        return max(self._max_flows // 10, 100)

    @property
    def live_flows(self) -> int:
        """Live flows of all sources."""
        return sum(len(table.live) for table in list(self._tables.values()))

    @property
    def pending_changes(self) -> int:
        """Rows and flow states that changed since the last batch."""
        return self._builder.size

    def capture_points(self) -> dict[str, list[CapturePoint]]:
        """Return the interfaces that each source captures at, by the source's URL."""
        return {source: table.capture_points.points() for source, table in list(self._tables.items())}

    def set_capture_rules(self, rules: CaptureRules) -> None:
        """Change which interfaces count. The rules hold for flows that are described from now on."""
        self._rules = rules
        for table in self._tables.values():
            table.capture_points.rules = rules

    def keep_sources(self, sources: Iterable[str]) -> None:
        """Listen to ``sources`` (URLs) only: flows of all others end, also restored ones."""
        self._sources = frozenset(sources)
        self._end_other_sources()

    def _end_other_sources(self) -> None:
        for source, table in self._tables.items():
            if self._sources is not None and source not in self._sources:
                for flow in list(table.live.values()):
                    table.evict(flow, "flows_evicted")  # its bytes may be reported again one day

    def connected(self, source: str) -> None:
        """Note a new connection to ``source`` (an endpoint's URL). netifyd may have been restarted."""
        self._new_connections.add(source)

    def feed(self, records: Iterable[Record], source: str) -> None:
        """Account for records in the order of their arrival.

        :param records: objects with a ``type``; whatever else is in them is checked here.
        :param source: URL of the endpoint they came from.
        """
        table, taken = self._table(source), self.records
        live, tag = table.live, table.tag
        change, describe, count = self._builder.change, self._flows.describe, self._flows.count
        for record in records:
            kind = record["type"]
            taken[kind if kind in NETIFYD_TYPES else "unknown"] += 1
            if kind in _OF_FLOWS:
                fields = record.get("flow")
                digest = fields.get("digest") if type(fields) is dict else None
                name = digest + tag if type(digest) is str else ""
                flow = live.get(name)
                if flow is None and not is_digest(digest):
                    self.rejected[f"{kind} without digest"] += 1
                    continue
                assert type(fields) is dict
                self._sequence += 1
                table.sequence = self._sequence
                if "digest_prev" in fields:
                    table.rename(name, fields["digest_prev"])
                    flow = live.get(name)
                if flow is None:
                    flow = table.find(name)
                if flow is not None:
                    change(flow)
                if kind in _COUNTERS:
                    count(table, name, flow, fields, record)
                else:
                    describe(table, name, flow, fields, record)
            elif kind == "agent_status":
                self._take_status(table, read_agent_status(record))
                table.capture_points.learn(read_interfaces(record))
                self._take_neighbours(table, record)
            elif kind == "interfaces":
                table.capture_points.learn(read_interfaces(record))
            elif kind == "endpoints":
                self._take_neighbours(table, record)
        self._moves.follow_macs()

    def close_batch(self, bucket: int) -> None:
        """End the batch of pending changes and begin another one; :meth:`finish_batch` then hands it over.

        :param bucket: start of the history bucket that begins now, seconds since the epoch.
        """
        sources = {**self._stored_sources, **{name: t.baseline.state() for name, t in self._tables.items()}}
        self._builder.close(bucket, sources)

    def leave_behind(self, devices: Collection[str]) -> None:
        """Forget what flows of ``devices`` counted.

        The batch that :meth:`close_batch` ends next drops their rows. The flows stay live. What they count
        afterwards makes new rows.
        """
        if not devices:
            return
        for flow in self._flows_of(devices):
            self._builder.change(flow)  # a later run of the agent must not move it either
            flow.forget_counts()

    def finish_batch(self, most: int | None = None) -> Batch | None:
        """Write the states of flows, as they were at :meth:`close_batch`, into the batch that was closed.

        :param most: how many at once, so that it takes no longer than the listener can wait; None: all.
        :returns: the batch, stamped with the bucket in which it began, when it is complete; None before.
        """
        return self._builder.finish(most)

    def restore(
        self,
        flows: Mapping[str, FlowState],
        sources: Mapping[str, SourceState],
        devices: Iterable[str] = (),
    ) -> None:
        """Take back what an earlier run of the agent stored. What has arrived meanwhile is kept.

        Call it once, with nothing in it for a new store. Until then nothing is decided about the bytes that
        flows carried before their first record: they may have been counted already.

        :param flows: flow id to state. Ids without a source (schema 2 of the store) get one.
        :param sources: state of each source, by URL.
        :param devices: devices that have a row in the store.
        """
        self._restored = True
        self._moves.restore(set(devices))
        self._stored_sources = dict(sources)
        arrived = {name: table.flows() for name, table in self._tables.items()}
        restarted = {
            name for name, table in self._tables.items() if table.baseline.restore(sources.get(name))
        }
        renamed = False
        for name, state in flows.items():
            table = self._table(state.source)
            flow = Flow.restored(digest_of(name) + table.tag, table, state)
            if flow.id != name:
                self._builder.rename_stored([name], flow.id)
                renamed = True
            has_ended = state.source in restarted and flow.id not in self._ended_before_restore
            self._restore_flow(table, flow, has_ended)
        self._ended_before_restore.clear()
        for table in self._tables.values():
            table.baseline.go_on()
        for name, waiting in arrived.items():
            for flow in waiting:
                self._tables[name].resolve_unclaimed(flow)
                if flow.ended and flow.id in self._tables[name].ended:
                    self._builder.show_ended(flow)
            self._flows.leave_out_external(self._tables[name])
        self._moves.mark_local()
        self._end_other_sources()
        if renamed:
            self.save_all()
        self._evict()

    def _restore_flow(self, table: FlowTable, stored: Flow, has_ended: bool) -> None:
        """Take back one flow; ``has_ended``: its netifyd was restarted since."""
        builder = self._builder
        current = table.find(stored.id)
        if current is None and not has_ended:
            table.live[stored.id] = stored
            if not stored.left_out:
                self.devices.add(key.device for key in (stored.key, stored.peer) if key)
            return
        if current is not None and not current.ended and current.id == stored.id:
            current.born = stored.born
        else:
            builder.remove_stored(stored.id)
        is_another = current is not None and (
            is_another_flow(stored.first_seen, current.first_seen)
            or (0 <= current.total_bytes < stored.total_bytes and current.last_seen > stored.last_seen)
        )
        if current is None or has_ended or is_another:
            stored.ended = True
            table.resolve_unclaimed(stored)
            if current is None or current.id != stored.id:
                builder.show_ended(stored)
            if is_another and current is not None and not has_ended:
                table.claim_unclaimed(current)  # it began after the stored one, so all of it is ours
        else:
            table.merge(stored, current)

    def flushed(
        self, changed: Iterable[str], forgotten: Iterable[str], stored: Iterable[str] | None = None
    ) -> None:
        """Update the device table after an applied flush.

        :param changed: devices that it changed.
        :param forgotten: devices whose rows it dropped.
        :param stored: all devices of a store that lost some of them; those of live flows get a row again.
        """
        pending = self._builder.changed_devices()
        if stored is not None:
            known = {*stored, *pending}
            for table in self._tables.values():
                for flow in table.live.values():
                    known.update(row.device for row in (flow.key, flow.peer) if row and row.device)
            self.devices.remove([device for device in self.devices if device not in known])
            self.devices.add(stored)
        self.devices.add(changed)
        dropped = {device for device in forgotten if device not in pending}
        if dropped:
            self.devices.remove(dropped)
            self._forget_counts_of(dropped)

    def _forget_counts_of(self, devices: Collection[str]) -> None:
        """Forget what flows of ``devices`` counted, because these rows were dropped."""
        for flow in self._flows_of(devices):
            self._builder.change_uncounted(flow)

    def _flows_of(self, devices: Collection[str]) -> Iterator[Flow]:
        for table in self._tables.values():
            for flow in table.flows():
                if flow.key.device in devices or (flow.peer is not None and flow.peer.device in devices):
                    yield flow

    def forget_counts(self) -> None:
        """Forget what all flows counted, because Redis lost its rows.

        Later corrections must not take from rows that are missing. Live flows are counted as new flows and
        written again.
        """
        self._builder.forget_corrections()
        for table in self._tables.values():
            for flow in table.flows():
                self._builder.change_uncounted(flow)
            for flow in table.live.values():
                self._builder.count_flows(flow, 1)
        self.save_all()

    def save_all(self) -> None:
        """Put every live flow into the next batch, for a store that has lost them or names them otherwise."""
        self._builder.save_all(chain.from_iterable(table.live.values() for table in self._tables.values()))

    # -- sources -----------------------------------------------------------------------------------------

    def _table(self, source: str) -> FlowTable:
        table = self._tables.get(source)
        if table is None:
            table = self._tables[source] = FlowTable(source, self._builder, self._rules, self._max_ended)
            table.capture_points.on_internal = partial(self._flows.leave_out_external, table)
            if self._restored:
                table.baseline.restore(self._stored_sources.get(source))
                table.baseline.go_on()
        return table

    def _evict(self) -> None:
        """Beyond the bound, evict the least recently seen flows, a part of the table at a time."""
        if len(self._tables) == 1:
            excess = len(next(iter(self._tables.values())).live) - self._max_flows
        else:
            excess = self.live_flows - self._max_flows
        if excess <= 0:
            return
        count = excess + self._max_flows // 64
        live = chain.from_iterable(table.live.values() for table in self._tables.values())
        for flow in heapq.nsmallest(count, live, key=lambda flow: flow.sequence):
            flow.table.evict(flow, "flows_evicted")

    def _take_status(self, table: FlowTable, status: AgentStatus) -> None:
        is_new = table.source in self._new_connections
        is_restart = table.baseline.is_restart(status, new_connection=is_new)
        if is_restart:
            # The flows of the process before have ended without a record of their end.
            for flow in list(table.live.values()):
                table.end(flow, purged=True)
                if not self._restored:
                    self._ended_before_restore.add(flow.id)
            for flow in table.ended.values():
                flow.purged = True  # also those that we had evicted: further counters are of the new process
            table.capture_points.reset()
            self._builder.counters["netifyd_restarts"] += 1
        table.baseline.report(status, is_restart=is_restart)
        if status.clock_ms:
            self._new_connections.discard(table.source)
            table.expire()

    def _take_neighbours(self, table: FlowTable, record: Record) -> None:
        """Learn IP addresses of devices, as netifyd lists them by MAC."""
        neighbours = read_neighbours(record)
        self.identity.learn_list(table.source, neighbours)
        for device, addresses in neighbours.items():
            if device in self.devices.known:
                for address in addresses[: MAX_IPV4 + MAX_IPV6]:
                    self._builder.note(device).remember(address, 0)
