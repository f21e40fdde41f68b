"""The vendor of a MAC, offline, from the CSV files of the ieee-data package.

The registry has 46,000 rows; a gateway has some hundred devices. So the registry is never held: a batch
of MACs is resolved by one streaming scan and only the answers stay. Knows nothing of devices or names.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterable

from netify_agent.enrich.files import Stamp, lines, stamp
from netify_agent.enrich.identifiers import clean_mac

log = logging.getLogger(__name__)

#: The files by registry: MA-S (36 bits), IAB (36), MA-M (28), MA-L (24). The length of an assignment, not
#: the file it stands in, says how many bits it has.
FILES = ("oui36.csv", "iab.csv", "mam.csv", "oui.csv")

#: Answers kept from earlier batches, in MACs.
CACHE_SIZE = 20_000

_PREFIX_DIGITS = (9, 7, 6)
#: Owners that say nothing of who made a device: a registrant who asked not to be named, and the authority
#: itself, which owns the 24-bit blocks that it hands out in smaller pieces.
_NOBODY = frozenset(("private", "ieee registration authority"))


class VendorRegistry:
    """The registry in `directory` (Debian and Ubuntu: /usr/share/ieee-data). Not thread-safe."""

    def __init__(self, directory: str) -> None:
        self._paths = tuple(os.path.join(directory, name) for name in FILES)
        self._stamps: tuple[Stamp | None, ...] = ()
        self._cache: dict[str, str | None] = {}

    def lookup(self, macs: Iterable[str]) -> dict[str, str | None]:
        """The vendor of each MAC, None where nobody is known to have made it.

        The longest registered prefix wins. Locally administered and multicast addresses have no vendor.
        Reads the files only for MACs not asked about before, or again once a file changed; a missing or
        broken file costs its answers and is no error.
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
    """The prefixes to look for, longest first; none for a MAC that no registry can know."""
    clean = clean_mac(mac)
    if clean is None or int(clean[:2], 16) & 0x03:
        return ()
    digits = clean.replace(":", "").upper().encode()
    return tuple(digits[:length] for length in _PREFIX_DIGITS)


def _collect(path: str, wanted: set[bytes], owners: dict[bytes, str | None]) -> None:
    try:
        with open(path, "rb") as file:
            for line in lines(file):
                # An address can span lines; its continuation is a line like any other that matches nothing.
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
        log.warning("cannot read vendor registry %s: %s", path, error.strerror)
