"""From when on bytes are ours to count: the decision about what flows carried before we heard of them.

Kept apart because it needs more than the flow itself: when this store first heard of netifyd, which
process of netifyd that is, and whom we once let go. It knows no records and no flow table.
"""

from __future__ import annotations

from netify_agent.accounting.batch import Instance
from netify_agent.accounting.batch_builder import BatchBuilder
from netify_agent.accounting.flow import Flow

_LATE_MS = 60_000  # a record is hardly so much later than the latest agent_status: one comes each 15 s


class Baseline:
    """What is known of the time before. Times are netifyd's clock, milliseconds since the epoch.

    :ivar epoch: when this store first heard of netifyd; None if it has not.
    :ivar guessed: the epoch is from a flow's record, for want of an agent_status.
    :ivar clock: at the latest agent_status; 0 before one came.
    :ivar evicted: flows born before may have been counted and then let go by us; 0: none was.
    :ivar instances: the netifyd process behind each source.
    :ivar restored: what an earlier run stored is known, if there was one.
    :ivar chains: this netifyd changes digests (v5).
    """

    def __init__(self, builder: BatchBuilder) -> None:
        """Know nothing yet."""
        self.epoch: int | None = None
        self.guessed = False
        self.evicted = 0
        self.clock = 0
        self.instances: dict[str, Instance] = {}
        self.restored = False
        self.chains = False
        self._builder = builder

    def heard(self, at: int) -> None:
        """A flow's record of time ``at`` (0: unknown) was the first that this store ever heard."""
        if self.epoch is None and at:
            self.epoch, self.guessed = at, True

    def resolve(self, flow: Flow) -> None:
        """Decide about the bytes held of ``flow``, if it can be known by now whose they are (trap 6).

        Of one that has ended nothing more will be learned. The caller saves the flow.
        """
        if not (flow.unclaimed_bytes or flow.unclaimed_packets) or not self.restored:
            return
        described = flow.first_seen > 0 or flow.key.device is not None
        if self.chains and not described and not flow.ended:
            return  # It may turn out to continue a flow whose bytes are counted already.
        since = max(self.epoch or 0, self.evicted)
        instance = self.instances.get(flow.source)
        born = max(flow.first_seen, instance.start if instance is not None else 0)
        if born >= since > 0:
            held, packets = flow.unclaimed_bytes, flow.unclaimed_packets
            flow.unclaimed_bytes = flow.unclaimed_packets = 0
            self._builder.count_missed(flow, held, packets)
        elif described or flow.ended:
            self.discard(flow)

    def note_eviction(self, flow: Flow) -> None:
        """``flow``, which may have been counted, is forgotten; a clock gone wild is not believed."""
        seen = min(flow.last_seen, self.clock + _LATE_MS) if self.clock else flow.last_seen
        self.evicted = max(self.evicted, seen + 1)

    def discard(self, flow: Flow) -> None:
        """The bytes held of ``flow`` are not ours to count, as far as anyone can know."""
        if flow.unclaimed_bytes or flow.unclaimed_packets:
            self._builder.batch.counters["bytes_before"] += flow.unclaimed_bytes
            self._builder.batch.counters["packets_before"] += flow.unclaimed_packets
            flow.unclaimed_bytes = flow.unclaimed_packets = 0
