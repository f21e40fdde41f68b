"""``/metrics``: the network's traffic and the agent's own state, in Prometheus' text format.

The number of series is bounded: the heaviest devices and applications have their own, the others are summed
up. Without Redis, only the metrics that come from Redis are missing.
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
from netify_agent.store.metrics_reader import MetricsReader, Traffic
from netify_agent.store.rows import Counted, DeviceRow

_DIRECTIONS = ("up", "down")
#: The accounting's own counters: metric and help text.
_ACCOUNTING = {
    "bytes_missed": ("missed_bytes", "Bytes found only in the totals of flows, in no interval record."),
    "packets_missed": ("missed_packets", "Packets found only in the totals of flows, in no interval record."),
    "bytes_before": ("before_bytes", "Bytes from before the agent started, not counted."),
    "packets_before": ("before_packets", "Packets from before the agent started, not counted."),
    "records_repeated": ("repeated_records", "Records that repeat an earlier one."),
    "records_contradictory": (
        "contradictory_records",
        "Records whose interval and total counters contradict each other.",
    ),
    "netifyd_restarts": ("netifyd_restarts", "Detected restarts of netifyd."),
    "flows_evicted": ("evicted_flows", "Flows dropped because the flow table was full (max_flows)."),
    "flows_folded": ("folded_flows", "Flows of devices without a row of their own, counted as 'other'."),
    "flows_expired": ("expired_flows", "Flows dropped without an end record."),
}

_Sample = tuple[Labels, Value]


def routes(services: Services) -> list[Route]:
    """The route of metrics."""
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
            "Metrics in Prometheus' text format 0.0.4, also without Redis.",
            answer,
            media_type="text/plain",
            any_query=True,
        )
    ]


class Metrics:
    """Answers scrapes. The network's part is read and written once per flush, however often it is scraped."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._documents = services.documents
        self._reader = MetricsReader(services.reader)
        self._lock = threading.Lock()  # guards what follows
        self._text: tuple[tuple[int, int], bytes] = ((-1, 0), b"")  # sequence and generation, and their text
        self._reported: dict[tuple[str, str, str], int] = {}  # device, unit, direction: value last reported
        self._flows = 0  # as last reported

    def body(self) -> bytes:
        """The body of one scrape."""
        network = b""
        out = Exposition()
        started = time.monotonic()
        redis_up = True
        try:
            sequence = self._services.reader.last_flush().sequence
            took_s = time.monotonic() - started
            with self._lock:
                network = self._network(sequence)
            out.single(
                "netify_agent_redis_ping_seconds", "gauge", "How long Redis took to answer.", round(took_s, 6)
            )
        except StoreError:
            redis_up = False
        out.single("netify_agent_redis_up", "gauge", "Whether Redis answers.", int(redis_up))
        self._services.add_agent_metrics(out, redis_up)
        return network + out.body()

    def _network(self, sequence: int) -> bytes:
        """The network's metrics after flush ``sequence``. Raises StoreError.

        Empty while flushes are being applied again to a Redis that came back with older data. Otherwise
        counters would fall and rise again, and Prometheus would count the difference twice.
        """
        latest = self._services.flush_log.latest
        if latest is not None and sequence < latest.sequence:
            return b""
        state = (sequence, self._services.directory.generation)
        text_state, text = self._text
        if text_state != state:
            out = Exposition()
            limits = self._services.settings.metrics
            traffic = self._reader.traffic(limits.devices, self._documents.quiet_ms)
            if sequence < text_state[0]:
                # Redis lost flushes for good. Its counters are valid, although they fell.
                self._reported, self._flows = {}, 0
            _gateway(traffic, out)
            # If two entries turn out to be one flow, the store counts one less; a counter must not fall.
            self._flows = max(traffic.gateway.counters["flows"], self._flows)
            out.single("netify_flows_total", "counter", "Flows through the gateway.", self._flows)
            self._devices(traffic, out)
            _applications(traffic, limits.applications, out)
            _accounting(traffic, out)
            text = out.body()
            self._text = (state, text)
        return text

    def _devices(self, traffic: Traffic, out: Exposition) -> None:
        devices = traffic.devices
        out.family(
            "netify_device_info",
            "gauge",
            "Identity of a device. The label device is its MAC address, or its IP address without a MAC.",
            [(self._identity(row), 1) for row in devices],
        )
        out.family(
            "netify_device_group",
            "gauge",
            "A group that a device is in; one series for each of its groups.",
            [
                ({"device": row.name, "group": group}, 1)
                for row in devices
                for group in self._documents.identity(row)["groups"]
            ],
        )
        before, self._reported = self._reported, {}
        for unit in ("bytes", "packets"):
            samples: list[_Sample] = []
            for row in devices:
                for direction in _DIRECTIONS:
                    key = (row.name, unit, direction)
                    # If a flow turns out to be another device's, its bytes move there. The counter then
                    # stands still until the device has moved as many bytes again: it must not fall.
                    count = max(row.counters[f"{unit}_{direction}"], before.get(key, 0))
                    self._reported[key] = count
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
            "Bytes of all devices without series of their own.",
            _by_direction(traffic.of_all_devices, "bytes", [row.counters for row in devices]),
        )

    def _identity(self, row: DeviceRow) -> Labels:
        identity = self._documents.identity(row)
        return {"device": row.name, **{key: identity[key] for key in ("name", "vendor", "ip")}}


