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
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from itertools import chain
from typing import Any

from netify_agent.accounting.batch import MAX_ADDRESSES, MAX_ENDED, Batch, FlowState, SourceState
from netify_agent.accounting.batch_builder import BatchBuilder
from netify_agent.accounting.capture_points import EXTERNAL, LEFT_OUT, CapturePoint, CaptureRules
from netify_agent.accounting.flow import Flow, split
from netify_agent.accounting.flow_id import digest_of
from netify_agent.accounting.flow_table import FlowTable, is_another_flow, is_digest
from netify_agent.netifyd.agent_status import AgentStatus, read_agent_status, read_interfaces, read_neighbours
from netify_agent.netifyd.flow_counters import BadCounters, FlowCounters, read_counters
from netify_agent.netifyd.flow_record import UNDESCRIBED, Description, Key, describe, device_id, short_text

#: Records that describe a flow. netifyd v5 sends the first sight of it, refinements and the result; the last
#: by arrival counts. Their own counters do not (whether an interval includes them is not documented).
_DESCRIPTIONS = frozenset(("flow", "flow_dpi_update", "flow_dpi_complete"))
_COUNTERS = frozenset(("flow_stats", "flow_purge"))
_OF_FLOWS = _DESCRIPTIONS | _COUNTERS
_KNOWN_TYPES = _OF_FLOWS | {
    "agent_hello",
    "agent_status",
    "definitions",
    "endpoints",
    "global_stats",
    "interface_stats",
    "interfaces",
}

Record = Mapping[str, Any]


class _Meaning(Enum):
    """What the counters of a record say about the flow that has its digest."""

    GOES_ON = auto()
    RESUMES = auto()  # it had ended, and its total goes on
    ANOTHER_FLOW = auto()  # a later one of the same two ends
    REPETITION = auto()


