"""Vendors of MAC addresses, from the CSV files of the ieee-data package.

The registry has 46,000 rows, a gateway some hundred devices. Therefore the registry is not kept in memory:
one scan resolves a batch of MAC addresses, and only the results are kept.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterable

from netify_agent.enrich.files import Stamp, lines, stamp
from netify_agent.enrich.identifiers import clean_mac

log = logging.getLogger(__name__)

#: The files of the registries MA-S (36 bits), IAB (36), MA-M (28) and MA-L (24); the package has them in
#: Debian 10 and later and in Ubuntu. An assignment has four bits per hex digit, whatever file it is in.
FILES = ("oui36.csv", "iab.csv", "mam.csv", "oui.csv")

#: Results kept from earlier batches, in MAC addresses.
CACHE_SIZE = 20_000

_PREFIX_DIGITS = (9, 7, 6)
#: Owners that are no vendors: registrants that asked not to be named, and the registration authority, which
#: holds the 24-bit blocks that it assigns in smaller ones.
_NOBODY = frozenset(("private", "ieee registration authority"))


class VendorRegistry:
    """The registry in `directory` (Debian and Ubuntu: /usr/share/ieee-data). Not thread-safe."""

    def __init__(self, directory: str) -> None:
        self._paths = tuple(os.path.join(directory, name) for name in FILES)
        self._stamps: tuple[Stamp | None, ...] = ()
        self._cache: dict[str, str | None] = {}

    def lookup(self, macs: Iterable[str]) -> dict[str, str | None]:
        """Return the vendor of each MAC address, None if it is unknown.

        The longest registered prefix wins. Locally administered and multicast addresses have no vendor.
        The files are read only for addresses that are not cached, and again after a change. A missing file
        is ignored; one that cannot be read is logged.
        """
        asked = list(macs)
        stamps = tuple(stamp(path) for path in self._paths)
        if stamps != self._stamps:
            self._stamps = stamps
            self._cache.clear()
        unknown = [mac for mac in asked if mac not in self._cache]
        if unknown:
            self._cache.update(self._scan(unknown))
        answers = {mac: self._cache[mac] for mac in asked}
        if len(self._cache) > CACHE_SIZE:
            self._cache = dict(answers)
        return answers

    def _scan(self, macs: list[str]) -> dict[str, str | None]:
        prefixes = {mac: _prefixes(mac) for mac in macs}
        wanted = {prefix for candidates in prefixes.values() for prefix in candidates}
        owners: dict[bytes, str | None] = {}
        if wanted:
            for path, seen in zip(self._paths, self._stamps, strict=True):
                if seen is not None:
                    _collect(path, wanted, owners)
        return {
            mac: next((owners[prefix] for prefix in candidates if prefix in owners), None)
            for mac, candidates in prefixes.items()
        }


def _prefixes(mac: str) -> tuple[bytes, ...]:
    """The prefixes to look for, longest first; none for a MAC address that no registry assigns."""
    clean = clean_mac(mac)
    if clean is None or int(clean[:2], 16) & 0x03:
        return ()
    digits = clean.replace(":", "").upper().encode()
    return tuple(digits[:length] for length in _PREFIX_DIGITS)


def _collect(path: str, wanted: set[bytes], owners: dict[bytes, str | None]) -> None:
    try:
        with open(path, "rb") as file:
            for line in lines(file):
                # Only postal addresses, the last column, span lines. Their other lines match no prefix, and
                # reading line by line keeps a damaged row from taking the rest of the file with it.
                fields = line.split(b",", 2)
                if len(fields) < 3 or (prefix := fields[1].upper()) not in wanted or prefix in owners:
                    continue
                try:
                    row = next(csv.reader([line.decode("utf-8", "replace")]))
                except csv.Error:
                    continue
                owner = " ".join(row[2].split())
                owners[prefix] = owner if owner.isprintable() and owner.lower() not in _NOBODY else None
    except OSError as error:
        log.warning("cannot read the vendor registry %s: %s", path, error.strerror)
