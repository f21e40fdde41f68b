"""One flow of the flow table: its row, what was counted of it, and where netifyd's counters stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from netify_agent.accounting.batch import FlowState
from netify_agent.accounting.capture_points import COUNTED, LEFT_OUT
from netify_agent.netifyd.flow_record import UNDESCRIBED, Key

if TYPE_CHECKING:
    from netify_agent.accounting.flow_table import FlowTable


class Counts(NamedTuple):
    """Counters of a flow or a row: bytes of whole frames, packets, and the number of flows."""

    bytes_up: int
    bytes_down: int
    packets_up: int
    packets_down: int
    flows: int


_ZERO = Counts(0, 0, 0, 0, 0)  # shared by all flows that began in the open bucket


def split(amount: int, up: int, down: int) -> tuple[int, int]:
    """Divide ``amount`` in the proportion ``up`` : ``down``. The remainder goes to down.

    :returns: two parts that add up to ``amount``. Without a known proportion they are halves.
    """
    known = up + down
    part = amount * up // known if known else amount // 2
    return part, amount - part


class Flow:
    """A flow, live or ended. Bytes and packets are as netifyd counts them; times are netifyd's clock in ms.

    Call :meth:`~netify_agent.accounting.batch_builder.BatchBuilder.change` before changing one.

    :ivar id: the flow id, of the latest digest. Table and batches share this one string.
    :ivar table: the flow table of its source.
    :ivar key: row of the local side.
    :ivar peer: row of the other side, if that is a device of this network too.
    :ivar capture: whether it counts: a constant of :mod:`~netify_agent.accounting.capture_points`.
    :ivar sequence: arrival number of its last record.
    :ivar bucket: start of the history bucket that it was last counted in, seconds since the epoch; -1: none.
    :ivar born: number of the first batch that holds its id; -1 if Redis held an entry under that id before.
    :ivar first_seen: 0 until a description came.
    :ivar total_bytes: netifyd's cumulative counter as accounted so far; -1 before the first counters.
    :ivar flows: how many flows its rows count for it: 1, or 0 after they were lost or dropped.
    :ivar risk: the score of its risks in the last description; 0 for none.
    :ivar unclaimed_bytes: carried before its first record, and not yet known to be ours to count.
    :ivar ended: no longer live.
    :ivar purged: netifyd ended it, so further counters are those of another flow.
    """

    __slots__ = (
        "_before_bucket",
        "born",
        "bucket",
        "bytes_down",
        "bytes_up",
        "capture",
        "ended",
        "first_seen",
        "flows",
        "id",
        "key",
        "last_seen",
        "packets_down",
        "packets_up",
        "peer",
        "purged",
        "risk",
        "sequence",
        "table",
        "total_bytes",
        "total_packets",
        "unclaimed_bytes",
        "unclaimed_packets",
    )

    def __init__(self, name: str, table: FlowTable) -> None:
        self.id = name
        self.table = table
        self.key: Key = UNDESCRIBED
        self.peer: Key | None = None
        self.capture = COUNTED
        self.born = self.total_bytes = self.total_packets = self.bucket = -1
        self.sequence = self.first_seen = self.last_seen = self.risk = 0
        self.unclaimed_bytes = self.unclaimed_packets = 0
        self.bytes_up = self.bytes_down = self.packets_up = self.packets_down = self.flows = 0
        self.ended = self.purged = False
        self._before_bucket = _ZERO

    @classmethod
    def restored(cls, name: str, table: FlowTable, state: FlowState) -> Flow:
        """Return the flow that an earlier run stored as ``state``; ``name``: its flow id."""
        flow = cls(name, table)
        flow.flows = state.flows
        flow.key, flow.peer, flow.capture = state.key, state.peer, state.capture
        flow.first_seen, flow.last_seen = state.first_seen, state.last_seen
        flow.total_bytes, flow.total_packets = state.total_bytes, state.total_packets
        flow.bytes_up, flow.bytes_down = state.bytes_up, state.bytes_down
        flow.packets_up, flow.packets_down = state.packets_up, state.packets_down
        flow.unclaimed_bytes, flow.unclaimed_packets = state.unclaimed_bytes, state.unclaimed_packets
        flow.risk = state.risk
        return flow

    @property
    def left_out(self) -> bool:
        """Whether its bytes are not counted, because of where it was captured."""
        return self.capture == LEFT_OUT

    def state(self) -> FlowState:
        """Return what must be stored to go on after a restart."""
        return FlowState(
            self.table.source,
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
            self.capture,
            self.flows,
        )

    def forget_counts(self) -> None:
        """Forget what was counted, because its rows were dropped: it can't be moved to other rows."""
        self.bytes_up = self.bytes_down = self.packets_up = self.packets_down = self.flows = 0
        self.bucket = -1
        self._before_bucket = _ZERO

    def open_bucket(self, bucket: int) -> None:
        """Count in another history bucket from now on.

        :param bucket: its start, seconds since the epoch.
        """
        self.bucket = bucket
        if self.bytes_up or self.bytes_down or self.packets_up or self.packets_down:
            self._before_bucket = Counts(
                self.bytes_up, self.bytes_down, self.packets_up, self.packets_down, 0
            )
        else:
            self._before_bucket = _ZERO

    def in_bucket(self, bucket: int) -> Counts:
        """Return what was counted in the open history bucket ``bucket``, without the flow itself."""
        if self.bucket != bucket:
            return _ZERO
        before = self._before_bucket
        return Counts(
            self.bytes_up - before.bytes_up,
            self.bytes_down - before.bytes_down,
            self.packets_up - before.packets_up,
            self.packets_down - before.packets_down,
            0,
        )

    def before_bucket(self, bucket: int) -> Counts:
        """Return what was counted in closed buckets, and the flow itself."""
        recent = self.in_bucket(bucket)
        return Counts(
            self.bytes_up - recent.bytes_up,
            self.bytes_down - recent.bytes_down,
            self.packets_up - recent.packets_up,
            self.packets_down - recent.packets_down,
            self.flows,
        )

    def absorb(self, other: Flow, bucket: int) -> None:
        """Take over the counters of ``other``, which turned out to be this same flow."""
        mine, theirs = self.in_bucket(bucket), other.in_bucket(bucket)
        self.bytes_up += other.bytes_up
        self.bytes_down += other.bytes_down
        self.packets_up += other.packets_up
        self.packets_down += other.packets_down
        self.flows += other.flows
        self.bucket = bucket
        self._before_bucket = Counts(
            self.bytes_up - mine.bytes_up - theirs.bytes_up,
            self.bytes_down - mine.bytes_down - theirs.bytes_down,
            self.packets_up - mine.packets_up - theirs.packets_up,
            self.packets_down - mine.packets_down - theirs.packets_down,
            0,
        )
        self.first_seen = self.first_seen or other.first_seen
