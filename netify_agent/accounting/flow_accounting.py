"""The rules for records of flows: what a flow is, and what it carried.

docs/accounting.md lists the rules with the facts about netifyd behind each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any

from netify_agent.accounting.batch_builder import BatchBuilder
from netify_agent.accounting.capture_points import EXTERNAL, LEFT_OUT
from netify_agent.accounting.device_identity import DeviceIdentity
from netify_agent.accounting.flow import Flow, split
from netify_agent.accounting.flow_table import FlowTable, is_another_flow
from netify_agent.netifyd.flow_counters import BadCounters, FlowCounters, read_counters, read_totals
from netify_agent.netifyd.flow_record import OTHER_DEVICE, UNDESCRIBED, Description, Key, describe, row_key

Record = Mapping[str, Any]


class _Meaning(Enum):
    """What the counters of a record say about the flow that has its digest."""

    GOES_ON = auto()
    RESUMES = auto()  # it had ended, and its total goes on
    ANOTHER_FLOW = auto()  # a later one of the same two ends
    REPETITION = auto()


class FlowAccounting:
    """Applies records of flows to a flow table and to the batch.

    :ivar rejected: records that could not be used, by what was wrong with them.
    """

    def __init__(
        self, builder: BatchBuilder, identity: DeviceIdentity, make_room: Callable[[], None]
    ) -> None:
        """:param make_room: called after a flow became live; evicts flows beyond the bound."""
        self.rejected: Counter[str] = Counter()
        self._builder = builder
        self._identity = identity
        self._make_room = make_room

    # -- what a flow is --------------------------------------------------------------------------------

    def describe(
        self, table: FlowTable, name: str, flow: Flow | None, fields: dict[str, Any], record: Record
    ) -> None:
        """Take a description.

        :param name: the flow id of the record.
        :param flow: the flow that is known under ``name``, if any; its change is announced.
        """
        capture, interface = table.capture_points.place(
            record.get("interface"), record.get("internal"), fields
        )
        description = describe(fields, interface)
        if capture != LEFT_OUT:
            description = self._identity.assign(description, table.source)
        first_seen, last_seen = description.first_seen, description.last_seen
        table.baseline.note_time(last_seen)
        if flow is not None and flow.id != name and _is_earlier(flow, description):
            self._builder.counters["records_repeated"] += 1
            return  # an earlier detection of a flow that has been refined under a new digest since
        begins = flow is None or _is_later_flow(flow, description)
        key, peer = description.key, description.peer
        if _is_folded(key, peer) and (flow is None or begins or not _is_folded(flow.key, flow.peer)):
            self._builder.counters["flows_folded"] += 1
        if flow is None or begins:
            totals = -1, -1
            if flow is not None and flow.id == name and flow.last_seen >= first_seen and not flow.purged:
                # Counters of the new flow may have come before its description: they count once.
                totals = flow.total_bytes, flow.total_packets
            flow = self._begin(table, name, flow, key, peer, capture)
            flow.total_bytes, flow.total_packets = totals
        flow.sequence = table.sequence
        if first_seen:
            flow.first_seen = first_seen
        if last_seen > flow.last_seen:  # a repeated one is of the past
            flow.last_seen = last_seen
        if capture != LEFT_OUT:
            self._learn(description)
        self._builder.describe(flow, description, capture)
        table.resolve_unclaimed(flow)
        if flow.ended:
            self._builder.show_ended(flow)

    def _begin(
        self, table: FlowTable, name: str, old: Flow | None, key: Key, peer: Key | None, capture: int
    ) -> Flow:
        """Begin a flow. The flow ``old``, which had the same two ends before, ends."""
        if old is not None:
            if old.id == name:
                table.forget(old)
            elif not old.ended:
                table.end(old, purged=True)
        flow = table.begin(name, key, peer, capture)
        self._make_room()
        return flow

    def _learn(self, description: Description) -> None:
        """Keep what a description says of devices and applications."""
        key, peer, _, last_seen, category, addresses, hints, _, details = description
        note, device = self._builder.note, key.device
        local = None
        if device is not None:
            local = note(device)
            local.interface = details.interface if device != OTHER_DEVICE else None
        if peer is not None and peer.device is not None:
            note(peer.device).interface = details.interface if peer.device != OTHER_DEVICE else None
        for owner, ip in addresses:
            known = local if local is not None and owner == device else note(owner)
            known.remember(ip, last_seen)
        for owner, name in hints:
            note(owner).hint = name
        if category:
            self._builder.categorize(key.application, category)

    # -- what a flow carried -----------------------------------------------------------------------------

    def count(
        self, table: FlowTable, name: str, flow: Flow | None, fields: dict[str, Any], record: Record
    ) -> None:
        """Take counters. ``flow`` is as in :meth:`describe`."""
        purge = record["type"] == "flow_purge"
        try:
            counters = read_counters(fields)
        except BadCounters as error:
            self.rejected[str(error)] += 1
            if not purge or flow is None or flow.ended:
                return
            counters = read_totals(fields)  # no later record brings back what the last one proves
        up, down, packets_up, packets_down, total, total_packets, seen = counters
        table.baseline.note_time(seen)
        if flow is None:
            capture, interface = table.capture_points.place(record.get("interface"), record.get("internal"))
            key = UNDESCRIBED if interface is None else row_key(*UNDESCRIBED[:3], interface)
            flow = self._begin(table, name, None, key, None, capture)
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
                self._leave_out_if_external(table, flow)
                self._make_room()
            elif meaning is _Meaning.ANOTHER_FLOW:
                flow = self._begin_after(table, flow, name)
        flow.sequence = table.sequence
        if seen:
            flow.last_seen = seen
        if flow.total_bytes < 0 and total == up + down and total_packets == packets_up + packets_down:
            flow.total_bytes = flow.total_packets = 0  # its first counters, with nothing before them
        if (
            flow.total_bytes == total - up - down
            and flow.total_packets == total_packets - packets_up - packets_down
            and flow.total_bytes >= 0
        ):
            flow.total_bytes, flow.total_packets = total, total_packets
            if up or down or packets_up or packets_down:
                self._builder.count(flow, up, down, packets_up, packets_down)
        else:
            self._count_by_total(flow, counters, total, total_packets)
        table.resolve_unclaimed(flow)
        if purge:
            table.end(flow, purged=True)

    def _begin_after(self, table: FlowTable, old: Flow, name: str) -> Flow:
        """Begin another flow of the two ends of ``old``. It began after ``old``, so all its bytes count."""
        risk = old.risk
        flow = self._begin(table, name, old, old.key, old.peer, old.capture)
        flow.risk = risk
        flow.total_bytes = flow.total_packets = 0
        self._leave_out_if_external(table, flow)
        return flow

    def _count_by_total(self, flow: Flow, counters: FlowCounters, total: int, total_packets: int) -> None:
        """Count what the totals prove to be new, where that differs from what the interval says.

        :param total: bytes of the flow so far, where ``counters`` need not say; ``total_packets`` likewise.
        """
        up, down, packets_up, packets_down, *_ = counters
        if flow.total_bytes < 0:
            # Its first counters: what it carried before them is ours only if it began after the baseline.
            flow.unclaimed_bytes = max(total - up - down, 0)
            flow.unclaimed_packets = max(total_packets - packets_up - packets_down, 0)
            flow.total_bytes, flow.total_packets = flow.unclaimed_bytes, flow.unclaimed_packets
        grown = total - flow.total_bytes
        if grown and _packets_were_reset(flow.total_packets, packets_up + packets_down, total_packets):
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

    def leave_out_external(self, table: FlowTable) -> None:
        """Leave out the live flows of external interfaces, because an internal one sees the same traffic."""
        for flow in list(table.live.values()):
            self._leave_out_if_external(table, flow)

    def _leave_out_if_external(self, table: FlowTable, flow: Flow) -> None:
        if flow.capture == EXTERNAL and table.capture_points.watches_internal:
            self._builder.change(flow)
            self._builder.move(flow, flow.key, flow.peer, LEFT_OUT)


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


def _packets_were_reset(known: int, interval: int, total: int) -> bool:
    """Whether netifyd began to count the packets of a flow anew, although its bytes go on.

    4.4.5 does so when it starts the detection of a flow again, as for a second DNS query over the same two
    ends: the total is less than before, or all of it is in this interval.
    """
    return total < known or 0 < interval == total < known + interval


def _is_earlier(flow: Flow, description: Description) -> bool:
    """Whether a description under an earlier digest of ``flow`` is of that flow: its own is better then."""
    return flow.first_seen > 0 and description.first_seen in (0, flow.first_seen)


def _is_later_flow(flow: Flow, description: Description) -> bool:
    """Whether a description is of a later flow of the same two ends than ``flow``."""
    return is_another_flow(flow.first_seen, description.first_seen) or (
        flow.purged and not flow.first_seen and description.first_seen > flow.last_seen
    )


def _is_folded(key: Key, peer: Key | None) -> bool:
    """Whether one side of a flow with these rows is a device without a row of its own."""
    return key.device == OTHER_DEVICE or (peer is not None and peer.device == OTHER_DEVICE)
