"""The lease files of four DHCP servers, each turned into the same rows.

One reader a format, chosen by what the file says first. What is no row is skipped: these files are read
while their owners write them. Knows nothing of devices, nor which file is whose.
"""

from __future__ import annotations

import calendar
import csv
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

from netify_agent.enrich.files import MAX_LINE, lines, read_json
from netify_agent.enrich.identifiers import clean_ip, clean_mac, clean_name

#: How much of the end of a lease file is read, in bytes. ISC dhcpd and Kea append, so the end is what counts.
MAX_FILE = 16 * 1024 * 1024

#: dnsmasq built for machines without a clock writes lease lengths instead of expiry times (HAVE_BROKEN_RTC
#: in its config.h). No clock that is set shows less than this (2001), no lease lasts longer.
_OLDEST_EXPIRY = 1_000_000_000
_INFINITE_LIFETIME = 0xFFFFFFFF  # RFC 2131 section 3.3

_NUMBER = re.compile(r"\d{1,17}")
_ISC_TIME = re.compile(r"\d (\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)")
_ISC_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)", re.DOTALL)


class Lease(NamedTuple):
    """One row: who holds an address until when (seconds since the epoch; 0: no longer, inf: for ever)."""

    ip: str
    mac: str | None
    name: str | None
    expires: float


def read_leases(path: str) -> Iterator[Lease]:
    """The rows of a lease file in its order; of two rows for one address the later is true.

    :raises OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        head = _first_statement(file)
        if head.startswith(("{", "[")):
            yield from _networkd(path)
            return
        reader = _reader(head)
        start = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(max(start, end - MAX_FILE))
        if file.tell() > start:
            file.readline(MAX_LINE)
            if reader is not _kea:  # whose head names the columns; a block's belongs to what was skipped
                head = "#"
        yield from reader(head, file)


def _reader(head: str) -> Callable[[str, BinaryIO], Iterator[Lease]]:
    if head.startswith("address,") and "hostname" in head:
        return _kea
    if head[:1].isdigit() or head.startswith("duid "):
        return _dnsmasq
    return _isc


def _first_statement(file: BinaryIO) -> str:
    for line in lines(file):
        text = _text(line)
        if text and not text.startswith("#"):
            return text
    return ""


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape").strip()


def _dnsmasq(head: str, file: BinaryIO) -> Iterator[Lease]:
    """`expiry mac ip name client-id`, and for DHCPv6 `expiry iaid ip name duid` (dnsmasq 2.45 to 2.90)."""
    line = head
    while line:
        fields = line.split()
        if len(fields) >= 4 and _NUMBER.fullmatch(fields[0]) and (ip := clean_ip(fields[2])):
            expires = float(fields[0])
            name = None if fields[3] == "*" else clean_name(fields[3])
            yield Lease(ip, clean_mac(fields[1]), name, expires if expires > _OLDEST_EXPIRY else math.inf)
        line = file.readline(MAX_LINE).decode("utf-8", "surrogateescape")


def _kea(head: str, file: BinaryIO) -> Iterator[Lease]:
    """Kea's memfile of either family (csv_lease_file4.cc, csv_lease_file6.cc; Kea 1.0 to 2.6)."""
    columns = head.split(",")
    for line in lines(file):
        try:
            values = next(csv.reader([_text(line)]), [])
        except csv.Error:
            continue
        row = dict(zip(columns, values))  # noqa: B905 - columns were added over time, rows can be shorter
        # A delegated prefix (lease type 2) is no address of a host.
        if row.get("lease_type") == "2" or not (ip := clean_ip(row.get("address", ""))):
            continue
        yield Lease(
            ip, clean_mac(row.get("hwaddr", "")), clean_name(row.get("hostname", "")), _kea_expiry(row)
        )


