"""Kea's memfile lease files of DHCPv4 and DHCPv6 (csv_lease_file4.cc, csv_lease_file6.cc; Kea 1.0 to 3.0).

The file is a journal: Kea appends a row for each change, and the last row of an address is current. Kea
writes no quotes; a double quote is an ordinary character (csv_file.cc).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from netify_agent.enrich.files import decode, lines
from netify_agent.enrich.identifiers import clean_ip, clean_mac, clean_name, mac_of_client_id, mac_of_duid
from netify_agent.enrich.lease_formats.lease import NUMBER, Lease

#: Suffixes of the files that Kea's lease file clean-up (LFC) puts beside the lease file. At its start Kea
#: reads `.completed` if it exists, otherwise `.2` and then `.1`; the lease file itself comes last
#: (Memfile_LeaseMgr::loadLeasesFromFiles).
COMPLETED = ".completed"
PREVIOUS = ".2"
INPUT = ".1"
#: Suffixes of files of the clean-up that Kea does not read at its start: the unfinished result, the PID.
WORK_FILES = (".output", ".pid")

_COLUMNS = {
    4: "address hwaddr client_id valid_lifetime expire subnet_id fqdn_fwd fqdn_rev hostname state"
    " user_context pool_id",
    6: "address duid valid_lifetime expire subnet_id pref_lifetime lease_type iaid prefix_len fqdn_fwd"
    " fqdn_rev hostname hwaddr state user_context hwtype hwaddr_source pool_id",
}
_VALID_STATES = ("0", "4")  # default and registered (RFC 9686); not declined, reclaimed or released
_DELEGATED_PREFIX = "2"
_ETHERNET = "1"
_INFINITE_LIFETIME = 0xFFFFFFFF  # RFC 2131 section 3.3
_ESCAPE = re.compile(rb"&#x(?P<hex>[0-9A-Fa-f]{2})|&#(?P<decimal>44|38|[0-9]{1,3}(?=;));?")


def matches(line: str) -> bool:
    """Whether a line is the header of a lease file."""
    columns = line.split(",")
    return columns[0] == "address" and "hostname" in columns


def read(head: str, file: BinaryIO) -> Iterator[Lease]:
    """Yield the leases of the rows that follow; `head` is the header.

    As in Kea, a row that lacks a column up to the host name or has a malformed number is skipped. So is
    the last row while it is being written.
    """
    header = head.split(",")
    columns = header
    for known in (names.split() for names in _COLUMNS.values()):
        # Newer versions append columns, and can append such rows to a file with an older header.
        if header == known[: len(header)]:
            columns = known
    fewest = header.index("hostname") + 1
    for line in lines(file):
        values = decode(line).split(",")
        if len(values) < (fewest if line.endswith(b"\n") else len(header)):
            continue
        if lease := _lease(dict(zip(columns, values))):  # noqa: B905 - rows differ in length
            yield lease


def _lease(row: Mapping[str, str]) -> Lease | None:
    ip, expires = clean_ip(row["address"]), _expiry(row)
    if ip is None or expires is None or row.get("lease_type") == _DELEGATED_PREFIX:
        return None
    return Lease(ip, _mac(row), clean_name(_unescape(row["hostname"])), expires)


def _expiry(row: Mapping[str, str]) -> float | None:
    """Seconds since the epoch, 0 for a lease that has ended; None if the row is broken."""
    expire, lifetime, state = row.get("expire", ""), row.get("valid_lifetime", ""), row.get("state") or "0"
    if not all(NUMBER.fullmatch(number) for number in (expire, lifetime, state)):
        return None
    if state not in _VALID_STATES or int(lifetime) == 0:  # a lifetime of 0 deletes the lease
        return 0.0
    return math.inf if int(lifetime) == _INFINITE_LIFETIME else float(expire)


def _mac(row: Mapping[str, str]) -> str | None:
    """The hardware address, or else the one that the client's identifier contains."""
    if row.get("hwaddr"):
        return clean_mac(row["hwaddr"])
    if row.get("hwtype") not in (None, "", "0", _ETHERNET):
        return None
    return mac_of_client_id(_octets(row.get("client_id", ""))) or mac_of_duid(_octets(row.get("duid", "")))


def _octets(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace(":", ""))
    except ValueError:
        return b""


def _unescape(text: str) -> str:
    """Undo CSVRow::escapeCharacters: ``&#x`` and two hex digits stand for one byte.

    Older versions of Kea escape only the comma and the ampersand, newer ones also every byte outside 0x20 to
    0x7e. The decimal form (``&#44`` for the comma, ``&#38`` for the ampersand) is understood too.
    """

    def byte(found: re.Match[bytes]) -> bytes:
        code = int(found["hex"], 16) if found["hex"] else int(found["decimal"])
        return bytes([code]) if code < 256 else found[0]

    raw = text.encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(byte, raw).decode("utf-8", "surrogateescape")
