"""``/alerts`` of a fleet: the gateways from which nothing comes any more."""

from __future__ import annotations

from typing import NamedTuple

from netify_agent.alerts.alert import FIRING, alert_id
from netify_agent.api.documents import rfc3339
from netify_agent.api.http import paging
from netify_agent.api.http.csv_table import with_csv
from netify_agent.api.http.route import Document, Request, Route, Table
from netify_agent.api.spec import schemas
from netify_agent.fleet.overview import SILENT, View

NAME = "gateway_silent"
LIMIT = 100  # default length of a page

ALERT = schemas.record(
    "FleetAlert",
    {
        "id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
        "gateway": schemas.TEXT,
        "alert": schemas.TEXT,
        "severity": {"enum": ["critical"]},
        "status": {"enum": [FIRING]},
        "summary": schemas.TEXT,
        "started_at": schemas.TIME,
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


class SilentGateway(NamedTuple):
    """An alert. ``started_at``: when the gateway became silent, our clock, milliseconds since the epoch."""

    gateway: str
    started_at: int

    def document(self) -> Document:
        """An element of the list."""
        return {
            "id": alert_id(self.gateway, NAME, None, self.started_at),
            "gateway": self.gateway,
            "alert": NAME,
            "severity": "critical",
            "status": FIRING,
            "summary": f"Gateway {self.gateway} is silent",
            "started_at": rfc3339(self.started_at),
        }


_SORT_KEYS: dict[str, paging.SortKey[SilentGateway]] = {
    "started_at": lambda alert: alert.started_at,
    "name": lambda alert: alert.gateway.casefold(),
}


def route(view: View) -> Route:
    """The route of alerts."""

    def answer(request: Request) -> Document:
        found = [
            SilentGateway(row.gateway, row.summary.received + view.silent_ms)
            for row in view.rows
            if row.state == SILENT and row.summary is not None
        ]
        page = paging.page(found, request, _SORT_KEYS, lambda alert: alert.gateway)
        head = {"generated_at": rfc3339(request.at_ms) if request.at_ms else None}
        return paging.list_document(head, "alerts", [one.document() for one in page.elements], page, request)

    return with_csv(
        Route(
            "/alerts",
            "alerts",
            "An alert for each gateway that the token may see and that is silent, latest first.",
            answer,
            parameters=paging.parameters(_SORT_KEYS, LIMIT, ALERT),
            schema=ALERTS,
            table=Table("alerts", ALERT, ("id",)),
            cached=True,
        )
    )