def _kea_expiry(row: Mapping[str, str]) -> float:
    expire, lifetime = row.get("expire", ""), row.get("valid_lifetime", "")
    if row.get("state", "0") != "0" or not _NUMBER.fullmatch(expire) or not _NUMBER.fullmatch(lifetime):
        return 0.0
    if int(lifetime) == 0:  # how the memfile deletes a lease
        return 0.0
    return math.inf if int(lifetime) == _INFINITE_LIFETIME else float(expire)


def _isc(head: str, file: BinaryIO) -> Iterator[Lease]:
    """The `lease` blocks of dhcpd.leases(5); a block that never ends is still being written."""
    ip: str | None = None
    mac: str | None = None
    name: str | None = None
    ends, active = 0.0, True
    line = head
    while line:
        statement = line.strip()
        word, _, rest = statement.partition(" ")
        value = rest.rstrip(";")
        if word == "lease":
            ip, mac, name, ends, active = clean_ip(rest.rstrip("{ ")), None, None, 0.0, True
        elif ip is None:
            pass
        elif word == "}":
            yield Lease(ip, mac, name, ends if active else 0.0)
            ip = None
        elif word == "ends":
            ends = _isc_time(rest)
        elif word == "binding":
            active = value in ("state active", "state bootp")
        elif word == "hardware" and value.startswith("ethernet "):
            mac = clean_mac(value[len("ethernet ") :])
        elif word == "client-hostname":
            name = clean_name(_isc_string(value))
        line = file.readline(MAX_LINE).decode("utf-8", "surrogateescape")


def _isc_time(text: str) -> float:
    """`4 2023/01/05 22:00:00;` in UTC, `epoch 1672956000; # ...` (db-time-format local) or `never;`."""
    word, _, rest = text.partition(" ")
    if word.startswith("never"):
        return math.inf
    if word == "epoch" and (number := _NUMBER.match(rest)):
        return float(number.group())
    if found := _ISC_TIME.match(text):
        try:
            return float(calendar.timegm(tuple(map(int, found.groups()))))
        except ValueError:
            pass
    return 0.0


def _isc_string(text: str) -> str:
    """A quoted string; dhcpd writes what is not printable ASCII as a backslash and three octal digits."""
    raw = text.strip().removeprefix('"').removesuffix('"').encode("utf-8", "surrogateescape")
    plain = _ISC_ESCAPE.sub(lambda m: bytes([int(m[1], 8)]) if len(m[1]) == 3 else m[1], raw)
    return plain.decode("utf-8", "surrogateescape")


def _networkd(path: str) -> Iterator[Lease]:
    """A file of /var/lib/systemd/network/dhcp-server-lease (systemd 256 and later)."""
    try:
        content = read_json(path)
    except ValueError:
        return
    leases = content.get("Leases") if isinstance(content, dict) else None
    for lease in leases if isinstance(leases, list) else ():
        if not isinstance(lease, dict) or not (ip := _networkd_ip(lease.get("Address"))):
            continue
        name, expires = lease.get("Hostname"), lease.get("ExpirationRealtimeUSec")
        yield Lease(
            ip,
            _networkd_mac(lease),
            clean_name(name) if isinstance(name, str) else None,
            expires / 1e6 if type(expires) is int and 0 <= expires < 1 << 64 else math.inf,
        )


def _networkd_ip(address: Any) -> str | None:
    octets = _octets(address)
    return clean_ip(".".join(map(str, octets))) if len(octets) == 4 else None


def _networkd_mac(lease: Mapping[str, Any]) -> str | None:
    octets = _octets(lease.get("HardwareAddress"))
    if not octets:
        # Early 256 wrote only the client's identifier, which usually is the type 1 and the MAC
        # (RFC 2132 section 9.14).
        identifier = _octets(lease.get("ClientId"))
        octets = identifier[1:] if identifier[:1] == [1] else []
    return clean_mac(":".join(f"{octet:02x}" for octet in octets))


def _octets(value: Any) -> list[int]:
    if isinstance(value, list) and all(type(octet) is int and 0 <= octet <= 255 for octet in value):
        return value
    return []