def _gateway(traffic: Traffic, out: Exposition) -> None:
    gateway = traffic.gateway
    for unit in ("bytes", "packets"):
        out.family(
            f"netify_{unit}_total",
            "counter",
            f"{unit.capitalize()} through the gateway, each flow once.",
            _by_direction(gateway.counters, unit),
        )
    out.family(
        "netify_left_out_bytes",
        "gauge",
        "Bytes captured at interfaces that do not count.",
        _by_direction(traffic.left_out, "bytes"),
    )
    out.family("netify_rate_bytes_per_second", "gauge", "Rate over the last interval.", _rates(gateway, {}))
    out.single("netify_devices", "gauge", "Known devices.", traffic.known)
    out.single("netify_devices_active", "gauge", "Active devices.", traffic.active)


def _applications(traffic: Traffic, limit: int, out: Exposition) -> None:
    """Gauges, not counters: bytes move to another application when netifyd reclassifies a flow."""
    rows = list(traffic.applications.items())
    shown, others = rows[:limit], rows[limit:]
    out.family(
        "netify_application_bytes",
        "gauge",
        "Bytes of an application. Falls when netifyd reclassifies a flow.",
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
        "Bytes of all applications without series of their own.",
        [
            ({"direction": direction}, sum(row.counters[f"bytes_{direction}"] for _, row in others))
            for direction in _DIRECTIONS
        ],
    )


def _accounting(traffic: Traffic, out: Exposition) -> None:
    for counter, (name, help_text) in _ACCOUNTING.items():
        out.single(f"netify_agent_{name}_total", "counter", help_text, traffic.counters.get(counter, 0))


def _by_direction(
    counters: dict[str, int], unit: str, without: list[dict[str, int]] | None = None
) -> list[_Sample]:
    """Both directions of a counter, minus the same counter of each of ``without``."""
    return [
        (
            {"direction": direction},
            counters[name] - sum(other[name] for other in without or ()),
        )
        for direction in _DIRECTIONS
        for name in (f"{unit}_{direction}",)
    ]


def _rates(row: Counted, labels: Labels) -> list[_Sample]:
    """Both directions of a row's rate, converted from bits to Prometheus' base unit, bytes."""
    return [
        ({**labels, "direction": direction}, bits / 8)
        for direction, bits in zip(_DIRECTIONS, row.rates, strict=True)
    ]
