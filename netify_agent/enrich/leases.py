"""Host names by MAC address and by IP address, from lease files, ethers(5) and hosts(5).

Which of several names a device gets is decided in `directory`.
"""

from __future__ import annotations

import glob
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from netify_agent.enrich.files import FileLimits, Stamp, stamp
from netify_agent.enrich.identifiers import clean_ip
from netify_agent.enrich.lease_formats import KNOWN, Lease, UnknownFormat, is_kea, kea, read_leases
from netify_agent.enrich.static_files import read_ethers, read_hosts

log = logging.getLogger(__name__)

#: How often files are read that change while they are read. The next refresh reads them again.
_ATTEMPTS = 2

_Row = TypeVar("_Row")

_DEFAULT_LIMITS = FileLimits()
_KEA_SUFFIXES = (kea.COMPLETED, kea.PREVIOUS, kea.INPUT)


@dataclass(frozen=True)
class Names:
    """Host names by lower-case MAC address and by IP address (RFC 5952 spelling),
    and the MAC address of each leased address.

    :ivar expires_at: when the first of the leases behind them ends, in seconds since the epoch.
    """

    by_mac: dict[str, str] = field(default_factory=dict)
    by_ip: dict[str, str] = field(default_factory=dict)
    expires_at: float = math.inf
    owners: dict[str, str] = field(default_factory=dict, compare=False)


class NameFiles:
    """The names in a set of files.

    A MAC address gets its name from ethers(5), else from a lease; an IP address from a lease, else from
    hosts(5). An earlier file takes precedence over a later one. One thread calls `refresh`; any thread may
    use `names`.
    """

    def __init__(
        self,
        *,
        hosts: Sequence[str],
        leases: Sequence[str],
        ethers: Sequence[str] = (),
        limits: FileLimits = _DEFAULT_LIMITS,
    ) -> None:
        """`hosts` and `ethers` are paths, `leases` are glob patterns. Any of these files may be missing.

        The files that Kea's lease file clean-up puts beside a lease file are found without being named.
        """
        self.names = Names()
        self._hosts = tuple(hosts)
        self._ethers = tuple(ethers)
        self._leases = tuple(leases)
        self._limits = limits
        self._stamps: dict[str, Stamp] = {}
        self._complaints: dict[str, str] = {}

    def refresh(self, now: float) -> bool:
        """Read the files again if one of them changed or a lease ended.

        A file that cannot be read or has an unknown format is logged once, and again when the reason
        changes.

        :param now: seconds since the epoch.
        :returns: whether a name changed.
        """
        leases = self._lease_files()
        stamps = self._stamp(leases)
        if stamps == self._stamps and now < self.names.expires_at:
            return False
        self._complaints = {path: text for path, text in self._complaints.items() if path in stamps}
        for _ in range(_ATTEMPTS):
            self._stamps = stamps
            names = self._read(leases, now)
            stamps = self._stamp(leases)
            if stamps == self._stamps:
                break  # no file was renamed or written in the meantime
        before, self.names = self.names, names
        return (before.by_mac, before.by_ip) != (names.by_mac, names.by_ip)

    def _stamp(self, leases: list[str]) -> dict[str, Stamp]:
        beside = (path + suffix for path in leases for suffix in _KEA_SUFFIXES)
        watched = (*leases, *beside, *self._hosts, *self._ethers)
        return {path: found for path in watched if (found := stamp(path)) is not None}

    def _lease_files(self) -> list[str]:
        """The paths of the lease files. One without wildcards need not exist, as Kea can have renamed it."""
        paths: dict[str, None] = {}
        for pattern in self._leases:
            literal = glob.escape(pattern) == pattern
            paths.update(dict.fromkeys([pattern] if literal else sorted(glob.glob(pattern))))
        return list(paths)

    def _read(self, leases: list[str], now: float) -> Names:
        leased: dict[str, str] = {}
        by_ip: dict[str, str] = {}
        owners: dict[str, str] = {}
        expires_at = math.inf
        for path in leases:
            if self._belongs_to_another(path, leases):
                continue
            in_file: dict[str, str] = {}
            for lease in self._current_leases(path, now):
                expires_at = min(expires_at, lease.expires)
                if lease.mac is not None:
                    owners.setdefault(lease.ip, lease.mac)
                if lease.name is None:
                    continue
                by_ip.setdefault(lease.ip, lease.name)
                if lease.mac is not None:
                    in_file[lease.mac] = lease.name
            leased = in_file | leased
        hosts: dict[str, str] = {}
        for path in self._hosts:
            for ip, name in islice(self._rows(path, read_hosts), self._limits.max_addresses):
                hosts.setdefault(ip, name)
        fixed: dict[str, str] = {}
        for path in self._ethers:
            for mac, host in islice(self._rows(path, read_ethers), self._limits.max_addresses):
                # An IP address refers to its line in a hosts file.
                if found := hosts.get(host) if clean_ip(host) else host:
                    fixed.setdefault(mac, found)
        return Names(leased | fixed, hosts | by_ip, expires_at, owners)

    def _current_leases(self, path: str, now: float) -> list[Lease]:
        """The leases that have not ended, in the order of their last rows."""
        latest: dict[str, Lease] = {}
        for member in self._journal(path):
            for lease in self._rows(member, read_leases):
                latest.pop(lease.ip, None)
                if lease.expires > now and len(latest) < self._limits.max_addresses:
                    latest[lease.ip] = lease
        return list(latest.values())

    def _journal(self, path: str) -> list[str]:
        """The files that hold the leases of `path`, oldest first, in the order in which Kea reads them."""
        if not self._is_kea_journal(path):
            return [path]
        completed = path + kea.COMPLETED
        older = [completed] if completed in self._stamps else [path + kea.PREVIOUS, path + kea.INPUT]
        return [*older, path]

    def _is_kea_journal(self, path: str) -> bool:
        # A file that is missing or empty has just been renamed, if there is one of the clean-up.
        candidates = (path, *(path + suffix for suffix in _KEA_SUFFIXES))
        present = (is_kea(candidate) for candidate in candidates if candidate in self._stamps)
        return next((found for found in present if found is not None), False)

    def _belongs_to_another(self, path: str, paths: Sequence[str]) -> bool:
        """Whether a path is a file of the clean-up of a Kea lease file among `paths`."""
        for suffix in (*_KEA_SUFFIXES, *kea.WORK_FILES):
            base = path.removesuffix(suffix)
            if base != path and base in paths and self._is_kea_journal(base):
                return True
        return False

    def _rows(self, path: str, read: Callable[[str, int], Iterator[_Row]]) -> Iterator[_Row]:
        """The rows of a file, none if it is missing. Errors are logged once."""
        if path not in self._stamps:
            return
        complaint = ""
        try:
            yield from read(path, self._limits.max_bytes)
        except OSError as error:
            complaint = f"cannot read {path}: {error.strerror}; names in it are not used"
        except UnknownFormat as error:
            complaint = f"unknown format of {path}: it starts with {error.found}; known formats: {KNOWN}"
        except ValueError as error:
            complaint = f"cannot read {path}: {error}; names in it are not used"
        if complaint and complaint != self._complaints.get(path):
            log.warning("%s", complaint)
        self._complaints[path] = complaint
