"""``/alerts``: alerts that fire, and the latest resolved ones. Answered from memory, also without Redis."""

from __future__ import annotations

import time

from netify_agent.alerts.alert import Alert
from netify_agent.api.http import paging, parameters
from netify_agent.api.http.route import Document, Request, Route, Table
from netify_agent.api.services import Services
from netify_agent.api.spec import schemas

LIMIT = 100  # default length of a page
_SORT_KEYS: dict[str, paging.SortKey[Alert]] = {"started_at": lambda alert: alert.started_at}


def routes(services: Services) -> list[Route]:
    """The route of alerts."""
    documents = services.documents

    def alerts(request: Request) -> Document:
        active = request["active"]
        found = [one for one in services.alerts() if active is None or (one.resolved_at is None) == active]
        page = paging.page(found, request, _SORT_KEYS, lambda alert: alert.id)
        elements = [documents.alert(one) for one in page.elements]
        head = documents.head(int(time.time() * 1000))
        return paging.list_document(head, "alerts", elements, page, request)

    return [
        Route(
            "/alerts",
            "alerts",
            "Alerts that fire and the latest 500 resolved ones, latest first; also without Redis.",
            alerts,
            parameters=(
                *paging.parameters(_SORT_KEYS, LIMIT, schemas.ALERT),
                parameters.flag("active", None, "Only alerts that fire, or only resolved ones."),
            ),
            schema=schemas.ALERTS,
            table=Table("alerts", schemas.ALERT, ("id",)),
        )
    ]
