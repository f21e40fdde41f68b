"""What is read from the store, as plain rows, and how its hashes become them. No Redis in here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from netify_agent.store.layout import COUNTER_NAMES, FIRST_SEEN, LAST_SEEN

Rates = tuple[int, int]
AT_REST: Rates = (0, 0)


@dataclass
class Counted:
    """Counters of a row.

    :ivar counters: ``bytes_up``, ``bytes_down``, ``packets_up``, ``packets_down``, ``flows``.
    :ivar rates: bits per second up and down over the last interval.
    :ivar first_seen: netifyd's clock, milliseconds since the epoch; None unknown.
    """

    counters: dict[str, int]
    rates: Rates = AT_REST
    first_seen: int | None = None
    last_seen: int | None = None


@dataclass
class DeviceRow(Counted):
    """A device. ``arrived`` is our own clock at its latest record, milliseconds since the epoch."""

    name: str = ""
    interface: str | None = None
    hint: str | None = None
    addresses: list[str] = field(default_factory=list)
    arrived: int = 0
    applications: dict[str, Counted] = field(default_factory=dict)
    protocols: dict[str, Counted] = field(default_factory=dict)


@dataclass
class Devices:
    """Devices as the store held them after flush ``sequence``, taken at ``at_ms`` (our clock, ms).

    :ivar categories: application to netifyd's category id.
    """

    sequence: int
    at_ms: int
    categories: dict[str, int]
    devices: list[DeviceRow]


@dataclass
class NetworkSnapshot(Devices):
    """The devices, the gateway, and what stands beside them in its sum."""

    gateway: Counted
    unattributed: dict[str, int]
    mirrored: dict[str, int]
    forgotten: dict[str, int]


@dataclass
class UsedRow(Counted):
    """An application or a protocol of the gateway.

    :ivar category: netifyd's category id; 0 none, and for a protocol.
    :ivar users: (device, bytes up and down), most bytes first.
    """

    name: str = ""
    category: int = 0
    users: list[tuple[str, int]] = field(default_factory=list)


def counters_of(fields: dict[str, str]) -> dict[str, int]:
    """The five counters of a hash; what it lacks is 0."""
    return {name: int(fields.get(code, 0)) for code, name in COUNTER_NAMES.items()}


def time_of(value: str | None) -> int | None:
    """Milliseconds since the epoch, or None."""
    return int(value) if value else None


def by_name(fields: dict[str, str]) -> dict[str, dict[str, int]]:
    """Fields ``code:name`` to counters by name; a bare ``code`` is of the empty name."""
    rows: dict[str, dict[str, int]] = {}
    for name, value in fields.items():
        code, _, owner = name.partition(":")
        rows.setdefault(owner, {})[COUNTER_NAMES.get(code, code)] = int(value)
    return rows


def rows_of(fields: dict[str, str], rates: dict[str, Rates]) -> dict[str, Counted]:
    """Rows by name, most bytes first; a row whose every byte and flow has moved away is none."""
    rows = []
    for name, values in by_name(fields).items():
        counters = {counter: values.get(counter, 0) for counter in COUNTER_NAMES.values()}
        if any(counters.values()):
            first, last = values.get(FIRST_SEEN), values.get(LAST_SEEN)
            rows.append((name, Counted(counters, rates.get(name, AT_REST), first, last)))
    rows.sort(key=lambda item: (-item[1].counters["bytes_up"] - item[1].counters["bytes_down"], item[0]))
    return dict(rows)


def decode_rates(text: str | None) -> tuple[Rates, dict[str, Rates]]:
    """Of a device, or of the gateway: its own rates, and those of its applications."""
    if not text:
        return AT_REST, {}
    total: Any
    total, rows = json.loads(text)
    return (total[0], total[1]), {tag: (pair[0], pair[1]) for tag, pair in rows.items()}
