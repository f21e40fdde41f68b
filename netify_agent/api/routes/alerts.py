"""``/alerts``: alerts that fire, and the latest resolved ones. Answered from memory, also without Redis."""

from __future__ import annotations

import time

from netify_agent.alerts.alert import FIRING, RESOLVED, Alert, notification_name
from netify_agent.alerts.quiet import is_held
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
        at_ms = int(time.time() * 1000)
        elements = [
            {**documents.alert(one), "notifications": notifications(one, at_ms)} for one in page.elements
        ]
        head = documents.head(at_ms)
        return paging.list_document(head, "alerts", elements, page, request)

    def notifications(alert: Alert, at_ms: int) -> list[Document]:
        """Return the delivery state by receiver; None where a notification is not wanted or not due yet."""
        receivers = services.settings.notify
        was_held = alert.resolved_at is not None and alert.held_until > alert.resolved_at

        def outcome(receiver: str, status: str) -> str | None:
            if notification_name(receiver, status) in alert.sent:
                return "sent"
            if notification_name(receiver, status) in alert.failed:
                return "failed"
            was_told = notification_name(receiver, FIRING) in (*alert.sent, *alert.failed)
            if (was_held and not was_told) or receiver not in receivers:
                return None
            if status == FIRING:
                return "held" if is_held(alert.held_until, at_ms) else "waiting"
            return "waiting" if alert.resolved_at and receivers[receiver].sends_resolved else None

        return [
            {"receiver": one, "firing": outcome(one, FIRING), "resolved": outcome(one, RESOLVED)}
            for one in alert.receivers
        ]

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
