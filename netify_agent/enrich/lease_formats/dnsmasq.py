"""dnsmasq's lease file (dnsmasq 2.45 to 2.90)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import BinaryIO

from netify_agent.enrich.files import decode, lines
from netify_agent.enrich.identifiers import clean_ip, clean_mac, clean_name
from netify_agent.enrich.lease_formats.lease import NUMBER, Lease

#: dnsmasq built for machines without a clock writes lease lengths instead of expiry times (HAVE_BROKEN_RTC
#: in its config.h). A clock that is set shows more than this (2001), and no lease lasts longer.
_OLDEST_EXPIRY = 1_000_000_000


def matches(line: str) -> bool:
    """Whether a line can stand in such a file: a lease, or `duid` and the server's DUID."""
    return line.startswith("duid ") or _lease(line) is not None


def read(head: str, file: BinaryIO) -> Iterator[Lease]:
    """Yield the leases of the lines that follow; other lines are skipped."""
    for line in lines(file):
        if lease := _lease(decode(line)):
            yield lease


def _lease(line: str) -> Lease | None:
    """`expiry mac ip name client-id`; for DHCPv6 `expiry iaid ip name duid`."""
    fields = line.split()
    if len(fields) < 4 or not NUMBER.fullmatch(fields[0]) or not (ip := clean_ip(fields[2])):
        return None
    expires = float(fields[0])
    return Lease(
        ip, clean_mac(fields[1]), clean_name(fields[3]), expires if expires > _OLDEST_EXPIRY else math.inf
    )
