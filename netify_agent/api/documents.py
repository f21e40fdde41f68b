"""The documents of the API, built from the store's rows and the directory's names. No HTTP in here.

Bytes are whole frames as netifyd captured them, Ethernet header included (measured on netifyd 4.4.5);
rates are bits per second over the last interval; times are RFC 3339, UTC, milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from netify_agent.enrich import Directory
from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.network_summary import NetworkSummary
from netify_agent.store.rows import Counted, DeviceRow, Devices, NetworkSnapshot, UsedRow
from netify_agent.store.usage_reader import User

ACTIVE_S = 60  # a device is active while its latest record is no older than this, or than 4 intervals

Document = dict[str, Any]


def rfc3339(milliseconds: int | None) -> str | None:
    """``milliseconds`` since the epoch as RFC 3339 in UTC; None for None and for what no calendar holds."""
    if milliseconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(milliseconds // 1000, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


class Documents:
    """Builds documents for one gateway."""

    def __init__(self, gateway: str, interval_s: int, directory: Directory) -> None:
        """``interval_s`` is the flush interval in seconds."""
        self._gateway = gateway
        self._interval_s = interval_s
        self._directory = directory

    def head(self, at_ms: int) -> Document:
        """What every list begins with; ``at_ms`` is our clock at the flush that it shows, 0 for none."""
        return {
            "gateway": self._gateway,
            "generated_at": rfc3339(at_ms) if at_ms else None,
            "interval": self._interval_s,
        }

    def network(self, snapshot: NetworkSnapshot) -> Document:
        """The gateway, and its totals: ``GET /`` without its devices."""
        return {
            **self.head(snapshot.at_ms),
            "totals": _counts(snapshot.gateway),
            "unattributed": snapshot.unattributed,
            "local": snapshot.mirrored,
            "forgotten": snapshot.forgotten,
        }

    def identity(self, row: DeviceRow) -> Document:
        """Who a device is."""
        mac = row.name if _is_mac(row.name) else None
        ips = row.addresses if mac or row.name == OTHER_DEVICE else [row.name]
        return {
            "mac": mac,
            "ip": ips[0] if ips else None,
            "ips": ips,
            "name": self._name(row.name, ips, row.hint),
            "vendor": self._directory.vendor(row.name) if mac else None,
            "randomized": bool(int(mac[1], 16) & 2)
            if mac
            else None,  # locally administered (IEEE 802, 8.2.2)
        }

    def device(self, found: Devices, row: DeviceRow) -> Document:
        """A device and its applications, most bytes first."""
        return {
            **self.identity(row),
            "interface": row.interface,
            **_seen(row),
            "active": self.is_active(found, row),
            **_counts(row),
            "applications": [
                self._application(tag, found.categories.get(tag, 0), counted)
                for tag, counted in row.applications.items()
            ],
        }

    def one_device(self, found: Devices, row: DeviceRow) -> Document:
        """A device with its protocols beside, most bytes first."""
        protocols = [{"name": name, **counted.counters} for name, counted in row.protocols.items()]
        return {**self.device(found, row), "protocols": protocols}

    def is_active(self, found: Devices, row: DeviceRow) -> bool:
        """Whether a record came for the device not long before the flush."""
        return found.at_ms - row.arrived <= self.quiet_ms

    @property
    def quiet_ms(self) -> int:
        """How long an active device may be silent, in milliseconds."""
        return max(ACTIVE_S, 4 * self._interval_s) * 1000

    def changes(self, summary: NetworkSummary) -> Document:
        """What is new of some devices, and of the gateway."""
        return {
            "sequence": summary.sequence,
            "generated_at": rfc3339(summary.at_ms) if summary.at_ms else None,
            "interval": self._interval_s,
            "totals": _counts(summary.gateway),
            "devices": [self._change(summary, row) for row in summary.devices],
        }

    def _change(self, summary: NetworkSummary, row: DeviceRow) -> Document:
        who = self.identity(row)
        return {
            "device": row.name,
            **{key: who[key] for key in ("mac", "ip", "name")},
            "active": self.is_active(summary, row),
            "last_seen": rfc3339(row.last_seen),
            **_counts(row),
        }

    def application(self, row: UsedRow) -> Document:
        """An application of the gateway."""
        return self._application(row.name, row.category, row)

    def used_application(self, row: UsedRow) -> Document:
        """The same with who uses it."""
        return {**self.application(row), "devices": self.users(row.users)}

    def protocol(self, row: UsedRow) -> Document:
        """A protocol of the gateway with who uses it."""
        return {"name": row.name, **row.counters, "devices": self.users(row.users)}

    def category(self, row: UsedRow) -> str | None:
        """The name of the category of an application."""
        return self._directory.application(row.name, row.category or None)[1]

    def users(self, pairs: Iterable[tuple[str, int]]) -> list[Document]:
        """Devices and their bytes up and down together."""
        return [
            {"device": device, "bytes": amount, "name": self.device_name(device)} for device, amount in pairs
        ]

    def user(self, row: User) -> Document:
        """A device as one application sees it."""
        return {
            "device": row.device,
            "name": self.device_name(row.device),
            **_counts(row),
            **_seen(row),
        }

    def device_name(self, device: str) -> str | None:
        """What a device is called, by the store's name of it."""
        return self._name(device, [], None)

    def _name(self, device: str, ips: Sequence[str], hint: str | None) -> str | None:
        return device if device == OTHER_DEVICE else self._directory.name(device, ips, hint)

    def history(
        self,
        device: str | None,
        resolution_s: int,
        buckets: list[tuple[int, dict[str, dict[str, int]]]],
        *,
        applications: bool,
    ) -> Document:
        """The buckets that saw traffic, oldest first; of the gateway where ``device`` is None."""
        return {
            "gateway": self._gateway,
            **({} if device is None else {"device": device}),
            "resolution": resolution_s,
            "buckets": [_bucket(start, rows, applications) for start, rows in buckets],
        }

    def _application(self, tag: str, category: int, counted: Counted) -> Document:
        name, category_name = self._directory.application(tag, category or None)
        return {"tag": tag, "name": name, "category": category_name, **_counts(counted), **_seen(counted)}


def _is_mac(device: str) -> bool:
    return len(device) == 17 and device.count(":") == 5 and device[2::3] == ":::::"


def volume(row: Counted) -> int:
    """Bytes up and down."""
    return row.counters["bytes_up"] + row.counters["bytes_down"]


def _counts(row: Counted) -> Document:
    return {**row.counters, "rate_up": row.rates[0], "rate_down": row.rates[1]}


def _seen(row: Counted) -> Document:
    return {"first_seen": rfc3339(row.first_seen), "last_seen": rfc3339(row.last_seen)}


def _bucket(start: int, rows: Mapping[str, dict[str, int]], applications: bool) -> Document:
    total = rows.get("", {})
    document: Document = {"start": rfc3339(start * 1000)}
    for name in ("bytes_up", "bytes_down", "packets_up", "packets_down"):
        document[name] = total.get(name, 0)
    if applications:
        document["applications"] = [
            {"tag": tag, "bytes_up": row.get("bytes_up", 0), "bytes_down": row.get("bytes_down", 0)}
            for tag, row in sorted(rows.items())
            if tag and any(row.values())
        ]
    return document
