"""``/alerts`` of a fleet: silent gateways, and the alerts of the gateways that fire."""

from __future__ import annotations

from typing import NamedTuple

from netify_agent.alerts.alert import FIRING, alert_id
from netify_agent.api.documents import rfc3339
from netify_agent.api.http import paging
from netify_agent.api.http.csv_table import with_csv
from netify_agent.api.http.route import Document, Request, Route, Table
from netify_agent.api.spec import schemas
from netify_agent.config.alerts import SEVERITIES
from netify_agent.fleet.overview import SILENT, Row, View
from netify_agent.fleet.summary import FiringAlert

NAME = "gateway_silent"
LIMIT = 100  # default length of a page

ALERT = schemas.record(
    "FleetAlert",
    {
        "id": schemas.TEXT,
        "gateway": schemas.TEXT,
        "alert": schemas.TEXT,
        "severity": {"enum": list(SEVERITIES)},
        "status": {"enum": [FIRING]},
        "summary": schemas.TEXT,
        "started_at": schemas.TIME_OR_NULL,
    },
)
ALERTS = schemas.record(
    "FleetAlerts",
    {
        "generated_at": schemas.TIME_OR_NULL,
        "alerts": schemas.listing(schemas.any_fields(ALERT)),
        "total": schemas.POSITIVE,
        "next": {"type": ["string", "null"], "description": "`cursor` of the next page."},
    },
)


class GatewayAlert(NamedTuple):
    """An alert of a gateway, or about it."""

    gateway: str
    alert: FiringAlert

    def document(self) -> Document:
        """An element of the list."""
        return {
            "id": self.alert.id,
            "gateway": self.gateway,
            "alert": self.alert.name,
            "severity": self.alert.severity,
            "status": FIRING,
            "summary": self.alert.summary,
            "started_at": rfc3339(self.alert.started_at),
        }


def alerts_of(row: Row, silent_ms: int) -> list[GatewayAlert]:
    """The alerts that fire at a gateway, after the one about its silence.

    :param silent_ms: time without a message after which a gateway is silent.
    """
    if row.summary is None:
        return []
    found = [*row.summary.alerts]
    if row.state == SILENT:
        at_ms = row.summary.received + silent_ms
        text = f"Gateway {row.gateway} is silent"
        found.insert(0, FiringAlert(alert_id(row.gateway, NAME, None, at_ms), NAME, "critical", text, at_ms))
    return [GatewayAlert(row.gateway, alert) for alert in found]


_SORT_KEYS: dict[str, paging.SortKey[GatewayAlert]] = {
    "started_at": lambda one: one.alert.started_at,
    "severity": lambda one: SEVERITIES.index(one.alert.severity),
    "name": lambda one: one.gateway.casefold(),
}


def route(view: View) -> Route:
    """The route of alerts."""

    def answer(request: Request) -> Document:
        found = [one for row in view.rows for one in alerts_of(row, view.silent_ms)]
        page = paging.page(found, request, _SORT_KEYS, lambda one: f"{one.gateway}:{one.alert.id}")
        head = {"generated_at": rfc3339(request.at_ms) if request.at_ms else None}
        return paging.list_document(head, "alerts", [one.document() for one in page.elements], page, request)

    return with_csv(
        Route(
            "/alerts",
            "alerts",
            "Silent gateways and the alerts that fire at gateways, latest first.",
            answer,
            parameters=paging.parameters(_SORT_KEYS, LIMIT, ALERT),
            schema=ALERTS,
            table=Table("alerts", ALERT, ("id",)),
            cached=True,
        )
    )
