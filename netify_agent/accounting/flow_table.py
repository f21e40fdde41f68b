"""The flow table of one source: which flow a digest means, which flows are live, and which belong together.

Bounded in all its parts. It decides about the identity of flows; what the counters of a record prove is the
accountant's part. The order is that of arrival, because netifyd's clock can jump.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TypeGuard

from netify_agent.accounting.baseline import Baseline, Claim
from netify_agent.accounting.batch_builder import BatchBuilder
from netify_agent.accounting.capture_points import CapturePoints, CaptureRules
from netify_agent.accounting.flow import Flow
from netify_agent.accounting.flow_id import TAG_MARK, tag_of
from netify_agent.netifyd.flow_record import Key

_MAX_CHAIN = 16  # digests that one flow is followed through
_IDLE_REPORTS = 240  # agent_status records, one each 15 s, after which a silent flow is evicted


class FlowTable:
    """Flows of one source by flow id, with the baseline and the capture points of its netifyd.

    :ivar source: URL of the endpoint.
    :ivar tag: what is appended to a digest to make a flow id.
    :ivar max_ended: ended flows, and earlier digests, that are remembered.
    :ivar sequence: arrival number of the record that is being taken, over all sources.
    :ivar live: flow id to flow: those that netifyd has not ended and that were not evicted.
    :ivar ended: the same of flows that ended last, for records that come late.
    """

    def __init__(self, source: str, builder: BatchBuilder, rules: CaptureRules, max_ended: int) -> None:
        """Start empty."""
        self.source = source
        self.tag = tag_of(source)
        self.max_ended = max_ended
        self.sequence = 0
        self.live: dict[str, Flow] = {}
        self.ended: OrderedDict[str, Flow] = OrderedDict()
        self.baseline = Baseline()
        self.capture_points = CapturePoints(rules)
        self._later: OrderedDict[str, str] = OrderedDict()  # earlier flow id to the one after it
        self._reports: deque[int] = deque()  # the sequence at each of the latest agent_status records
        self._builder = builder

    def flows(self) -> list[Flow]:
        """Return the live flows and those that ended last."""
        return [*self.live.values(), *self.ended.values()]

    def find(self, name: str) -> Flow | None:
        """Return the flow of a flow id: live, ended, or known by a later digest."""
        for _ in range(_MAX_CHAIN):
            flow = self.live.get(name) or self.ended.get(name)
            if flow is not None or name not in self._later:
                return flow
            name = self._later[name]
        return self._named(name)

    def _named(self, name: str) -> Flow | None:
        return self.live.get(name) or self.ended.get(name)

    def begin(self, name: str, key: Key, peer: Key | None, capture: int) -> Flow:
        """Add a live flow, which counts in the given rows. Its flow id must be free."""
        flow = Flow(name, self)
        self._later.pop(name, None)
        flow.sequence = self.sequence
        flow.key, flow.peer, flow.capture = key, peer, capture
        self._builder.begin(flow)
        self.live[name] = flow
        self._builder.count_flows(flow, 1)
        return flow

    def end(self, flow: Flow, *, purged: bool) -> None:
        """End the flow. It is remembered for a while, for records that arrive late."""
        self._builder.change(flow)
        flow.ended, flow.purged = True, purged
        self.resolve_unclaimed(flow)
        del self.live[flow.id]
        self._builder.end(flow)
        self.ended[flow.id] = flow
        while len(self.ended) > self.max_ended:
            self.discard_unclaimed(self.ended.popitem(last=False)[1])

    def forget(self, flow: Flow) -> None:
        """Remove the flow, ending it first if it is live: its flow id is needed for another one."""
        if not flow.ended:
            self.end(flow, purged=True)
        del self.ended[flow.id]
        self.discard_unclaimed(flow)

    def resume(self, flow: Flow) -> None:
        """Make an ended flow live again: it gets further records."""
        self._builder.change(flow)
        del self.ended[flow.id]
        flow.ended = flow.purged = False
        flow.sequence = self.sequence  # or it would be the first to be evicted again
        self._builder.begin(flow)
        self.live[flow.id] = flow
        self._builder.count_flows(flow, 1 - flow.flows)  # a store that lost its row counts it again

    # -- bytes from before the first record ------------------------------------------------------------

    def resolve_unclaimed(self, flow: Flow) -> None:
        """Count or discard the flow's unclaimed bytes, if it is known by now whose they are."""
        if not flow.unclaimed_bytes and not flow.unclaimed_packets:
            return
        described = flow.first_seen > 0 or flow.key.device is not None
        claim = self.baseline.claim(flow.first_seen, described=described, ended=flow.ended)
        if claim is Claim.OURS:
            self.claim_unclaimed(flow)
        elif claim is Claim.NOT_OURS:
            self.discard_unclaimed(flow)

    def claim_unclaimed(self, flow: Flow) -> None:
        """Count the flow's unclaimed bytes."""
        missed, packets = flow.unclaimed_bytes, flow.unclaimed_packets
        if missed or packets:
            self._builder.change(flow)
            flow.unclaimed_bytes = flow.unclaimed_packets = 0
            self._builder.count_missed(flow, missed, packets)

    def discard_unclaimed(self, flow: Flow) -> None:
        """Drop the flow's unclaimed bytes: they may have been counted already."""
        if flow.unclaimed_bytes or flow.unclaimed_packets:
            self._builder.counters["bytes_before"] += flow.unclaimed_bytes
            self._builder.counters["packets_before"] += flow.unclaimed_packets
            self._builder.change(flow)
            flow.unclaimed_bytes = flow.unclaimed_packets = 0

    # -- digest chains -----------------------------------------------------------------------------------

    def rename(self, name: str, previous: object) -> None:
        """Rename the flow that has one of the digests ``previous`` to the flow id ``name``.

        :param previous: ``digest_prev`` of a record of netifyd v5, unchecked.
        """
        self.baseline.has_chains = True
        # The flow has a later digest already: this record is late.
        is_late = self._named(name) is None and self.find(name) is not None
        for digest in previous[:_MAX_CHAIN] if isinstance(previous, list) else ():
            if not is_digest(digest):
                continue
            earlier = digest + self.tag
            if earlier == name:
                continue
            old = self._named(earlier)
            if old is None and is_late:
                continue
            if self._later.get(earlier) != name:
                self._later[earlier] = name
                self._later.pop(name, None)
                if len(self._later) > self.max_ended:
                    self._later.popitem(last=False)
            if old is not None:
                self._continue_as(old, name)

    def _continue_as(self, old: Flow, name: str) -> None:
        """Rename ``old`` to the flow id ``name``, unless that is a different flow of the same two ends."""
        current = self._named(name)
        if current is not None:
            differ = is_another_flow(old.first_seen, current.first_seen)
            if old.sequence > current.sequence and (differ or (current.purged and not old.purged)):
                self.forget(current)  # an earlier flow
                current = None
                if self._named(old.id) is not old:
                    return  # it was pushed out of the ended flows to make room for that one
            elif differ:
                return
        self._builder.change(old)
        table = self.ended if old.ended else self.live
        del table[old.id]
        if current is not None:
            self.merge(old, current)
            return
        self._builder.hand_on(old, name)
        old.id = name
        self._builder.begin(old)
        table[name] = old
        if old.ended:
            self._builder.show_ended(old)

    def merge(self, old: Flow, new: Flow) -> None:
        """Merge two entries that turned out to be one flow. ``old`` is the entry of the earlier digest."""
        self._builder.change(old)
        self._builder.change(new)
        is_described = new.key.is_described
        if is_described:
            self._builder.move(old, new.key, new.peer, new.capture)
        else:
            self._builder.move(new, old.key, old.peer, old.capture)
            new.risk = old.risk
        self._builder.hand_on(old, new.id, is_described=is_described)
        missed = packets = 0
        if old.total_bytes >= 0:  # else it never had counters: what came before those of new is still open
            if new.total_bytes < 0:
                new.total_bytes, new.total_packets = old.total_bytes, old.total_packets
            else:
                missed = max(new.unclaimed_bytes - old.total_bytes, 0)
                packets = max(new.unclaimed_packets - old.total_packets, 0)
            new.unclaimed_bytes, new.unclaimed_packets = old.unclaimed_bytes, old.unclaimed_packets
        new.absorb(old, self._builder.bucket)
        self._builder.count_flows(new, min(new.flows, 1) - new.flows)
        if missed or packets:
            self._builder.count_missed(new, missed, packets)
        self.resolve_unclaimed(new)
        if new.ended:
            self._builder.show_ended(new)

    # -- the bound -----------------------------------------------------------------------------------------

    def evict(self, flow: Flow, counter: str) -> None:
        """Stop following a flow that netifyd has not ended, and count it as ``counter``."""
        self.end(flow, purged=False)
        self.baseline.evict(flow.last_seen)
        self._builder.counters[counter] += 1

    def expire(self) -> None:
        """Evict flows whose end we missed. Call it at each agent_status: they are counted, not timed."""
        self._reports.append(self.sequence)
        if len(self._reports) < _IDLE_REPORTS:
            return
        idle_since = self._reports.popleft()
        for flow in [flow for flow in self.live.values() if flow.sequence < idle_since]:
            self.evict(flow, "flows_expired")


def is_digest(value: object) -> TypeGuard[str]:
    """Whether ``value`` can be a digest: 40 hex digits in netifyd 4.4.5; here any short ASCII without '@'."""
    return isinstance(value, str) and 0 < len(value) <= 128 and value.isascii() and TAG_MARK not in value


def is_another_flow(first_seen: int, other: int) -> bool:
    """Whether two starts, in netifyd's ms and 0 where unknown, are those of different flows."""
    return 0 < first_seen != other > 0
