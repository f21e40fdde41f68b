"""One flow of the flow table: whose it is, what was counted of it, and where netifyd's counters stand."""

from __future__ import annotations

from netify_agent.accounting.batch import FlowState
from netify_agent.netifyd.flow_record import UNDESCRIBED, Key

Counts = tuple[int, int, int, int, int]  # bytes up, bytes down, packets up, packets down, flows
_NOTHING = (0, 0, 0, 0)  # one for all flows that began in the bucket that is still open


def split(amount: int, up: int, down: int) -> tuple[int, int]:
    """Divide ``amount`` in the proportion ``up`` : ``down``, rounding in favour of down.

    :returns: the two parts, which always add up to ``amount``; halves where no proportion is known.
    """
    known = up + down
    part = amount * up // known if known else amount // 2
    return part, amount - part


class Flow:
    """A flow, live or lately over. Bytes and packets as netifyd counts them; times in its ms.

    :ivar digest: the latest digest.
    :ivar source: URL of the endpoint that told of it.
    :ivar key: row of the local side; :ivar peer: row of the other side, if that is a device too.
    :ivar touched: arrival number of the last record.
    :ivar bucket: start of the history bucket that it was last counted in, seconds since the epoch; -1: none.
    :ivar born: generation of the batch that first holds its digest; -1 if the store held it before.
    :ivar first_seen: 0 while no ``flow`` record came.
    :ivar total_bytes: netifyd's cumulative counter as accounted so far; -1 before the first counters.
    :ivar flows: how many flows its rows count for it: 1, or 0 after the store lost them.
    :ivar risk: the score of its risks, as last told; 0 for none.
    :ivar unclaimed_bytes: carried before its first record, and not yet known to be ours to count.
    :ivar ended: no longer in the table of live flows.
    :ivar over: netifyd itself has ended it, so that further counters mean a new life.
    """

    __slots__ = (
        "_mark",
        "born",
        "bucket",
        "bytes_down",
        "bytes_up",
        "digest",
        "ended",
        "first_seen",
        "flows",
        "key",
        "last_seen",
        "over",
        "packets_down",
        "packets_up",
        "peer",
        "risk",
        "source",
        "total_bytes",
        "total_packets",
        "touched",
        "unclaimed_bytes",
        "unclaimed_packets",
    )

    def __init__(self, digest: str, source: str) -> None:
        self.digest = digest
        self.source = source
        self.key: Key = UNDESCRIBED
        self.peer: Key | None = None
        self.born = self.total_bytes = self.total_packets = self.bucket = -1
        self.touched = self.first_seen = self.last_seen = self.unclaimed_bytes = self.unclaimed_packets = (
            self.risk
        ) = 0
        self.bytes_up = self.bytes_down = self.packets_up = self.packets_down = self.flows = 0
        self.ended = self.over = False
        self._mark = _NOTHING

    @classmethod
    def restored(cls, digest: str, state: FlowState) -> Flow:
        """The flow that an earlier run stored as ``state``."""
        flow = cls(digest, state.source)
        flow.flows = 1
        flow.key, flow.peer = state.key, state.peer
        flow.first_seen, flow.last_seen = state.first_seen, state.last_seen
        flow.total_bytes, flow.total_packets = state.total_bytes, state.total_packets
        flow.bytes_up, flow.bytes_down = state.bytes_up, state.bytes_down
        flow.packets_up, flow.packets_down = state.packets_up, state.packets_down
        flow.unclaimed_bytes, flow.unclaimed_packets = state.unclaimed_bytes, state.unclaimed_packets
        flow.risk = state.risk
        return flow

    def state(self) -> FlowState:
        """What must be stored to go on after a restart."""
        return FlowState(
            self.source,
            self.key,
            self.peer,
            self.first_seen,
            self.last_seen,
            self.total_bytes,
            self.total_packets,
            self.bytes_up,
            self.bytes_down,
            self.packets_up,
            self.packets_down,
            self.unclaimed_bytes,
            self.unclaimed_packets,
            self.risk,
        )

    def forget_counts(self) -> None:
        """Nothing that was counted so far can be moved any more: another life, or a store that lost it."""
        self.bytes_up = self.bytes_down = self.packets_up = self.packets_down = self.flows = 0
        self.bucket = -1
        self._mark = _NOTHING

    def begin(self, bucket: int) -> None:
        """What is counted from now on is of the history bucket that starts at ``bucket`` (s)."""
        self.bucket = bucket
        counted = self.bytes_up or self.bytes_down or self.packets_up or self.packets_down
        self._mark = (
            (self.bytes_up, self.bytes_down, self.packets_up, self.packets_down) if counted else _NOTHING
        )

    def recent(self, bucket: int) -> Counts:
        """What was counted in the history bucket ``bucket``, which is still open; without the flow itself."""
        if self.bucket != bucket:
            return 0, 0, 0, 0, 0
        up, down, packets_up, packets_down = self._mark
        return (
            self.bytes_up - up,
            self.bytes_down - down,
            self.packets_up - packets_up,
            self.packets_down - packets_down,
            0,
        )

    def older(self, bucket: int) -> Counts:
        """What was counted in buckets that are closed, and the flow itself."""
        up, down, packets_up, packets_down, _ = self.recent(bucket)
        return (
            self.bytes_up - up,
            self.bytes_down - down,
            self.packets_up - packets_up,
            self.packets_down - packets_down,
            self.flows,
        )

    def absorb(self, other: Flow, bucket: int) -> None:
        """Take over what was counted of ``other``, which has turned out to be this same flow."""
        mine, theirs = self.recent(bucket), other.recent(bucket)
        self.bytes_up += other.bytes_up
        self.bytes_down += other.bytes_down
        self.packets_up += other.packets_up
        self.packets_down += other.packets_down
        self.flows += other.flows
        self.bucket = bucket
        self._mark = (
            self.bytes_up - mine[0] - theirs[0],
            self.bytes_down - mine[1] - theirs[1],
            self.packets_up - mine[2] - theirs[2],
            self.packets_down - mine[3] - theirs[3],
        )
        self.first_seen = self.first_seen or other.first_seen
