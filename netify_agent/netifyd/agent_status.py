"""Reads ``agent_status`` records, and v5's ``interface_stats``, ``interfaces`` and ``endpoints`` records.

Only this module knows the fields of these records. A field may be missing or of any type; an unusable value
is treated as missing. Field names are those of netifyd 4.4.5 unless noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from netify_agent.netifyd.flow_record import clean, device_id, host_address, short_text, timestamp

#: Causes of packet loss, with netifyd's field for each: the kernel's ring buffer, netifyd's queue, libpcap.
DROPS = {"capture": "capture_dropped", "queue": "queue_dropped", "pcap": "pcap_drop"}
MAX_INTERFACES = 64

_MAX_UPTIME_S = 1 << 42
_MAX_COUNT = 1 << 53  # above, Prometheus' 64-bit floats are no longer exact
_MAX_INTERFACE_ADDRESSES = 64
_MAX_ADDRESSES = 64  # read of a MAC address


class Interface(NamedTuple):
    """An interface that netifyd captures at.

    :ivar role: ``lan`` or ``wan``; None for anything else.
    :ivar addresses: its IP addresses, in lower case.
    """

    role: str | None
    addresses: tuple[str, ...]


class PacketCounts(NamedTuple):
    """Packets of one interface in one report interval.

    :ivar captured: packets captured; 0 if unknown.
    :ivar dropped: packets lost, by the keys of :data:`DROPS`; causes that are not reported are missing.
    """

    captured: int
    dropped: Mapping[str, int]


class AgentStatus(NamedTuple):
    """The state of the netifyd process.

    :ivar uptime_s: seconds since the start of netifyd; None if unknown.
    :ivar clock_ms: netifyd's clock, milliseconds since the epoch; 0 if unknown.
    :ivar flows: number of tracked flows; None if unknown.
    :ivar memory_bytes: resident memory, or its peak where only that is reported (4.x); None if unknown.
    :ivar cpu_user_s: CPU time in user mode since the start, seconds; None if unknown.
    :ivar cpu_system_s: the same in kernel mode.
    """

    uptime_s: int | None
    clock_ms: int
    flows: int | None
    memory_bytes: int | None
    cpu_user_s: float | None
    cpu_system_s: float | None

    @property
    def start_ms(self) -> int:
        """Start of the process, milliseconds since the epoch; :attr:`clock_ms` if the uptime is unknown."""
        return self.clock_ms - (self.uptime_s or 0) * 1000


def read_agent_status(record: Mapping[str, Any]) -> AgentStatus:
    """Read an ``agent_status`` of netifyd 3, 4 or 5."""
    memory_kb = _count(record.get("memrss_kb"))
    if memory_kb is None:
        memory_kb = _count(record.get("maxrss_kb"))
    return AgentStatus(
        _count(record.get("uptime"), _MAX_UPTIME_S),
        timestamp(record.get("timestamp")) * 1000,
        _count(record.get("flow_count")),
        None if memory_kb is None else memory_kb * 1024,  # getrusage(2) and procfs: units of 1024 bytes
        _seconds(record.get("cpu_user")),
        _seconds(record.get("cpu_system")),
    )


def read_packets(record: Mapping[str, Any]) -> dict[str, PacketCounts]:
    """Read packets by interface: ``stats`` of v4's ``agent_status``, or v5's record ``interface_stats``."""
    stats = record.get("stats") if record["type"] == "agent_status" else record
    found: dict[str, PacketCounts] = {}
    if not isinstance(stats, Mapping):
        return found
    for key, counts in stats.items():
        name = clean(key)
        if name is None or not isinstance(counts, Mapping):
            continue
        dropped = {
            cause: lost for cause, field in DROPS.items() if (lost := _count(counts.get(field))) is not None
        }
        found[name] = PacketCounts(_count(counts.get("raw")) or 0, dropped)
    return found


def read_interfaces(record: Mapping[str, Any]) -> dict[str, Interface]:
    """Read interfaces by name: ``interfaces`` of v4's ``agent_status``, or v5's record of that type."""
    interfaces = record.get("interfaces") if record["type"] == "agent_status" else record
    found: dict[str, Interface] = {}
    if not isinstance(interfaces, Mapping):
        return found
    for key, about in interfaces.items():
        name = clean(key)
        if name is None or not isinstance(about, Mapping) or len(found) >= MAX_INTERFACES:
            continue
        role = short_text(about.get("role"))
        addresses = about.get("addr")
        found[name] = Interface(
            role.lower() if role is not None and role.lower() in ("lan", "wan") else None,
            tuple(
                address
                for text in (addresses[:_MAX_INTERFACE_ADDRESSES] if isinstance(addresses, list) else ())
                if (address := device_id(None, short_text(text))) is not None
            ),
        )
    return found


def read_neighbours(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """Read the IP addresses of MAC addresses: ``devices`` of ``agent_status``, or a v5 ``endpoints`` record.

    :returns: devices and addresses in canonical form, without group addresses; at most 64 addresses a device.
    """
    devices = record.get("devices") if record["type"] == "agent_status" else record
    neighbours: dict[str, list[str]] = {}
    if not isinstance(devices, Mapping):
        return neighbours
    for mac, texts in devices.items():
        device = device_id(short_text(mac), None)
        if device is None or not isinstance(texts, list):
            continue
        addresses = neighbours.setdefault(device, [])
        for text in texts[:_MAX_ADDRESSES]:
            address = host_address(short_text(text))
            if address is not None:
                addresses.append(address)
    return neighbours


def _count(value: object, limit: int = _MAX_COUNT) -> int | None:
    return value if type(value) is int and 0 <= value < limit else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _MAX_COUNT else None
