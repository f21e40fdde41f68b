"""Reads netifyd's ``agent_status`` record, and the ``interfaces`` and ``endpoints`` records of v5.

The one place that knows their fields. Records in, plain data out; every field may be missing or of any type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from netify_agent.netifyd.flow_record import clean, device_id, short_text, timestamp

_MAX_INTERFACES = 64
_MAX_INTERFACE_ADDRESSES = 64


class Interface(NamedTuple):
    """An interface that netifyd captures at.

    :ivar role: ``lan`` or ``wan``; None for anything else.
    :ivar addresses: its IP addresses, in lower case.
    """

    role: str | None
    addresses: tuple[str, ...]


class AgentStatus(NamedTuple):
    """What an ``agent_status`` says of netifyd's process.

    :ivar uptime_s: seconds since its start; 0 if unknown.
    :ivar clock_ms: netifyd's clock, milliseconds since the epoch; 0 if unknown.
    :ivar tracks_no_flow: it says that it tracks no flow.
    :ivar interfaces: by name; empty if it does not say (v5).
    """

    uptime_s: int
    clock_ms: int
    tracks_no_flow: bool
    interfaces: Mapping[str, Interface]


def read_agent_status(record: Mapping[str, Any]) -> AgentStatus:
    """Read an ``agent_status`` of netifyd 3, 4 or 5."""
    return AgentStatus(
        timestamp(record.get("uptime")),
        timestamp(record.get("timestamp")) * 1000,
        record.get("flow_count") == 0,
        read_interfaces(record.get("interfaces")),
    )


def read_interfaces(interfaces: object) -> dict[str, Interface]:
    """Read interfaces by name: ``interfaces`` of v4's ``agent_status``, or v5's record of that type."""
    found: dict[str, Interface] = {}
    if not isinstance(interfaces, Mapping):
        return found
    for key, about in interfaces.items():
        name = clean(key)
        if name is None or not isinstance(about, Mapping) or len(found) >= _MAX_INTERFACES:
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


def read_neighbours(record: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Read MAC to unchecked IP addresses: ``devices`` of ``agent_status``, or v5's ``endpoints`` record."""
    devices = record.get("devices") if record["type"] == "agent_status" else record
    if not isinstance(devices, Mapping):
        return {}
    return {mac: ips for mac, ips in devices.items() if isinstance(mac, str) and isinstance(ips, list)}
