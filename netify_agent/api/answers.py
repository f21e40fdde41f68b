"""The documents of the API, built from the store's rows and the directory's names. No HTTP in here.

Bytes are whole frames as netifyd captured them, Ethernet header included (measured on netifyd 4.4.5);
rates are bits per second over the last interval; times are RFC 3339, UTC, milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from netify_agent.enrich import Directory
from netify_agent.store.read import ApplicationRow, Counted, DeviceRow, Picture

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


class Answers:
    """Builds documents for one gateway."""

    def __init__(self, gateway: str, interval_s: int, directory: Directory) -> None:
        """``interval_s`` is the flush interval in seconds."""
        self._gateway = gateway
        self._interval_s = interval_s
        self._directory = directory

    def network(self, picture: Picture) -> Document:
        """``GET /``: the gateway, its totals, and every device with its applications, most bytes first."""
        devices = [self.device(picture, row) for row in picture.devices]
        devices.sort(
            key=lambda device: (-device["bytes_up"] - device["bytes_down"], device["mac"] or device["ip"])
        )
        return {
            **self._head(picture.at_ms),
            "totals": _counts(picture.gateway),
            "unattributed": picture.unattributed,
            "local": picture.mirrored,
            "forgotten": picture.forgotten,
            "devices": devices,
        }

    def one_device(self, picture: Picture, row: DeviceRow) -> Document:
        """``GET /<mac>``: an element of ``devices``, with its protocols."""
        document = self.device(picture, row)
        document["protocols"] = [
            {"name": name, **counted.counters} for name, counted in row.protocols.items()
        ]
        return document

    def device(self, picture: Picture, row: DeviceRow) -> Document:
        """A device and its applications."""
        mac = row.name if _is_mac(row.name) else None
        ip = (row.addresses[0] if row.addresses else None) if mac else row.name
        ips = row.addresses if mac else [row.name]
        quiet_ms = picture.at_ms - row.arrived
        return {
            "mac": mac,
            "ip": ip,
            "ips": ips,
            "name": self._directory.name(row.name, ips, row.hint),
            "vendor": self._directory.vendor(row.name) if mac else None,
            "interface": row.interface,
            **_seen(row),
            "active": quiet_ms <= max(ACTIVE_S, 4 * self._interval_s) * 1000,
            **_counts(row),
            "applications": [
                self._application(tag, picture.categories.get(tag, 0), counted)
                for tag, counted in row.applications.items()
            ],
        }

    def applications(self, at_ms: int, rows: list[ApplicationRow]) -> Document:
        """``GET /applications``: the gateway's applications and who uses them, most bytes first."""
        return {
            **self._head(at_ms),
            "applications": [
                {
                    **self._application(row.tag, row.category, row),
                    "devices": [
                        {"device": device, "bytes": amount, "name": self._directory.name(device, [], None)}
                        for device, amount in row.users
                    ],
                }
                for row in rows
            ],
        }

    def history(
        self,
        device: str,
        resolution_s: int,
        buckets: list[tuple[int, dict[str, dict[str, int]]]],
        *,
        applications: bool,
    ) -> Document:
        """``GET /<mac>/history``: the buckets that saw traffic, oldest first."""
        return {
            "gateway": self._gateway,
            "device": device,
            "resolution": resolution_s,
            "buckets": [_bucket(start, rows, applications) for start, rows in buckets],
        }

    def _head(self, at_ms: int) -> Document:
        return {
            "gateway": self._gateway,
            "generated_at": rfc3339(at_ms) if at_ms else None,
            "interval": self._interval_s,
        }

    def _application(self, tag: str, category: int, counted: Counted) -> Document:
        name, category_name = self._directory.application(tag, category or None)
        return {"tag": tag, "name": name, "category": category_name, **_counts(counted), **_seen(counted)}


def _is_mac(device: str) -> bool:
    return len(device) == 17 and device.count(":") == 5


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
