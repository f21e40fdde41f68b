"""Bounds the IP addresses of a device: the oldest addresses of a family are removed.

Redis can trim a sorted set only by rank, regardless of the family, so the set is read before the flush.
"""

from __future__ import annotations

from collections.abc import Mapping

from netify_agent.accounting.batch import MAX_IPV4, MAX_IPV6, DeviceNote
from netify_agent.store.client import Client
from netify_agent.store.layout import Keys


def surplus(client: Client, keys: Keys, notes: Mapping[str, DeviceNote]) -> dict[str, list[str]]:
    """Return the addresses to remove once those of ``notes`` are stored, by device."""
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
        if oldest := _oldest(seen):
            found[device] = oldest
    return found


def _oldest(seen: Mapping[str, int]) -> list[str]:
    """Return the addresses beyond the bounds; ``seen``: netifyd's clock, milliseconds since the epoch."""
    latest_first = sorted(seen, key=lambda ip: (seen[ip], ip), reverse=True)
    ipv4 = [ip for ip in latest_first if ":" not in ip]
    ipv6 = [ip for ip in latest_first if ":" in ip]
    return ipv4[MAX_IPV4:] + ipv6[MAX_IPV6:]
