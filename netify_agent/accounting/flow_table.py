"""The flow table: which flow a digest means, who is live, who was let go, and what belongs together.

Bounded in all its parts. It decides about identities alone; what a record's counters prove is the
accounting's affair. Order is that of arrival: netifyd's clock can jump (trap 9).
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from typing import TypeGuard

from netify_agent.accounting.baseline import Baseline
from netify_agent.accounting.batch_builder import BatchBuilder
from netify_agent.accounting.flow import Flow
from netify_agent.netifyd.flow_record import UNDESCRIBED, Key

_MAX_CHAIN = 16  # digests that one flow is followed through
_IDLE_REPORTS = 240  # agent_status records (one each 15 s) after which a silent flow is let go


class FlowTable:
    """Flows by digest.

    :ivar max_flows: live flows kept; may be changed at any time.
    :ivar sequence: arrival number of the flow record that is being taken.
    :ivar live: flows that netifyd has not ended and that were not let go.
    :ivar ended: flows that lately left, for records that come late.
    """

    def __init__(self, max_flows: int, builder: BatchBuilder, baseline: Baseline) -> None:
        """Start empty."""
        self.max_flows = max_flows
        self.sequence = 0
        self.live: dict[str, Flow] = {}
        self.ended: OrderedDict[str, Flow] = OrderedDict()
        self._aliases: OrderedDict[str, str] = OrderedDict()  # earlier digest to the one that replaced it
        self._reports: deque[int] = deque()  # the sequence at each of the latest agent_status records
        self._builder = builder
        self._baseline = baseline

    @property
    def _max_ended(self) -> int:
        return max(self.max_flows // 10, 100)

    def flows(self) -> list[Flow]:
        """Live flows and those that lately left."""
        return [*self.live.values(), *self.ended.values()]

    def find(self, digest: str) -> Flow | None:
        """The flow of a digest: live, lately over, or known by a later digest."""
        flow = self._here(digest)
        for _ in range(_MAX_CHAIN):
            newer = self._aliases.get(digest) if flow is None else None
            if newer is None:
                break
            digest = newer
            flow = self._here(digest)
        return flow

    def _here(self, digest: str) -> Flow | None:
        return self.live.get(digest) or self.ended.get(digest)

    def insert(self, flow: Flow, key: Key, peer: Key | None) -> None:
        """A flow begins, as one of ``key`` (and ``peer``). Its digest must be free."""
        self._aliases.pop(flow.digest, None)
        flow.touched = self.sequence
        flow.key, flow.peer = key, peer
        self._builder.adopt(flow)
        self.live[flow.digest] = flow
        self._builder.count_flows(flow, 1)
        self.evict()

    def end(self, flow: Flow, *, over: bool) -> None:
        """The flow leaves; it is remembered for a while, for records that come late."""
        self._builder.touch(flow)
        flow.ended, flow.over = True, over
        self._baseline.resolve(flow)
        del self.live[flow.digest]
        self._builder.unsave(flow)
        self._builder.save(flow)
        self.ended[flow.digest] = flow
        if len(self.ended) > self._max_ended:
            self._baseline.discard(self.ended.popitem(last=False)[1])

    def forget(self, flow: Flow) -> None:
        """The flow is over and its digest needed for another."""
        if not flow.ended:
            self.end(flow, over=True)
        del self.ended[flow.digest]
        self._baseline.discard(flow)

    def reopen(self, flow: Flow) -> None:
        """A flow that had left goes on."""
        del self.ended[flow.digest]
        flow.ended = flow.over = False
        flow.touched = self.sequence  # or it would be the first to be let go again
        self._builder.adopt(flow)
        self.live[flow.digest] = flow
        self._builder.count_flows(flow, 1 - flow.flows)  # a store that lost its row counts it anew
        self.evict()

    # -- digest chains ---------------------------------------------------------------------------

    def rename(self, digest: str, previous: object) -> None:
        """A flow goes on as ``digest``; ``previous`` are the digests that it had before (v5)."""
        self._baseline.chains = True
        late = self._here(digest) is None and self.find(digest) is not None  # it has been replaced itself
        for name in previous[:_MAX_CHAIN] if isinstance(previous, list) else ():
            if not is_digest(name) or name == digest:
                continue
            old = self._here(name)
            if old is None and late:
                continue
            if self._aliases.get(name) != digest:
                self._aliases[name] = digest
                self._aliases.pop(digest, None)
                if len(self._aliases) > self._max_ended:
                    self._aliases.popitem(last=False)
            if old is not None:
                self._go_on(old, digest)

    def _go_on(self, old: Flow, digest: str) -> None:
        """``old`` goes on as ``digest``, unless that is already another flow of the same two ends."""
        self._builder.touch(old)
        current = self._here(digest)
        if current is not None:
            self._builder.touch(current)
            differ = another_life(old.first_seen, current.first_seen)
            if old.touched > current.touched and (differ or (current.over and not old.over)):
                self.forget(current)  # an earlier life
                current = None
                if self._here(old.digest) is not old:
                    return  # it was the first to make room for that one among those that are over
            elif differ:
                return
        table = self.ended if old.ended else self.live
        del table[old.digest]
        if current is not None:
            self.merge(old, current)
        else:
            self._builder.replace(old, digest)
            old.digest = digest
            self._builder.adopt(old)
            table[digest] = old
            self._builder.save(old)

    def merge(self, old: Flow, new: Flow) -> None:
        """Two entries have turned out to be one flow: ``old`` is what was known of it before."""
        described = new.key != UNDESCRIBED
        if described:
            self._builder.move(old, new.key, new.peer)
        else:
            self._builder.move(new, old.key, old.peer)
            new.risk = old.risk
        self._builder.replace(old, new.digest, known=described)
        missed = packets = 0
        if old.total_bytes >= 0:  # else it never had counters: what came before those of new is still open
            if new.total_bytes < 0:
                new.total_bytes, new.total_packets = old.total_bytes, old.total_packets
            else:
                missed = max(new.unclaimed_bytes - old.total_bytes, 0)
                packets = max(new.unclaimed_packets - old.total_packets, 0)
            new.unclaimed_bytes, new.unclaimed_packets = old.unclaimed_bytes, old.unclaimed_packets
        new.absorb(old, self._builder.batch.bucket)
        self._builder.count_flows(new, 1 - new.flows)
        if missed or packets:
            self._builder.count_missed(new, missed, packets)
        self._baseline.resolve(new)
        self._builder.save(new)

    # -- the bound -------------------------------------------------------------------------------

    def evict(self) -> None:
        """Past the bound, let the least recently seen flows go, a part of the table at a time."""
        excess = len(self.live) - self.max_flows
        if excess <= 0:
            return
        count = excess + self.max_flows // 64
        for flow in heapq.nsmallest(count, self.live.values(), key=lambda flow: flow.touched):
            self._remove(flow, "flows_evicted")

    def expire(self) -> None:
        """Let go of flows whose end we missed. Counted in agent_status records, not in time."""
        self._reports.append(self.sequence)
        if len(self._reports) < _IDLE_REPORTS:
            return
        idle_since = self._reports.popleft()
        for flow in [flow for flow in self.live.values() if flow.touched < idle_since]:
            self._remove(flow, "flows_expired")

    def _remove(self, flow: Flow, counter: str) -> None:
        """Take a flow out that netifyd has not ended, and count it as ``counter``."""
        self.end(flow, over=False)
        self._baseline.note_eviction(flow)
        self._builder.batch.counters[counter] += 1


def is_digest(value: object) -> TypeGuard[str]:
    """Whether ``value`` can be a digest: 40 hex digits in netifyd 4.4.5; any short ASCII will do."""
    return isinstance(value, str) and 0 < len(value) <= 128 and value.isascii()


def another_life(first_seen: int, other: int) -> bool:
    """Whether two starts, in netifyd's ms and 0 where unknown, are those of different flows."""
    return 0 < first_seen != other > 0
