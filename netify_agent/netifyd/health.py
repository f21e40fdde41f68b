"""What a netifyd says of itself: its health, and what its capture saw and lost.

Records in, plain data out: no sockets, no Redis, and nothing of flows. Every field of a record may be
missing or of any type; what can't be is as if it were not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from netify_agent.netifyd.flow_record import clean

#: Types of record that :func:`hear` has a use for. ``interface_stats`` is v5's.
SELF_TYPES = frozenset(("agent_status", "interface_stats"))
#: Where packets get lost, and netifyd's word for it: in the kernel's ring, its own queue, libpcap.
DROPS = {"capture": "capture_dropped", "queue": "queue_dropped", "pcap": "pcap_drop"}

_MAX_INTERFACES = 64
_MAX_COUNT = 1 << 53  # above, Prometheus' 64-bit floats are no longer exact


@dataclass(frozen=True)
class InterfaceCounters:
    """Packets of one interface, since the agent first heard of it.

    :ivar packets: captured.
    :ivar dropped: lost, by the keys of :data:`DROPS`; a reason that netifyd never told is missing.
    """

    packets: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class NetifydStatus:
    """The latest that a netifyd said of itself; None where it did not, or is not connected.

    :ivar uptime_s: seconds since its start.
    :ivar flows: flows that it tracks.
    :ivar memory_bytes: resident memory; its peak where netifyd only tells that (4.x).
    :ivar cpu_user_s: CPU time spent so far, seconds; :ivar cpu_system_s: the same, in the kernel.
    :ivar interfaces: by name; kept over connections, as they are summed up here.
    """

    uptime_s: int | None = None
    flows: int | None = None
    memory_bytes: int | None = None
    cpu_user_s: float | None = None
    cpu_system_s: float | None = None
    interfaces: Mapping[str, InterfaceCounters] = field(default_factory=dict)


def hear(status: NetifydStatus, record: Mapping[str, Any]) -> NetifydStatus:
    """``status`` after ``record``, which is of one of :data:`SELF_TYPES`.

    The packet counters are those of one interval (measured on 4.4.5: ``raw`` was 4561, 8942 and 5081 in
    three reports in a row), so they are added up.
    """
    if record["type"] == "interface_stats":
        return replace(status, interfaces=_grown(status.interfaces, record))
    memory = _count(record.get("memrss_kb"))
    if memory is None:
        memory = _count(record.get("maxrss_kb"))
    return NetifydStatus(
        uptime_s=_count(record.get("uptime")),
        flows=_count(record.get("flow_count")),
        memory_bytes=None if memory is None else memory * 1024,  # getrusage(2) and procfs mean 1024 bytes
        cpu_user_s=_seconds(record.get("cpu_user")),
        cpu_system_s=_seconds(record.get("cpu_system")),
        interfaces=_grown(status.interfaces, record.get("stats")),
    )


def gone(status: NetifydStatus) -> NetifydStatus:
    """``status`` when the connection has ended: what was measured is no longer so, what was counted is."""
    return NetifydStatus(interfaces=status.interfaces)


def _grown(known: Mapping[str, InterfaceCounters], stats: object) -> Mapping[str, InterfaceCounters]:
    """``known``, and what one interval adds to it."""
    if not isinstance(stats, Mapping):
        return known
    grown = dict(known)
    for key, counts in stats.items():
        name = clean(key)
        if name is None or not isinstance(counts, Mapping):
            continue
        if name not in grown and len(grown) >= _MAX_INTERFACES:
            continue
        before = grown.get(name, InterfaceCounters())
        dropped = dict(before.dropped)
        for reason, word in DROPS.items():
            if (lost := _count(counts.get(word))) is not None:
                dropped[reason] = dropped.get(reason, 0) + lost
        grown[name] = InterfaceCounters(before.packets + (_count(counts.get("raw")) or 0), dropped)
    return grown


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < _MAX_COUNT else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _MAX_COUNT else None
