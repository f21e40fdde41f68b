"""Rows as plain data, and their decoding from Redis' replies. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from netify_agent.store.layout import COUNTER_NAMES, COUNTERS, FIRST_SEEN, LAST_SEEN

Rates = tuple[int, int]  #: bits per second up and down
AT_REST: Rates = (0, 0)


@dataclass
class Counted:
    """The counters of a row.

    :ivar counters: ``bytes_up``, ``bytes_down``, ``packets_up``, ``packets_down``, ``flows``.
    :ivar rates: bit/s up and down, averaged over the last interval.
    :ivar first_seen: netifyd's clock, milliseconds since the epoch; None if unknown.
    :ivar last_seen: the same for the last packet.
    """

    counters: dict[str, int]
    rates: Rates = AT_REST
    first_seen: int | None = None
    last_seen: int | None = None

    @property
    def total_bytes(self) -> int:
        """Bytes up and down together."""
        return self.counters["bytes_up"] + self.counters["bytes_down"]


@dataclass
class DeviceRow(Counted):
    """A device.

    :ivar name: its MAC address, or its IP address if it has no MAC.
    :ivar interface: interface where netifyd last saw it.
    :ivar hint: the name that the device announces over DHCP or mDNS.
    :ivar addresses: its IP addresses, latest first; empty if not read.
    :ivar arrived: arrival of its latest record, agent's clock, ms since the epoch; 0 for an unknown device.
    :ivar application_rates: bits per second up and down of each application that moved bytes.
    :ivar applications: its applications, most bytes first; empty if not read.
    :ivar protocols: its protocols, most bytes first; empty if not read.
    """

    name: str = ""
    interface: str | None = None
    hint: str | None = None
    addresses: list[str] = field(default_factory=list)
    arrived: int = 0
    application_rates: dict[str, Rates] = field(default_factory=dict)
    applications: dict[str, Counted] = field(default_factory=dict)
    protocols: dict[str, Counted] = field(default_factory=dict)


@dataclass
class UsageRow(Counted):
    """An application or a protocol of the gateway.

    :ivar category: netifyd's category id; 0 if it has none, and for a protocol.
    :ivar users: devices with their bytes up and down together, most bytes first; empty if not read.
    """

    name: str = ""
    category: int = 0
    users: list[tuple[str, int]] = field(default_factory=list)


def counters_of(fields: dict[str, str]) -> dict[str, int]:
    """The five counters of a hash; a missing field is 0."""
    return {name: int(fields.get(code, 0)) for code, name in COUNTER_NAMES.items()}


def time_of(value: str | None) -> int | None:
    """Milliseconds since the epoch, or None."""
    return int(value) if value else None


def by_name(fields: dict[str, str]) -> dict[str, dict[str, int]]:
    """Group fields ``code:name`` into counters by name; a bare ``code`` belongs to the empty name."""
    rows: dict[str, dict[str, int]] = {}
    for name, value in fields.items():
        code, _, owner = name.partition(":")
        rows.setdefault(owner, {})[COUNTER_NAMES.get(code, code)] = int(value)
    return rows


def rows_of(fields: dict[str, str], rates: dict[str, Rates]) -> dict[str, Counted]:
    """Rows by name, most bytes first. Rows whose counters are all 0 after a reclassification are left out.

    ``GET /`` of a large network spends much of its time here, so each field is looked up once.
    """
    rows = []
    for name in {key[_PREFIX:] for key in fields}:
        up, down, packets_up, packets_down, flows, first, last = map(fields.get, _fields_of(name))
        counters = {
            "bytes_up": int(up or 0),
            "bytes_down": int(down or 0),
            "packets_up": int(packets_up or 0),
            "packets_down": int(packets_down or 0),
            "flows": int(flows or 0),
        }
        if any(counters.values()):
            row = Counted(counters, rates.get(name, AT_REST), time_of(first), time_of(last))
            rows.append((-counters["bytes_up"] - counters["bytes_down"], name, row))
    rows.sort()
    return {name: row for _, name, row in rows}


_PREFIX = len("bu:")  # every code has two letters


@lru_cache(maxsize=4096)
def _fields_of(name: str) -> tuple[str, ...]:
    """The fields of a row: its counters, then its two times."""
    return tuple(f"{code}:{name}" for code in (*COUNTERS, FIRST_SEEN, LAST_SEEN))


def categories_of(fields: dict[str, str]) -> dict[str, int]:
    """Application to netifyd's category id."""
    return {tag: int(category) for tag, category in fields.items()}


def decode_rates(text: str | None) -> tuple[Rates, dict[str, Rates]]:
    """Rates of a device or the gateway: its own, and those of its applications by tag."""
    if not text:
        return AT_REST, {}
    total: Any
    total, rows = json.loads(text)
    return (total[0], total[1]), {tag: (pair[0], pair[1]) for tag, pair in rows.items()}
