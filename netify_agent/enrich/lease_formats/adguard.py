"""AdGuard Home's lease files.

`data/leases.json` (0.107.29 and later, version 1; internal/dhcpd/db.go) is an object with a list of
leases. `leases.db` of older versions is a list with other keys (internal/dhcpd/migrate.go).
"""

from __future__ import annotations

import base64
import ipaddress
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from netify_agent.enrich.identifiers import clean_ip, clean_mac, clean_name, mac_of_octets
from netify_agent.enrich.lease_formats.lease import Lease

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_STATIC = 1  # `exp` of a static lease in leases.db


def matches(content: Any) -> bool:
    """Whether decoded JSON is such a file. The old file can be an empty list."""
    if isinstance(content, dict):
        return "leases" in content
    return isinstance(content, list) and all(
        isinstance(row, dict) and {"ip", "mac"} <= row.keys() for row in content[:1]
    )


def read(content: Any) -> Iterator[Lease]:
    """Yield the leases; elements that are none are skipped."""
    old = isinstance(content, list)
    rows = content if old else content.get("leases")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and (lease := _old_lease(row) if old else _lease(row)):
            yield lease


def _lease(row: Mapping[str, Any]) -> Lease | None:
    ip = clean_ip(_text(row, "ip"))
    if ip is None:
        return None
    expires = math.inf if row.get("static") is True else _time(_text(row, "expires"))
    return Lease(ip, clean_mac(_text(row, "mac")), clean_name(_text(row, "hostname")), expires)


def _old_lease(row: Mapping[str, Any]) -> Lease | None:
    """`mac` and `ip` are octets in base64, `exp` is in seconds since the epoch."""
    try:
        address = ipaddress.ip_address(base64.b64decode(_text(row, "ip"), validate=True))
        mac = mac_of_octets(base64.b64decode(_text(row, "mac"), validate=True))
    except ValueError:
        return None
    ip = str(getattr(address, "ipv4_mapped", None) or address)
    expires = row.get("exp")
    if type(expires) is not int or not 0 <= expires < 1 << 63:
        return None
    return Lease(ip, mac, clean_name(_text(row, "host")), math.inf if expires == _STATIC else float(expires))


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _time(text: str) -> float:
    """Seconds since the epoch; 0 for what is no RFC 3339 time."""
    found = _RFC3339.fullmatch(text)
    if not found:
        return 0.0
    try:
        return max(datetime.fromisoformat(found[1] + found[2].replace("Z", "+00:00")).timestamp(), 0.0)
    except (ValueError, OverflowError):
        return 0.0
