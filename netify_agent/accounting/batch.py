"""The changes of one flush interval, as plain data: what the accounting hands to the store.

It stands between both, so that the store needs no flow table and the accounting no Redis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from netify_agent.netifyd.flow_record import Details, Key

# IP addresses remembered of a device. Privacy extensions (RFC 8981) make a new IPv6 address each day; these
# must not push out the IPv4 address, to which names are bound.
MAX_IPV4, MAX_IPV6 = 4, 12
MAX_ENDED = 10_000  # flows that are shown although they ended


class FlowState(NamedTuple):
    """All that must survive a restart of the agent about one live flow.

    :ivar source: URL of the endpoint that reported it.
    :ivar total_bytes: netifyd's cumulative counter as accounted so far; -1 before the first counters.
    :ivar bytes_up: what this flow added to its row, bytes; packets likewise.
    :ivar unclaimed_bytes: carried before its first record, and not yet known to be ours.
    :ivar risk: the score of its risks, 0 for none.
    :ivar capture: a constant of :mod:`netify_agent.accounting.capture_points`.
    :ivar flows: how many flows its rows count for it: 1, or 0 after these rows were dropped.
    """

    source: str
    key: Key
    peer: Key | None
    first_seen: int
    last_seen: int
    total_bytes: int
    total_packets: int
    bytes_up: int
    bytes_down: int
    packets_up: int
    packets_down: int
    unclaimed_bytes: int
    unclaimed_packets: int
    risk: int = 0
    capture: int = 0
    flows: int = 1


class SourceState(NamedTuple):
    """What must survive a restart of the agent about one netifyd. Times are netifyd's clock in ms.

    :ivar epoch: when this store first heard of it; None if it has not.
    :ivar evicted: flows that began before may have been counted and then evicted; 0: none was.
    :ivar start: when its process started; None if it never said.
    :ivar uptime: of that process at its latest report, seconds.
    """

    epoch: int | None = None
    evicted: int = 0
    start: int | None = None
    uptime: int = 0


class Row:
    """Changes of one (device, application, protocol): signed counts, and when it was seen.

    :ivar moved: bytes up and down, and packets up and down, among the counts that were moved here or away and
        did not pass in this interval; they are no part of a rate. None in most rows, which saves memory.
    :ivar first_seen: netifyd's clock, milliseconds since the epoch; 0 unknown. ``last_seen`` likewise.
    """

    __slots__ = (
        "bytes_down",
        "bytes_up",
        "first_seen",
        "flows",
        "last_seen",
        "moved",
        "packets_down",
        "packets_up",
    )

    def __init__(self) -> None:
        self.bytes_up = self.bytes_down = self.packets_up = self.packets_down = self.flows = 0
        self.first_seen = self.last_seen = 0
        self.moved: tuple[int, int, int, int] | None = None

    def counts(self) -> tuple[int, int, int, int, int]:
        """Return the five counters: bytes up, bytes down, packets up, packets down, flows."""
        return self.bytes_up, self.bytes_down, self.packets_up, self.packets_down, self.flows

    def passed(self) -> tuple[int, int]:
        """Return the bytes up and down that passed in this interval."""
        if self.moved is None:
            return self.bytes_up, self.bytes_down
        return self.bytes_up - self.moved[0], self.bytes_down - self.moved[1]

    def move(self, up: int, down: int, packets_up: int, packets_down: int) -> None:
        """Note that so much of the counts was moved here or away."""
        before = self.moved or (0, 0, 0, 0)
        self.moved = before[0] + up, before[1] + down, before[2] + packets_up, before[3] + packets_down

    def without_corrections(self) -> Row:
        """Return only what passed in this interval, for a store that lost the rows of moved counts."""
        row = Row()
        _, _, packets_up, packets_down = self.moved or (0, 0, 0, 0)
        row.bytes_up, row.bytes_down = self.passed()
        row.packets_up, row.packets_down = self.packets_up - packets_up, self.packets_down - packets_down
        row.first_seen, row.last_seen = self.first_seen, self.last_seen
        return row


class DeviceNote:
    """What was learned of a device besides its bytes.

    :ivar addresses: IP address to netifyd's clock when it was last seen, most recent last.
    :ivar interface: netifyd's name of the capturing interface, or None.
    :ivar hint: a name the device gave itself, or None.
    """

    __slots__ = ("addresses", "hint", "interface")

    def __init__(self) -> None:
        self.addresses: dict[str, int] = {}
        self.interface: str | None = None
        self.hint: str | None = None

    def remember(self, ip: str, seen: int) -> None:
        """Add an IP address. The latest addresses of each family are kept.

        :param seen: netifyd's clock when the device had it, milliseconds since the epoch; 0 unknown.
        """
        addresses = self.addresses
        before = addresses.pop(ip, 0)
        addresses[ip] = seen if seen > before else before
        if len(addresses) <= MAX_IPV4:
            return  # the smaller bound
        most = MAX_IPV6 if ":" in ip else MAX_IPV4
        if len(addresses) > most:
            same = [known for known in addresses if (":" in known) == (":" in ip)]
            if len(same) > most:
                del addresses[same[0]]


Rows = dict[Key, Row]


@dataclass(frozen=True)
class Batch:
    """The changes of one interval. Nothing in it changes after it was handed over.

    Flows are named by flow id: digest and source.

    :ivar bucket: start of the history bucket that the interval belongs to, seconds since the epoch.
    :ivar counted: changes to the rows of local sides; their sum is the gateway's change.
    :ivar mirrored: changes to the rows of other sides that are devices too; not the gateway's.
    :ivar moved: corrections of totals alone: bytes reclassified after their bucket was closed.
    :ivar moved_mirrored: the same for mirrored rows.
    :ivar left_out: changes of what was captured at interfaces that do not count.
    :ivar categories: application tag to netifyd's category id.
    :ivar flows: state of each live flow that changed; None for one that is no longer live.
    :ivar ended: last state of flows that were live, the latest last; at most :data:`MAX_ENDED`.
    :ivar details: descriptions of flows of ``flows`` and ``ended`` that arrived in this interval.
    :ivar replaced: flow id to the ids in the store whose flow goes on under it.
    :ivar placed: ids of live flows whose row or risk may differ from the store's entry.
    :ivar complete: ``flows`` has every live flow, so that no other is live, whatever the store says.
    :ivar counters: the accounting's own counters, by name.
    :ivar sources: state of each source, by URL.
    """

    bucket: int
    counted: Rows = field(default_factory=dict)
    mirrored: Rows = field(default_factory=dict)
    moved: Rows = field(default_factory=dict)
    moved_mirrored: Rows = field(default_factory=dict)
    left_out: Rows = field(default_factory=dict)
    devices: dict[str, DeviceNote] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)
    flows: dict[str, FlowState | None] = field(default_factory=dict)
    ended: dict[str, FlowState] = field(default_factory=dict)
    details: dict[str, Details] = field(default_factory=dict)
    replaced: dict[str, list[str]] = field(default_factory=dict)
    placed: set[str] = field(default_factory=set)
    complete: bool = False
    counters: Counter[str] = field(default_factory=Counter)
    sources: Mapping[str, SourceState] = field(default_factory=dict)

    def changed_devices(self) -> set[str]:
        """Return the devices that this batch changes anything of."""
        tables = self.counted, self.mirrored, self.moved, self.moved_mirrored
        return {key.device for table in tables for key in table if key.device is not None} | set(self.devices)

    @property
    def size(self) -> int:
        """Number of rows, flow states and details in it."""
        return sum(map(len, self._tables()))

    def without_corrections(self) -> Batch:
        """Return this batch for a store that lost its rows: it only adds, and no flow has counted yet."""
        return replace(
            self,
            counted={key: row.without_corrections() for key, row in self.counted.items()},
            mirrored={key: row.without_corrections() for key, row in self.mirrored.items()},
            left_out={key: row.without_corrections() for key, row in self.left_out.items()},
            moved={},
            moved_mirrored={},
            flows={
                name: state and state._replace(bytes_up=0, bytes_down=0, packets_up=0, packets_down=0)
                for name, state in self.flows.items()
            },
            placed={*self.placed, *(name for name, state in self.flows.items() if state is not None)},
        )

    def release(self) -> None:
        """Free the memory piece by piece, when nobody needs the batch any more.

        Freed in one step of the interpreter, a batch of 100,000 flows stops all threads for 50 ms.
        """
        for table in self._tables():
            while table:
                table.popitem()

    def _tables(self) -> tuple[dict[Key, Row] | dict[str, object], ...]:
        return (
            self.counted,
            self.mirrored,
            self.moved,
            self.moved_mirrored,
            self.left_out,
            self.devices,  # type: ignore[return-value]
            self.flows,
            self.ended,
            self.details,
        )
