"""Names, groups and vendors of a gateway's devices: as it sends them, and as a collector answers with them.

They come from files of the gateway and from its configuration, so that a collector can't find them itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from netify_agent.enrich import Directory
from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.replica_source import Seen


class _Entry(NamedTuple):
    name: str | None
    groups: tuple[str, ...]
    vendor: str | None


def encode(directory: Directory, devices: Mapping[str, Seen]) -> dict[str, str]:
    """Device to its name, groups and vendor in JSON; devices without any of them are left out."""
    found = {}
    for device, seen in devices.items():
        if device == OTHER_DEVICE:
            continue
        has_mac = len(device) == 17
        ips = seen.ips if has_mac else (device,)
        name = directory.name(device, ips, seen.hint)
        groups, vendor = directory.groups(device, ips, name), directory.vendor(device) if has_mac else None
        if name or groups or vendor:
            found[device] = json.dumps((name, groups, vendor), ensure_ascii=False, separators=(",", ":"))
    return found


class CopiedDirectory(Directory):
    """Answers for one gateway with what :func:`encode` said of its devices."""

    def __init__(self, groups: Sequence[str], applications: Directory) -> None:
        """Know no device yet.

        :param groups: names of all groups, in order.
        :param applications: answers for applications.
        """
        super().__init__(vendors="", hosts=(), leases=(), reverse_dns=False, categories="", arp="")
        self._group_names = tuple(groups)
        self._applications = applications
        self._entries: dict[str, _Entry] = {}

    def load(self, texts: Mapping[str, str]) -> None:
        """Replace what is known of devices. What is not the result of :func:`encode` is left out."""
        entries = {}
        for device, text in texts.items():
            try:
                name, groups, vendor = json.loads(text)
                fitting = isinstance(groups, list) and all(isinstance(one, str) for one in groups)
                fitting = fitting and all(one is None or isinstance(one, str) for one in (name, vendor))
            except (ValueError, TypeError, RecursionError):
                fitting = False
            if fitting:
                entries[device] = _Entry(name, tuple(groups), vendor)
        if entries != self._entries:
            self._entries = entries
            self._generation += 1

    def name(self, device: str, ips: Sequence[str], hint: str | None) -> str | None:
        """The name that the gateway shows."""
        entry = self._entries.get(device)
        return entry.name if entry else None

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names of all groups, in the order of the gateway's configuration."""
        return self._group_names

    def groups(self, device: str, ips: Sequence[str], name: str | None) -> list[str]:
        """The groups that the gateway shows."""
        entry = self._entries.get(device)
        return list(entry.groups) if entry else []

    def members(self, group: str) -> list[str]:
        """The devices in a group."""
        return [device for device, entry in self._entries.items() if group in entry.groups]

    def vendor(self, device: str) -> str | None:
        """The vendor that the gateway shows."""
        entry = self._entries.get(device)
        return entry.vendor if entry else None

    def application(self, tag: str, category_id: int | None) -> tuple[str, str | None]:
        """The names of an application and of its category."""
        return self._applications.application(tag, category_id)