class Accountant:
    """Accounts for records of all sources.

    :ivar records: records taken, by type; all unknown types as ``unknown``.
    :ivar rejected: records that could not be used, by what was wrong with them.
    """

    def __init__(
        self,
        max_flows: int,
        bucket: int = 0,
        rules: CaptureRules | None = None,
        max_shown: int = MAX_ENDED,
    ) -> None:
        """Start with empty flow tables.

        :param max_flows: live flows kept over all sources; beyond it the least recently seen are evicted.
        :param bucket: start of the current history bucket, seconds since the epoch.
        :param rules: which of netifyd's interfaces count.
        :param max_shown: ended flows in a batch, to be shown; beyond it the earliest are dropped.
        """
        self.records: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self._max_flows = max_flows
        self._rules = rules or CaptureRules()
        self._builder = BatchBuilder(bucket, max_shown)
        self._tables: dict[str, FlowTable] = {}
        self._stored_sources: Mapping[str, SourceState] = {}
        self._restored = False
        self._sequence = 0  # arrival number of the latest record of a flow
        self._devices: set[str] = set()
        self._new_connections: set[str] = set()  # sources whose first agent_status is still to come
        # Flows that ended before the restore, because their netifyd was restarted: the stored ones are those.
        self._ended_before_restore: set[str] = set()

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
        return sum(len(table.live) for table in self._tables.values())

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
        """End the flows of sources that are not among ``sources`` (URLs): nobody listens to them any more."""
        for source in self._tables.keys() - set(sources):
            table = self._tables[source]
            for flow in list(table.live.values()):
                table.end(flow, purged=False)

    def connected(self, source: str) -> None:
        """A connection to ``source`` (an endpoint's URL) begins: its netifyd may be another process."""
        self._new_connections.add(source)

    def feed(self, records: Iterable[Record], source: str) -> None:
        """Account for records in the order of their arrival.

        :param records: objects with a ``type``; whatever else is in them is checked here.
        :param source: URL of the endpoint they came from.
        """
        table, taken, builder = self._table(source), self.records, self._builder
        for record in records:
            kind = record["type"]
            taken[kind if kind in _KNOWN_TYPES else "unknown"] += 1
            if kind in _OF_FLOWS:
                fields = record.get("flow")
                digest = fields.get("digest") if type(fields) is dict else None
                if type(fields) is not dict or not is_digest(digest):
                    self.rejected[f"{kind} without digest"] += 1
                    continue
                self._sequence += 1
                table.sequence = self._sequence
                if "digest_prev" in fields:
                    table.rename(digest, fields["digest_prev"])
                flow = table.live.get(digest) or table.find(digest)
                if flow is not None:
                    builder.change(flow)
                if kind in _COUNTERS:
                    self._take_counters(table, digest, flow, fields, record)
                else:
                    self._take_description(table, digest, flow, fields, record)
            elif kind == "agent_status":
                self._take_status(table, read_agent_status(record))
                self._take_neighbours(record)
            elif kind == "interfaces":
                self._take_interfaces(table, record)
            elif kind == "endpoints":
                self._take_neighbours(record)

    def close_batch(self, bucket: int) -> None:
        """End the batch of pending changes and begin another one; :meth:`finish_batch` then hands it over.

        :param bucket: start of the history bucket that begins now, seconds since the epoch.
        """
        sources = {**self._stored_sources, **{name: t.baseline.state() for name, t in self._tables.items()}}
        self._builder.close(bucket, sources)

    def finish_batch(self, most: int | None = None) -> Batch | None:
        """Write the states of flows, as they were at :meth:`close_batch`, into the batch that was closed.

        :param most: how many at once, so that it takes no longer than the listener can wait; None: all.
        :returns: the batch, stamped with the bucket in which it began, when it is complete; None before.
        """
        return self._builder.finish(most)

    def restore(self, flows: Mapping[str, FlowState], sources: Mapping[str, SourceState]) -> None:
        """Take back what an earlier run of the agent stored. What has arrived meanwhile is kept.

        Call it once, with nothing in it for a new store. Until then nothing is decided about the bytes that
        flows carried before their first record: they may have been counted already.

        :param flows: flow id to state. Ids without a source (schema 2 of the store) get one.
        :param sources: state of each source, by URL.
        """
        self._restored = True
        self._stored_sources = dict(sources)
        arrived = {name: table.flows() for name, table in self._tables.items()}
        restarted = {
            name for name, table in self._tables.items() if table.baseline.restore(sources.get(name))
        }
        renamed = False
        for name, state in flows.items():
            table = self._table(state.source)
            flow = Flow.restored(digest_of(name), table, state)
            if flow.id != name:
                self._builder.rename_stored([name], flow.id)
                renamed = True
            has_ended = state.source in restarted and flow.id not in self._ended_before_restore
            self._restore_flow(table, flow, has_ended)
        self._ended_before_restore.clear()
        for name, waiting in arrived.items():
            for flow in waiting:
                self._tables[name].resolve_unclaimed(flow)
                if flow.ended and flow.digest in self._tables[name].ended:
                    self._builder.show_ended(flow)
        if renamed:
            self.save_all()
        self._evict()

    def _restore_flow(self, table: FlowTable, stored: Flow, has_ended: bool) -> None:
        """Take back one flow; ``has_ended``: its netifyd was restarted since."""
        builder = self._builder
        current = table.find(stored.digest)
        if current is None and not has_ended:
            table.live[stored.digest] = stored
            if not stored.left_out:
                self._devices.update(key.device for key in (stored.key, stored.peer) if key and key.device)
            return
        if current is not None and not current.ended and current.digest == stored.digest:
            current.born = stored.born
        else:
            builder.remove_stored(stored.id)
        if current is None or has_ended or is_another_flow(stored.first_seen, current.first_seen):
            stored.ended = True
            table.resolve_unclaimed(stored)
            if current is None or current.digest != stored.digest:
                builder.show_ended(stored)
        else:
            table.merge(stored, current)

    def forget_counts(self) -> None:
        """Redis lost its rows: later corrections must not take from rows that are not there.

        Live flows are counted as new flows and written again.
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
            if self._restored:
                table.baseline.restore(self._stored_sources.get(source))
        return table

    def _evict(self) -> None:
        """Beyond the bound, evict the least recently seen flows, a part of the table at a time."""
        excess = self.live_flows - self._max_flows
        if excess <= 0:
            return
        count = excess + self._max_flows // 64
        live = chain.from_iterable(table.live.values() for table in self._tables.values())
        for flow in heapq.nsmallest(count, live, key=lambda flow: flow.sequence):
            flow.table.evict(flow, "flows_evicted")

    def _take_status(self, table: FlowTable, status: AgentStatus) -> None:
        is_new = table.source in self._new_connections
        if table.baseline.report(status, new_connection=is_new):
            # The flows of the process that is gone have ended without a word.
            for flow in list(table.live.values()):
                table.end(flow, purged=True)
                if not self._restored:
                    self._ended_before_restore.add(flow.id)
            table.capture_points.reset()
            self._builder.counters["netifyd_restarts"] += 1
        if status.clock_ms:
            self._new_connections.discard(table.source)
            table.expire()
        self._learn_interfaces(table, status.interfaces)

    def _take_interfaces(self, table: FlowTable, record: Record) -> None:
        self._learn_interfaces(table, read_interfaces(record))

    def _learn_interfaces(self, table: FlowTable, interfaces: Mapping[str, Any]) -> None:
        before = table.capture_points.watches_internal
        table.capture_points.learn(interfaces)
        if table.capture_points.watches_internal and not before:
            self._leave_out_external(table)

    def _leave_out_external(self, table: FlowTable) -> None:
        """An internal interface is watched too: what external ones saw so far is counted twice."""
        for flow in [flow for flow in table.live.values() if flow.capture == EXTERNAL]:
            self._builder.change(flow)
            self._builder.move(flow, flow.key, flow.peer, LEFT_OUT)

    def _place(self, table: FlowTable, record: Record, fields: dict[str, Any] | None) -> int:
        """Decide whether a flow counts, by where it was captured."""
        points = table.capture_points
        before = points.watches_internal
        capture = points.place(record.get("interface"), record.get("internal"), fields)
        if points.watches_internal and not before:
            self._leave_out_external(table)
        return capture

    def _take_neighbours(self, record: Record) -> None:
        """Learn IP addresses of known devices, as netifyd lists them by MAC."""
        for mac, ips in read_neighbours(record).items():
            device = device_id(short_text(mac), None)
            if device is None or device not in self._devices:
                continue
            for ip in ips[:MAX_ADDRESSES]:
                address = device_id(None, short_text(ip))
                if address is not None:
                    _remember(self._builder.note(device).addresses, address, 0)

    # -- what a flow is --------------------------------------------------------------------------------

    def _take_description(
        self, table: FlowTable, digest: str, flow: Flow | None, fields: dict[str, Any], record: Record
    ) -> None:
        description = describe(fields, record.get("interface"))
        table.baseline.hear(description.last_seen)
        if flow is not None and flow.digest != digest and _is_earlier(flow, description):
            self._builder.counters["records_repeated"] += 1
            return  # an earlier detection of a flow that has been refined under a new digest since
        capture = self._place(table, record, fields)
        if flow is None or _is_later_flow(flow, description):
            totals = -1, -1
            if (
                flow is not None
                and flow.digest == digest
                and flow.last_seen >= description.first_seen
                and not flow.purged
            ):
                # Counters of the new flow may have come before its description: they count once.
                totals = flow.total_bytes, flow.total_packets
            flow = self._begin(table, digest, flow, description.key, description.peer, capture)
            flow.total_bytes, flow.total_packets = totals
        flow.sequence = table.sequence
        flow.first_seen = description.first_seen or flow.first_seen
        flow.last_seen = max(description.last_seen, flow.last_seen)  # a repeated one is of the past
        if capture != LEFT_OUT:
            self._learn(description)
        self._builder.describe(flow, description, capture)
        table.resolve_unclaimed(flow)
        if flow.ended:
            self._builder.show_ended(flow)

    def _begin(
        self, table: FlowTable, digest: str, old: Flow | None, key: Key, peer: Key | None, capture: int
    ) -> Flow:
        """A flow begins, perhaps under a digest of ``old``, which has ended then."""
        if old is not None:
            if old.digest == digest:
                table.forget(old)
            elif not old.ended:
                table.end(old, purged=True)
        flow = table.begin(digest, key, peer, capture)
        self._evict()
        return flow

    def _learn(self, description: Description) -> None:
        """Keep what a description says of devices and applications."""
        for key in (description.key, description.peer):
            if key is not None and key.device is not None:
                self._devices.add(key.device)
                self._builder.note(key.device).interface = description.details.interface
        for device, ip in description.addresses:
            _remember(self._builder.note(device).addresses, ip, description.last_seen)
        for device, name in description.hints:
            self._builder.note(device).hint = name
        if description.category:
            self._builder.categorize(description.key.application, description.category)

    # -- what a flow carried -----------------------------------------------------------------------------

    def _take_counters(
        self, table: FlowTable, digest: str, flow: Flow | None, fields: dict[str, Any], record: Record
    ) -> None:
        try:
            counters = read_counters(fields)
        except BadCounters as error:
            self.rejected[str(error)] += 1
            return
        up, down, packets_up, packets_down, total, total_packets, seen = counters
        purge = record["type"] == "flow_purge"
        table.baseline.hear(seen)
        if flow is None:
            flow = self._begin(table, digest, None, UNDESCRIBED, None, self._place(table, record, None))
        if total < 0:  # the record has none: what was known before and the interval
            total = max(flow.total_bytes, 0) + up + down
        if total_packets < 0:
            total_packets = max(flow.total_packets, 0) + packets_up + packets_down
        if flow.ended or total <= flow.total_bytes:
            meaning = _meaning(flow, total, up + down, seen)
            if meaning is _Meaning.REPETITION:
                self._builder.counters["records_repeated"] += 1
                if purge and flow.ended:
                    flow.purged = True  # the end of a flow that we had evicted
                return
            if meaning is _Meaning.RESUMES:
                table.resume(flow)
                self._evict()
            elif meaning is _Meaning.ANOTHER_FLOW:
                flow = self._begin_after(table, flow, digest)
        flow.sequence = table.sequence
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
            self._count_by_total(flow, counters._replace(total=total, total_packets=total_packets))
        table.resolve_unclaimed(flow)
        if purge:
            table.end(flow, purged=True)

    def _begin_after(self, table: FlowTable, old: Flow, digest: str) -> Flow:
        """Another flow of the two ends of ``old`` begins. It began after that one, so all of it is ours."""
        risk = old.risk
        flow = self._begin(table, digest, old, old.key, old.peer, old.capture)
        flow.risk = risk
        flow.total_bytes = flow.total_packets = 0
        return flow

    def _count_by_total(self, flow: Flow, counters: FlowCounters) -> None:
        """Count what the totals prove to be new, where that differs from what the interval says."""
        up, down, packets_up, packets_down, total, total_packets, _ = counters
        if flow.total_bytes < 0:
            # Its first counters: what it carried before them is ours only if it began after the baseline.
            flow.unclaimed_bytes = max(total - up - down, 0)
            flow.unclaimed_packets = max(total_packets - packets_up - packets_down, 0)
            flow.total_bytes, flow.total_packets = flow.unclaimed_bytes, flow.unclaimed_packets
        grown = total - flow.total_bytes
        if grown and _packets_were_reset(flow.total_packets, counters):
            flow.total_packets = total_packets - packets_up - packets_down
        grown_packets = max(total_packets - flow.total_packets, 0)
        flow.total_bytes, flow.total_packets = total, max(total_packets, flow.total_packets)
        missed, missed_packets = grown - up - down, grown_packets - packets_up - packets_down
        if missed < 0 or missed_packets < 0:
            # The interval claims more than the total grew by: the total is believed.
            self._builder.counters["records_contradictory"] += 1
            if missed < 0:
                up, down = split(grown, up, down)
            if missed_packets < 0:
                packets_up, packets_down = split(grown_packets, packets_up, packets_down)
        if grown or grown_packets:
            self._builder.count(flow, up, down, packets_up, packets_down)
        if missed > 0 or missed_packets > 0:
            self._builder.count_missed(flow, max(missed, 0), max(missed_packets, 0))


def _meaning(flow: Flow, total: int, interval: int, seen: int) -> _Meaning:
    """Decide what a record says whose total did not grow, or whose flow has ended.

    ===========  ====================  ==================================================  ============
    the flow     the total             and                                                 the record
    ===========  ====================  ==================================================  ============
    is live      is the same           the interval is 0                                   GOES_ON
    any          shrank                it was seen later than the flow ever was            ANOTHER_FLOW
    any          is the same           that, and all of the total is in this interval      ANOTHER_FLOW
    any          shrank or is the same otherwise                                           REPETITION
    was evicted  grew                                                                      RESUMES
    was purged   grew                  it is the known total and this interval             RESUMES
    was purged   grew                  otherwise                                           ANOTHER_FLOW
    ===========  ====================  ==================================================  ============

    :param total: bytes of the flow so far; :param interval: bytes of the interval; :param seen: its end, in
        netifyd's milliseconds.
    """
    known = flow.total_bytes
    if total > known:
        goes_on = not flow.purged or 0 < known == total - interval
        return _Meaning.RESUMES if goes_on else _Meaning.ANOTHER_FLOW
    if total == known and not interval and not flow.ended:
        return _Meaning.GOES_ON
    is_later = seen > flow.last_seen and (total < known or total == interval > 0)
    return _Meaning.ANOTHER_FLOW if is_later else _Meaning.REPETITION


def _packets_were_reset(known: int, counters: FlowCounters) -> bool:
    """Whether netifyd began to count the packets of a flow anew, although its bytes go on.

    4.4.5 does so when it starts the detection of a flow again, as for a second DNS query over the same two
    ends: the total is less than before, or all of it is in this interval.
    """
    interval = counters.packets_up + counters.packets_down
    return counters.total_packets < known or 0 < interval == counters.total_packets < known + interval


def _is_earlier(flow: Flow, description: Description) -> bool:
    """Whether a description under an earlier digest of ``flow`` is of that flow: its own is better then."""
    return flow.first_seen > 0 and description.first_seen in (0, flow.first_seen)


def _is_later_flow(flow: Flow, description: Description) -> bool:
    """Whether a description is of a later flow of the same two ends than ``flow``."""
    return is_another_flow(flow.first_seen, description.first_seen) or (
        flow.purged and description.first_seen > flow.last_seen
    )


def _remember(addresses: dict[str, int], ip: str, seen: int) -> None:
    """Note that a device had ``ip`` at ``seen`` (ms): most recent last, at most MAX_ADDRESSES of them."""
    seen = max(addresses.pop(ip, 0), seen)
    addresses[ip] = seen
    if len(addresses) > MAX_ADDRESSES:
        del addresses[next(iter(addresses))]
