"""``/metrics`` of a fleet, in Prometheus' text format: a few series for each gateway."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence

from netify_agent.api.exposition import CONTENT_TYPE, Exposition
from netify_agent.api.http.negotiation import takes_gzip
from netify_agent.api.http.response_cache import COMPRESSED_FROM, GZIP_LEVEL
from netify_agent.api.http.route import VARY, Reply, Request, Route
from netify_agent.fleet.overview import NEW, ONLINE, STATES, Row, View
from netify_agent.fleet.summary import Summary

MAX_GATEWAYS = 5000  # with series of their own, the first by name
_DIRECTIONS = ("up", "down")


def route(view: View) -> Route:
    """The route of metrics."""

    def answer(request: Request) -> Reply:
        view.last_flush()
        body = exposition(view.rows)
        headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", "Vary": VARY}
        if len(body) >= COMPRESSED_FROM and takes_gzip(request.environ.get("HTTP_ACCEPT_ENCODING", "")):
            return Reply(gzip.compress(body, GZIP_LEVEL), headers={**headers, "Content-Encoding": "gzip"})
        return Reply(body, headers=headers)

    return Route(
        "/metrics",
        "metrics",
        f"Metrics of the first {MAX_GATEWAYS:,} gateways by name, in Prometheus' text format 0.0.4.",
        answer,
        media_type="text/plain",
        any_query=True,
    )


def exposition(rows: Sequence[Row]) -> bytes:
    """The body of a scrape; ``rows``: the gateways that the token may see."""
    out = Exposition()
    counts = {state: sum(row.state == state for row in rows) for state in STATES}
    out.family(
        "netify_gateways",
        "gauge",
        "Gateways by state.",
        [({"state": state}, count) for state, count in counts.items()],
    )
    shown = rows[:MAX_GATEWAYS]
    out.single(
        "netify_gateways_without_series",
        "gauge",
        "Gateways that have no series because there are too many.",
        len(rows) - len(shown),
    )
    out.family(
        "netify_gateway_up",
        "gauge",
        "Whether messages come from a gateway: 0 if it is silent. Absent before its first message.",
        [({"gateway": row.gateway}, int(row.state == ONLINE)) for row in shown if row.state != NEW],
    )
    known = [(row, row.summary) for row in shown if row.summary is not None]
    out.family(
        "netify_gateway_info",
        "gauge",
        "Version of the agent of a gateway.",
        [({"gateway": row.gateway, "version": one.version}, 1) for row, one in known],
    )
    _single(
        *(out, known, "last_contact_timestamp_seconds", "Time of the latest message, the collector's clock."),
        lambda one: one.received / 1000,
    )
    _single(out, known, "clock_skew_seconds", "How far the clock is ahead of ours.", lambda one: one.skew_s)
    _single(out, known, "devices", "Known devices.", lambda one: one.devices)
    _single(
        *(out, known, "plan_used_ratio", "Used part of the plan of which the largest part is used."),
        lambda one: one.plan and one.plan.share,
    )
    out.family(
        "netify_gateway_alerts",
        "gauge",
        "Alerts of a gateway that fire.",
        [
            ({"gateway": row.gateway, "severity": severity}, count)
            for row, one in known
            for severity, count in one.firing.items()
        ],
    )
    for unit in ("bytes", "packets"):
        out.family(
            f"netify_gateway_{unit}_total",
            "counter",
            f"{unit.capitalize()} through a gateway, each flow once.",
            [
                ({"gateway": row.gateway, "direction": direction}, one.counters[f"{unit}_{direction}"])
                for row, one in known
                for direction in _DIRECTIONS
            ],
        )
    online = [(row, one) for row, one in known if row.state == ONLINE]
    _single(out, online, "devices_active", "Active devices.", lambda one: one.active)
    out.family(
        "netify_gateway_rate_bytes_per_second",
        "gauge",
        "Rate of a gateway over the last interval before its latest message.",
        [
            ({"gateway": row.gateway, "direction": direction}, bits / 8)
            for row, one in online
            for direction, bits in zip(_DIRECTIONS, one.rates, strict=True)
        ],
    )
    return out.body()


def _single(
    out: Exposition,
    known: Sequence[tuple[Row, Summary]],
    name: str,
    help_text: str,
    value: Callable[[Summary], float | None],
) -> None:
    """Add a family with one sample for each gateway."""
    samples = [({"gateway": row.gateway}, value(one)) for row, one in known]
    out.family(f"netify_gateway_{name}", "gauge", help_text, samples)
