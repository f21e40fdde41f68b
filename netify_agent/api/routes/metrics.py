"""``/metrics``: the network's traffic, and how the agent is doing, in Prometheus' text format.

Few series, whatever the network: the heaviest devices and applications one by one, the rest as one. A
Redis that is away costs what it holds, not the answer.
"""

from __future__ import annotations

import gzip
import threading
import time

from netify_agent.api.exposition import CONTENT_TYPE, Exposition, Labels, Value
from netify_agent.api.http.negotiation import takes_gzip
from netify_agent.api.http.response_cache import COMPRESSED_FROM, GZIP_LEVEL
from netify_agent.api.http.route import VARY, Reply, Request, Route
from netify_agent.api.services import Services
from netify_agent.store.client import StoreError
from netify_agent.store.network_summary import NetworkSummaryReader, Traffic
from netify_agent.store.rows import Counted, DeviceRow

_DIRECTIONS = ("up", "down")
#: The accounting's own counters: metric, and what it counts.
_ACCOUNTING = {
    "bytes_missed": ("missed_bytes", "Bytes that only the totals of their flows prove, in no interval."),
    "packets_missed": ("missed_packets", "Packets that only the totals of their flows prove."),
    "bytes_before": ("before_bytes", "Bytes of flows from before we came, which are not counted."),
    "packets_before": ("before_packets", "Packets of flows from before we came, which are not counted."),
    "records_repeated": ("repeated_records", "Records that only repeat what is known."),
    "records_contradictory": ("contradictory_records", "Records whose interval and total do not agree."),
    "netifyd_restarts": ("netifyd_restarts", "Restarts of netifyd that were noticed."),
    "flows_evicted": ("evicted_flows", "Flows let go for want of room (max_flows)."),
    "flows_folded": ("folded_flows", "Flows of devices that had no room, counted as 'other'."),
    "flows_expired": ("expired_flows", "Flows let go without their end."),
}

_Sample = tuple[Labels, Value]


def routes(services: Services) -> list[Route]:
    """The path of a scrape."""
    metrics = Metrics(services)

    def answer(request: Request) -> Reply:
        body = metrics.body()
        headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", "Vary": VARY}
        if len(body) >= COMPRESSED_FROM and takes_gzip(request.environ.get("HTTP_ACCEPT_ENCODING", "")):
            return Reply(gzip.compress(body, GZIP_LEVEL), headers={**headers, "Content-Encoding": "gzip"})
        return Reply(body, headers=headers)

    return [
        Route(
            "/metrics",
            "metrics",
            "All figures in Prometheus' text format 0.0.4, also while Redis is away.",
            answer,
            media_type="text/plain",
        )
    ]


