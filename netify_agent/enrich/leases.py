"""Host names from what the gateway already knows: DHCP leases and hosts(5) files.

Turns files into two small tables, by MAC and by address, and tells when they changed. Which of several
names a device gets is not decided here but by its caller.
"""

from __future__ import annotations

import glob
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from netify_agent.enrich.files import Stamp, lines, stamp
from netify_agent.enrich.identifiers import clean_ip, clean_name, is_host_address
from netify_agent.enrich.lease_formats import Lease, read_leases

log = logging.getLogger(__name__)

#: Addresses remembered of one file; more are in no network that one gateway serves.
MAX_ADDRESSES = 50_000

#: How much of a hosts file is read, in bytes.
MAX_HOSTS_FILE = 16 * 1024 * 1024

_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Names:
    """Host names by lower-case MAC and by address (RFC 5952 spelling), and the MAC of each leased address.

    `expires_at` is when the first of the leases behind them ends, in seconds since the epoch.
    """

    by_mac: dict[str, str] = field(default_factory=dict)
    by_ip: dict[str, str] = field(default_factory=dict)
    expires_at: float = math.inf
    owners: dict[str, str] = field(default_factory=dict, compare=False)


class NameFiles:
    """The names of a set of files: `hosts` are paths of hosts(5) files, `leases` glob patterns.

    An address's lease goes before its line in a hosts file, an earlier file before a later one. Read by one
    thread; `names` may be used by any.
    """

    def __init__(self, *, hosts: Sequence[str], leases: Sequence[str]) -> None:
        self.names = Names()
        self._hosts = tuple(hosts)
        self._leases = tuple(leases)
        self._stamps: dict[str, Stamp] = {}
        self._unreadable: set[str] = set()

    def refresh(self, now: float) -> bool:
        """Reads the files again if one of them changed or a lease ended; tells whether any name did.

        `now` is in seconds since the epoch. A file that cannot be read costs its names and one warning.
        """
        leases = tuple(dict.fromkeys(path for pattern in self._leases for path in sorted(glob.glob(pattern))))
        stamps = {path: found for path in leases + self._hosts if (found := stamp(path)) is not None}
        if stamps == self._stamps and now < self.names.expires_at:
            return False
        self._stamps = stamps
        by_mac: dict[str, str] = {}
        by_ip: dict[str, str] = {}
        owners: dict[str, str] = {}
        expires_at = math.inf
        for path in leases:
            in_file: dict[str, str] = {}
            for lease in self._try(path, _current_leases):
                if lease.expires <= now:
                    continue
                if lease.mac is not None:
                    owners.setdefault(lease.ip, lease.mac)
                if lease.name is None:
                    continue
                expires_at = min(expires_at, lease.expires)
                by_ip.setdefault(lease.ip, lease.name)
                if lease.mac is not None:
                    in_file[lease.mac] = lease.name
            by_mac = in_file | by_mac
        for path in self._hosts:
            for ip, name in self._try(path, _read_hosts):
                by_ip.setdefault(ip, name)
        before, self.names = self.names, Names(by_mac, by_ip, expires_at, owners)
        return (before.by_mac, before.by_ip) != (by_mac, by_ip)

    def _try(self, path: str, read: Callable[[str], list[_Row]]) -> list[_Row]:
        if path not in self._stamps:
            return []
        try:
            rows = read(path)
        except OSError as error:
            if path not in self._unreadable:
                log.warning("cannot read %s: %s; the names in it stay unknown", path, error.strerror)
                self._unreadable.add(path)
            return []
        self._unreadable.discard(path)
        return rows


def _current_leases(path: str) -> list[Lease]:
    """The last row of each address, in the order in which those rows stand."""
    latest: dict[str, Lease] = {}
    for lease in read_leases(path):
        if latest.pop(lease.ip, None) is not None or len(latest) < MAX_ADDRESSES:
            latest[lease.ip] = lease
    return list(latest.values())


def _read_hosts(path: str) -> list[tuple[str, str]]:
    """Address and canonical name of each line of hosts(5) that names another host than this one."""
    rows: list[tuple[str, str]] = []
    with open(path, "rb") as file:
        for line in lines(file):
            fields = line.decode("utf-8", "surrogateescape").partition("#")[0].split()
            if len(fields) >= 2:
                ip, name = clean_ip(fields[0]), clean_name(fields[1])
                if ip and name and is_host_address(ip):
                    rows.append((ip, name))
            if file.tell() > MAX_HOSTS_FILE or len(rows) >= MAX_ADDRESSES:
                break
    return rows
