"""The lease files of systemd-networkd's DHCP server (systemd 256 and later).

They are JSON files in /var/lib/systemd/network/dhcp-server-lease, one per interface.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from netify_agent.enrich.identifiers import clean_ip, clean_name, mac_of_client_id, mac_of_octets
from netify_agent.enrich.lease_formats.lease import Lease


def matches(content: Any) -> bool:
    """Whether decoded JSON is such a file. Without any lease it has no `Leases`."""
    return isinstance(content, dict) and ("Leases" in content or "BootID" in content)


def read(content: Mapping[str, Any]) -> Iterator[Lease]:
    """Yield the leases; elements that are none are skipped."""
    leases = content.get("Leases")
    for lease in leases if isinstance(leases, list) else ():
        if not isinstance(lease, dict):
            continue
        address = _octets(lease.get("Address"))
        ip = clean_ip(".".join(map(str, address))) if len(address) == 4 else None
        if ip is None:
            continue
        name, expires = lease.get("Hostname"), lease.get("ExpirationRealtimeUSec")
        yield Lease(
            ip,
            # systemd 256 wrote no hardware address at first, and later zeros after a restart.
            mac_of_octets(_octets(lease.get("HardwareAddress")))
            or mac_of_client_id(_octets(lease.get("ClientId"))),
            clean_name(name) if isinstance(name, str) else None,
            expires / 1e6 if type(expires) is int and 0 <= expires < 1 << 64 else math.inf,
        )


def _octets(value: Any) -> bytes:
    if isinstance(value, list) and all(type(octet) is int and 0 <= octet <= 255 for octet in value):
        return bytes(value)
    return b""