class Metrics:
    """Answers scrapes. The network's part is read and written once a flush, whoever scrapes how often."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._reader = NetworkSummaryReader(services.reader)
        self._known: tuple[tuple[int, int], bytes] = ((-1, 0), b"")
        self._told: dict[tuple[str, str, str], int] = {}
        self._flows = 0  # as told: two entries that turn out to be one flow take one away
        self._making = threading.Lock()

    def body(self) -> bytes:
        """One scrape's answer."""
        network = b""
        out = Exposition()
        began = time.monotonic()
        up = True
        try:
            sequence = self._reader.sequence()
            took = time.monotonic() - began
            with self._making:
                network = self._network(sequence)
            out.single(
                "netify_agent_redis_ping_seconds", "gauge", "How long Redis took to answer.", round(took, 6)
            )
        except StoreError:
            up = False
        out.single("netify_agent_redis_up", "gauge", "Whether Redis answers.", int(up))
        self._services.vitals(out, up)
        return network + out.body()

    def _network(self, sequence: int) -> bytes:
        """What the store holds after flush ``sequence``. Raises StoreError.

        Nothing, while a Redis that came back older is still being given what it lost: counters that go
        back and forth would be counted twice by who takes a smaller value for a new beginning.
        """
        flushed = self._services.flushes.latest
        if flushed is not None and sequence < flushed.sequence:
            return b""
        state = (sequence, self._services.directory.generation)
        known, body = self._known
        if known != state:
            out = Exposition()
            limits = self._services.settings.metrics
            traffic = self._reader.traffic(limits.devices, self._services.documents.quiet_ms)
            if sequence < known[0]:
                self._told, self._flows = {}, 0  # Redis lost it for good, and counts on from there
            _gateway(traffic, out)
            self._flows = max(traffic.gateway.counters["flows"], self._flows)
            out.single("netify_flows_total", "counter", "Flows through the gateway.", self._flows)
            self._devices(traffic, out)
            _applications(traffic, limits.applications, out)
            _accounting(traffic, out)
            body = out.body()
            self._known = (state, body)
        return body

    def _devices(self, traffic: Traffic, out: Exposition) -> None:
        devices = traffic.devices
        out.family(
            "netify_device_info",
            "gauge",
            "Who a device is; its other metrics go by its MAC address, or its IP address without one.",
            [(self._identity(row), 1) for row in devices],
        )
        before, self._told = self._told, {}
        for unit in ("bytes", "packets"):
            samples: list[_Sample] = []
            for row in devices:
                for direction in _DIRECTIONS:
                    key = (row.name, unit, direction)
                    # A flow that turns out to be another device's takes its bytes along: a counter waits
                    # until it has caught up, instead of going back.
                    count = max(row.counters[f"{unit}_{direction}"], before.get(key, 0))
                    self._told[key] = count
                    samples.append(({"device": row.name, "direction": direction}, count))
            out.family(f"netify_device_{unit}_total", "counter", f"{unit.capitalize()} of a device.", samples)
        out.family(
            "netify_device_rate_bytes_per_second",
            "gauge",
            "Rate of a device over the last interval.",
            [sample for row in devices for sample in _rates(row, {"device": row.name})],
        )
        out.family(
            "netify_other_devices_bytes",
            "gauge",
            "Bytes of all devices that are not told one by one.",
            _by_direction(traffic.of_all_devices, "bytes", [row.counters for row in devices]),
        )

    def _identity(self, row: DeviceRow) -> Labels:
        told = self._services.documents.identity(row)
        return {"device": row.name, "name": told["name"], "vendor": told["vendor"], "ip": told["ip"]}


def _gateway(traffic: Traffic, out: Exposition) -> None:
    gateway = traffic.gateway
    for unit in ("bytes", "packets"):
        out.family(
            f"netify_{unit}_total",
            "counter",
            f"{unit.capitalize()} through the gateway, each flow once.",
            _by_direction(gateway.counters, unit),
        )
    out.family("netify_rate_bytes_per_second", "gauge", "Rate over the last interval.", _rates(gateway, {}))
    out.single("netify_devices", "gauge", "Devices known.", traffic.known)
    out.single("netify_devices_active", "gauge", "Devices seen lately, as /<mac> tells.", traffic.active)


def _applications(traffic: Traffic, limit: int, out: Exposition) -> None:
    """Gauges, as their bytes move away where netifyd comes to know better."""
    rows = list(traffic.applications.items())
    shown, others = rows[:limit], rows[limit:]
    out.family(
        "netify_application_bytes",
        "gauge",
        "Bytes of an application so far; fewer when netifyd finds that a flow was another's.",
        [
            ({"application": tag, **labels}, value)
            for tag, row in shown
            for labels, value in _by_direction(row.counters, "bytes")
        ],
    )
    out.family(
        "netify_application_rate_bytes_per_second",
        "gauge",
        "Rate of an application over the last interval.",
        [sample for tag, row in shown for sample in _rates(row, {"application": tag})],
    )
    out.family(
        "netify_other_applications_bytes",
        "gauge",
        "Bytes of all applications that are not told one by one.",
        [
            ({"direction": direction}, sum(row.counters[f"bytes_{direction}"] for _, row in others))
            for direction in _DIRECTIONS
        ],
    )


def _accounting(traffic: Traffic, out: Exposition) -> None:
    for counter, (name, told) in _ACCOUNTING.items():
        out.single(f"netify_agent_{name}_total", "counter", told, traffic.counters.get(counter, 0))


def _by_direction(
    counters: dict[str, int], unit: str, without: list[dict[str, int]] | None = None
) -> list[_Sample]:
    """A counter up and down, less those of ``without``."""
    return [
        (
            {"direction": direction},
            counters[name] - sum(other[name] for other in without or ()),
        )
        for direction in _DIRECTIONS
        for name in (f"{unit}_{direction}",)
    ]


def _rates(row: Counted, labels: Labels) -> list[_Sample]:
    """The store has bits per second; Prometheus' base unit is the byte."""
    return [
        ({**labels, "direction": direction}, bits / 8)
        for direction, bits in zip(_DIRECTIONS, row.rates, strict=True)
    ]
