"""What accounting hands to the store: the changes of one flush interval, as plain data.

Kept apart from both so that the store needs to know no flow table and the accounting no Redis.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from netify_agent.netifyd.flow_record import Details, Key

# IP addresses remembered of a device. Privacy extensions (RFC 8981) make a new IPv6 address each day.
# These must not push out the IPv4 address, to which names are bound.
MAX_IPV4, MAX_IPV6 = 4, 12
MAX_ENDED = 10_000  # flows that are shown although they are over


class FlowState(NamedTuple):
    """All that must survive a restart of the agent about one live flow (design: 'Restart').

    ``total_*`` is netifyd's cumulative counter as last accounted, -1 before the first counters came;
    ``bytes_*`` and ``packets_*`` are what this flow added to its row, in bytes and packets; ``risk`` is
    the score of its risks, 0 for none.
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


class Instance(NamedTuple):
    """One life of a netifyd process: its start (ms since the epoch, its own clock) and uptime (s)."""

    start: int
    uptime: int


class Row:
    """Changes of one (device, application, protocol): signed counts, and when it was seen.

    ``moved_up`` and ``moved_down`` are the bytes among them that were merely moved here or away; the rest
    passed in this very interval: what rates are made of.

    ``first_seen`` and ``last_seen`` are netifyd's clock in milliseconds since the epoch, 0 unknown.
    """

    __slots__ = (
        "bytes_down",
        "bytes_up",
        "first_seen",
        "flows",
        "last_seen",
        "moved_down",
        "moved_up",
        "packets_down",
        "packets_up",
    )

    def __init__(self) -> None:
        self.bytes_up = self.bytes_down = self.packets_up = self.packets_down = self.flows = 0
        self.first_seen = self.last_seen = 0
        self.moved_up = self.moved_down = 0

    def counts(self) -> tuple[int, int, int, int, int]:
        """The five counters: bytes up, bytes down, packets up, packets down, flows."""
        return self.bytes_up, self.bytes_down, self.packets_up, self.packets_down, self.flows


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
        """The device had ``ip`` at ``seen`` (netifyd's ms; 0 unknown). Keeps the latest of each family."""
        seen = max(self.addresses.pop(ip, 0), seen)
        self.addresses[ip] = seen
        most = MAX_IPV6 if ":" in ip else MAX_IPV4
        if len(self.addresses) > most:
            same = [known for known in self.addresses if (":" in known) == (":" in ip)]
            if len(same) > most:
                del self.addresses[same[0]]


Rows = dict[Key, Row]


@dataclass
class Batch:
    """The changes of one interval. Built by the accounting, immutable once taken.

    :ivar bucket: start of the history bucket that the interval belongs to, seconds since the epoch.
    :ivar counted: changes to the rows of local sides; their sum is the gateway's change.
    :ivar mirrored: changes to the rows of other sides that are devices too (trap 7): not the gateway's.
    :ivar moved: corrections of totals alone: bytes reclassified (trap 4) after their bucket was closed.
    :ivar moved_mirrored: the same for mirrored rows.
    :ivar categories: application tag to netifyd's category id.
    :ivar flows: state of each live flow that changed; None for one that is no longer live. To be filled by
        :meth:`~netify_agent.accounting.accountant.Accountant.freeze`.
    :ivar ended: last state of flows that were live, the latest last: :data:`MAX_ENDED` of them at most.
    :ivar details: what flows of ``flows`` and ``ended`` are, as far as it was told in this interval.
    :ivar replaced: digest to those in the store whose flow goes on under it.
    :ivar placed: digests of live flows whose row or risk may be another than the store's entry says.
    :ivar complete: ``flows`` has every live flow, so that no other is live, whatever the store says.
    :ivar counters: the accounting's own counters, by name.
    :ivar instances: the netifyd process behind each source.
    :ivar epoch: netifyd's clock (ms) when this store first heard of it, None if it has not.
    :ivar evicted: netifyd's clock (ms) at the last time a flow was let go for want of room; 0 never.
    """

    bucket: int
    counted: Rows = field(default_factory=dict)
    mirrored: Rows = field(default_factory=dict)
    moved: Rows = field(default_factory=dict)
    moved_mirrored: Rows = field(default_factory=dict)
    devices: dict[str, DeviceNote] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)
    flows: dict[str, FlowState | None] = field(default_factory=dict)
    ended: dict[str, FlowState] = field(default_factory=dict)
    details: dict[str, Details] = field(default_factory=dict)
    replaced: dict[str, list[str]] = field(default_factory=dict)
    placed: set[str] = field(default_factory=set)
    complete: bool = False
    counters: Counter[str] = field(default_factory=Counter)
    instances: dict[str, Instance] = field(default_factory=dict)
    epoch: int | None = None
    evicted: int = 0

    def changed_devices(self) -> set[str]:
        """Devices that it tells anything of."""
        tables = self.counted, self.mirrored, self.moved, self.moved_mirrored
        return {key.device for table in tables for key in table if key.device is not None} | set(self.devices)

    @property
    def size(self) -> int:
        """Number of rows, flow states and details in it."""
        return (
            len(self.counted)
            + len(self.mirrored)
            + len(self.moved)
            + len(self.moved_mirrored)
            + len(self.devices)
            + len(self.flows)
            + len(self.ended)
            + len(self.details)
        )

    def release(self) -> None:
        """Let go of all that was counted, piece by piece.

        Freed at once, in one step of the interpreter, a batch of 100,000 flows stops all threads for
        50 ms.
        """
        for rows in (self.counted, self.mirrored, self.moved, self.moved_mirrored):
            while rows:
                rows.popitem()
        for flows in (self.flows, self.ended, self.details, self.devices):
            while flows:
                flows.popitem()
