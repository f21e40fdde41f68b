"""Which IP addresses of a device make room for later ones: the oldest of the same family.

Redis trims a sorted set by rank alone, which knows no families. So the set is read before the flush.
"""

from __future__ import annotations

from collections.abc import Mapping

from netify_agent.accounting.batch import MAX_IPV4, MAX_IPV6, DeviceNote
from netify_agent.store.client import Client
from netify_agent.store.layout import Keys


def surplus(client: Client, keys: Keys, notes: Mapping[str, DeviceNote]) -> dict[str, list[str]]:
    """Addresses that have no room once those of ``notes`` are stored, by device."""
    devices = [device for device, note in notes.items() if note.addresses]
    if not devices:
        return {}
    with client.pipeline(transaction=False) as pipe:
        for device in devices:
            pipe.zrange(keys.addresses(device), 0, -1, withscores=True)
        stored = pipe.execute()
    found = {}
    for device, pairs in zip(devices, stored, strict=True):
        seen = {ip: int(score) for ip, score in pairs}
        for ip, at in notes[device].addresses.items():
            seen[ip] = at or seen.get(ip, 0)
        if gone := _oldest(seen):
            found[device] = gone
    return found


def _oldest(seen: Mapping[str, int]) -> list[str]:
    """Those past the bounds; ``seen`` is in netifyd's ms."""
    latest_first = sorted(seen, key=lambda ip: (seen[ip], ip), reverse=True)
    ipv4 = [ip for ip in latest_first if ":" not in ip]
    ipv6 = [ip for ip in latest_first if ":" in ip]
    return ipv4[MAX_IPV4:] + ipv6[MAX_IPV6:]
