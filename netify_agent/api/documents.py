"""Builds the JSON documents of the API from store rows, with names from the directory. Knows no HTTP.

Bytes are whole frames as netifyd captured them, Ethernet header included (measured on netifyd 4.4.5). Rates
are bits per second over the last interval. Times are RFC 3339 in UTC, with milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from netify_agent.alerts.alert import Alert
from netify_agent.enrich import Directory
from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.changes_reader import Changes
from netify_agent.store.history_reader import Bucket
from netify_agent.store.reader import DeviceSnapshot, NetworkSnapshot
from netify_agent.store.rows import Counted, DeviceRow, UsageRow
from netify_agent.store.usage_reader import UserRow

ACTIVE_S = 60  # a device is active if its latest record is at most this old, or 4 intervals if that is longer
_EPOCH = datetime(1970, 1, 1)

Document = dict[str, Any]


def rfc3339(milliseconds: int | None) -> str | None:
    """Format a time as RFC 3339 in UTC.

    :param milliseconds: since the epoch.
    :returns: None for None, and for a time outside of the years 1 to 9999.
    """
    if milliseconds is None:
        return None
    minutes, left = divmod(milliseconds, 60_000)
    minute = _minute(minutes)
    return None if minute is None else f"{minute}{left // 1000:02d}.{left % 1000:03d}Z"


@lru_cache(maxsize=8192)  # most times of an answer are of few minutes
def _minute(minutes: int) -> str | None:
    """A minute since the epoch in RFC 3339, without its seconds; None outside of the years 1 to 9999."""
    try:
        return (_EPOCH + timedelta(minutes=minutes)).isoformat(timespec="minutes") + ":"
    except OverflowError:
        return None


class Documents:
    """Builds documents for one gateway."""

    def __init__(self, gateway: str, interval_s: int, directory: Directory) -> None:
        """``interval_s``: flush interval, seconds."""
        self._gateway = gateway
        self._interval_s = interval_s
        self._directory = directory

    def head(self, at_ms: int) -> Document:
        """The first keys of every list.

        :param at_ms: our clock at the flush that the list shows, milliseconds since the epoch; 0 for none.
        """
        return {
            "gateway": self._gateway,
            "generated_at": rfc3339(at_ms) if at_ms else None,
            "interval": self._interval_s,
        }

    def network(self, snapshot: NetworkSnapshot) -> Document:
        """``GET /`` without its devices: the gateway and its totals."""
        return {
            **self.head(snapshot.flush.at_ms),
            "totals": _counts(snapshot.gateway),
            "unattributed": snapshot.unattributed,
            "local": snapshot.mirrored,
            "forgotten": snapshot.forgotten,
            "active": sum(self.is_active(row, snapshot.flush.at_ms) for row in snapshot.devices),
        }

    def identity(self, row: DeviceRow) -> Document:
        """Addresses, name, groups and vendor of a device."""
        mac = row.name if _is_mac(row.name) else None
        ips = row.addresses if mac or row.name == OTHER_DEVICE else [row.name]
        name = self._name(row.name, ips, row.hint)
        return {
            "mac": mac,
            "ip": ips[0] if ips else None,
            "ips": ips,
            "name": name,
            "groups": self._groups(row.name, ips, name),
            "vendor": self._directory.vendor(row.name) if mac else None,
            "randomized": bool(int(mac[1], 16) & 2)
            if mac
            else None,  # locally administered (IEEE 802, 8.2.2)
        }

    def device(self, row: DeviceRow, at_ms: int, categories: Mapping[str, int]) -> Document:
        """A device with its applications, most bytes first: an element of ``GET /``.

        :param at_ms: our clock at the flush that the row shows, milliseconds since the epoch.
        :param categories: application to netifyd's category id.
        """
        return {**self.device_alone(row, at_ms), "applications": self.applications(row, categories)}

    def device_alone(self, row: DeviceRow, at_ms: int) -> Document:
        """A device without its applications; ``at_ms`` as in :meth:`device`."""
        return {
            **self.identity(row),
            "interface": row.interface,
            **_seen(row),
            "active": self.is_active(row, at_ms),
            **_counts(row),
        }

    def applications(self, row: DeviceRow, categories: Mapping[str, int]) -> list[Document]:
        """The applications of a device, most bytes first; ``categories`` as in :meth:`device`."""
        return [
            self._application(tag, categories.get(tag, 0), counted)
            for tag, counted in row.applications.items()
        ]

    def device_in_detail(self, snapshot: DeviceSnapshot) -> Document:
        """A device with its applications and protocols, most bytes first: ``GET /<mac>`` without risks."""
        row = snapshot.device
        protocols = [{"name": name, **counted.counters} for name, counted in row.protocols.items()]
        return {**self.device(row, snapshot.flush.at_ms, snapshot.categories), "protocols": protocols}

    def is_active(self, row: DeviceRow, at_ms: int) -> bool:
        """Whether the device's latest record arrived shortly before ``at_ms`` (our clock)."""
        return at_ms - row.arrived <= self.quiet_ms

    @property
    def quiet_ms(self) -> int:
        """How long an active device may be silent, in milliseconds."""
        return max(ACTIVE_S, 4 * self._interval_s) * 1000

    def changes(self, changes: Changes, *, devices: bool = True) -> Document:
        """The data of an event: the gateway's totals and, unless ``devices`` is False, changed devices."""
        flush = changes.flush
        return {
            "sequence": flush.sequence,
            "generated_at": rfc3339(flush.at_ms) if flush.at_ms else None,
            "interval": self._interval_s,
            "totals": _counts(changes.gateway),
            **(
                {"devices": [self._changed_device(row, flush.at_ms) for row in changes.devices]}
                if devices
                else {}
            ),
        }

    def _changed_device(self, row: DeviceRow, at_ms: int) -> Document:
        identity = self.identity(row)
        return {
            "device": row.name,
            **{key: identity[key] for key in ("mac", "ip", "name", "groups")},
            "active": self.is_active(row, at_ms),
            "last_seen": rfc3339(row.last_seen),
            **_counts(row),
        }

    def application(self, row: UsageRow) -> Document:
        """An application of the gateway."""
        return self._application(row.name, row.category, row)

    def application_with_users(self, row: UsageRow) -> Document:
        """An application of the gateway with its heaviest users."""
        return {**self.application(row), "devices": self.users(row.users)}

    def protocol_with_users(self, row: UsageRow) -> Document:
        """A protocol of the gateway with its heaviest users."""
        return {"name": row.name, **row.counters, "devices": self.users(row.users)}

    def category(self, row: UsageRow) -> str | None:
        """The category name of an application."""
        return self._directory.application(row.name, row.category or None)[1]

    def users(self, users: Iterable[tuple[str, int]]) -> list[Document]:
        """Devices with their bytes, up and down together."""
        return [
            {
                "device": device,
                "bytes": total,
                "name": self.device_name(device),
                "groups": self.device_groups(device),
            }
            for device, total in users
        ]

    def user(self, row: UserRow) -> Document:
        """What a device moved with one application."""
        return {
            "device": row.device,
            "name": self.device_name(row.device),
            "groups": self.device_groups(row.device),
            **_counts(row),
            **_seen(row),
        }

    def alert(self, alert: Alert) -> Document:
        """An element of ``alerts``, and the data of an event."""
        return {
            "id": alert.id,
            "alert": alert.name,
            "kind": alert.kind,
            "severity": alert.severity,
            "status": alert.status,
            "summary": alert.summary(self.device_name),
            "device": alert.device,
            "device_name": self.device_name(alert.device) if alert.device else None,
            "group": alert.group,
            "application": alert.application,
            "check": alert.check,
            "grouped": alert.grouped,
            "count": alert.count,
            "value": alert.value,
            "started_at": rfc3339(alert.started_at),
            "resolved_at": rfc3339(alert.resolved_at),
        }

    def device_name(self, device: str) -> str | None:
        """The display name of a device, looked up by its MAC address, or its IP address without a MAC."""
        return self._name(device, [], None)

    def _name(self, device: str, ips: Sequence[str], hint: str | None) -> str | None:
        return device if device == OTHER_DEVICE else self._directory.name(device, ips, hint)

    def device_groups(self, device: str) -> list[str]:
        """The groups of a device, looked up as its name in :meth:`device_name`."""
        return self._groups(device, [], self.device_name(device))

    def _groups(self, device: str, ips: Sequence[str], name: str | None) -> list[str]:
        return [] if device == OTHER_DEVICE else self._directory.groups(device, ips, name)

    def history(
        self,
        device: str | None,
        resolution_s: int,
        buckets: Sequence[Bucket],
        *,
        applications: bool,
    ) -> Document:
        """History buckets, oldest first.

        :param device: None for the gateway.
        :param resolution_s: length of a bucket, seconds.
        :param applications: whether to list the applications of each bucket.
        """
        return {
            "gateway": self._gateway,
            **({} if device is None else {"device": device}),
            "resolution": resolution_s,
            "buckets": [bucket_document(bucket, applications=applications) for bucket in buckets],
        }

    def application_head(self, tag: str, category: int) -> Document:
        """Tag, name and category of an application; ``category`` is netifyd's id, 0 for none."""
        name, category_name = self._directory.application(tag, category or None)
        return {"tag": tag, "name": name, "category": category_name}

    def _application(self, tag: str, category: int, counted: Counted) -> Document:
        return {**self.application_head(tag, category), **_counts(counted), **_seen(counted)}


def _is_mac(device: str) -> bool:
    return len(device) == 17 and device.count(":") == 5 and device[2::3] == ":::::"


def _counts(row: Counted) -> Document:
    return {**row.counters, "rate_up": row.rates[0], "rate_down": row.rates[1]}


def _seen(row: Counted) -> Document:
    return {"first_seen": rfc3339(row.first_seen), "last_seen": rfc3339(row.last_seen)}


def bucket_document(bucket: Bucket, *, applications: bool) -> Document:
    """A bucket of history; ``applications``: whether to list them."""
    volume = bucket.volume
    document: Document = {
        "start": rfc3339(bucket.start * 1000),
        "end": rfc3339(bucket.end * 1000),
        "bytes_up": volume.bytes_up,
        "bytes_down": volume.bytes_down,
        "packets_up": volume.packets_up,
        "packets_down": volume.packets_down,
    }
    if applications:
        document["applications"] = [
            {"tag": tag, "bytes_up": share.bytes_up, "bytes_down": share.bytes_down}
            for tag, share in sorted(bucket.applications.items())
            if share.bytes_up or share.bytes_down
        ]
    return document
