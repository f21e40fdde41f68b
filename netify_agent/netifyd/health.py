"""The state of a netifyd process as ``/status`` and ``/metrics`` show it: its health and its packet counters.

No I/O, and nothing about flows. :mod:`netify_agent.netifyd.agent_status` reads the records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from netify_agent.netifyd.agent_status import MAX_INTERFACES, PacketCounts, read_agent_status, read_packets

#: Types of record that :func:`updated` takes. ``interface_stats`` is v5's.
STATUS_TYPES = frozenset(("agent_status", "interface_stats"))


@dataclass(frozen=True)
class InterfaceCounters:
    """Packets of one interface since its first report to the agent.

    :ivar packets: packets captured.
    :ivar dropped: packets lost, by the keys of :data:`~netify_agent.netifyd.agent_status.DROPS`; causes that
        netifyd never reported are missing.
    """

    packets: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class NetifydStatus:
    """The latest state of a netifyd; None where it is unknown or netifyd is not connected.

    :ivar uptime_s: seconds since its start.
    :ivar flows: number of tracked flows.
    :ivar memory_bytes: resident memory, or its peak where only that is reported (4.x).
    :ivar cpu_user_s: CPU time in user mode, seconds; :ivar cpu_system_s: the same in kernel mode.
    :ivar interfaces: sums by interface name. They survive a disconnection.
    """

    uptime_s: int | None = None
    flows: int | None = None
    memory_bytes: int | None = None
    cpu_user_s: float | None = None
    cpu_system_s: float | None = None
    interfaces: Mapping[str, InterfaceCounters] = field(default_factory=dict)


def updated(status: NetifydStatus, record: Mapping[str, Any]) -> NetifydStatus:
    """Return ``status`` updated with ``record``, whose type is one of :data:`STATUS_TYPES`.

    The packet counters of a record cover one interval (measured on 4.4.5: ``raw`` was 4561, 8942 and 5081 in
    three consecutive reports), so they are added up.
    """
    interfaces = _added(status.interfaces, read_packets(record))
    if record["type"] == "interface_stats":
        return replace(status, interfaces=interfaces)
    report = read_agent_status(record)
    return NetifydStatus(
        report.uptime_s,
        report.flows,
        report.memory_bytes,
        report.cpu_user_s,
        report.cpu_system_s,
        interfaces,
    )


def disconnected(status: NetifydStatus) -> NetifydStatus:
    """Return ``status`` after the end of the connection: only the packet sums remain."""
    return NetifydStatus(interfaces=status.interfaces)


def _added(
    sums: Mapping[str, InterfaceCounters], packets: Mapping[str, PacketCounts]
) -> Mapping[str, InterfaceCounters]:
    """Return ``sums`` plus the packets of one interval. New interfaces beyond the limit are ignored."""
    result = dict(sums)
    for name, counts in packets.items():
        if name not in result and len(result) >= MAX_INTERFACES:
            continue
        before = result.get(name, InterfaceCounters())
        dropped = dict(before.dropped)
        for cause, lost in counts.dropped.items():
            dropped[cause] = dropped.get(cause, 0) + lost
        result[name] = InterfaceCounters(before.packets + counts.captured, dropped)
    return result
