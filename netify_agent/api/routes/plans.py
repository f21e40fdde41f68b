"""``/plans`` and ``/plans/<plan>``: how much of each plan is used.

Answered from what the last flush of this process counted. Until there is one, the answer is 503.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from netify_agent.api.documents import rfc3339
from netify_agent.api.http import paging, parameters
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Document, OtherResponse, Request, Route, Table
from netify_agent.api.services import Services
from netify_agent.api.spec import period_schemas
from netify_agent.plans.standing import PlanStanding, Standings, elapsed_share, forecast
from netify_agent.store.client import StoreError

LIMIT = 100  # default length of a page


class Row(NamedTuple):
    """What one plan says of one device, of a group or of the gateway (``who`` of ``standing.used``)."""

    standing: PlanStanding
    who: str
    used: int

    @property
    def share(self) -> float:
        """Part of the limit that is used."""
        return self.used / self.standing.plan.limit


def routes(services: Services) -> list[Route]:
    """The routes of plans."""
    documents = services.documents
    calendar = services.settings.calendar
    sort_keys: dict[str, paging.SortKey[Row]] = {
        "share": lambda row: row.used * 10**6 // row.standing.plan.limit,
        "used": lambda row: row.used,
        "plan": lambda row: row.standing.name,
    }

    def standings() -> Standings:
        found = services.plans()
        if found is None:
            raise StoreError("plans are counted with the first flush")
        return found

    def plans(request: Request) -> Document:
        found = standings()
        return listed(request, found, found.plans.values())

    def plan(request: Request) -> Document:
        name = request["plan"]
        if name not in services.settings.plans:
            raise Problem(404, f"no plan '{name}' in the configuration")
        found = standings()
        return listed(request, found, [found.plans[name]] if name in found.plans else [])

    def listed(request: Request, found: Standings, chosen: Iterable[PlanStanding]) -> Document:
        rows = [Row(one, who, used) for one in chosen for who, used in one.used.items()]
        page = paging.page(rows, request, sort_keys, lambda row: f"{row.standing.name}:{row.who}")
        head = {**documents.head(found.at_ms), "timezone": calendar.calendar.zone_name}
        elements = [row_document(row, found.at_ms) for row in page.elements]
        return paging.list_document(head, "plans", elements, page, request)

    def row_document(row: Row, at_ms: int) -> Document:
        (standing, who, used), plan = row, row.standing.plan
        device = who if plan.device is not None else None
        return {
            "plan": standing.name,
            "device": device,
            "device_name": documents.device_name(device) if device else None,
            "group": plan.group and plan.group.name,
            "application": plan.application,
            "category": plan.category,
            "direction": plan.direction,
            "local": plan.local,
            "per": plan.per,
            "start": rfc3339(standing.period.start * 1000),
            "end": rfc3339(standing.period.end * 1000),
            "elapsed": round(elapsed_share(standing.period, at_ms), 4),
            "limit": plan.limit,
            "used": used,
            "left": plan.limit - used,
            "share": round(row.share, 4),
            "forecast": forecast(used, standing.period, at_ms),
            "thresholds": [
                {
                    "percent": percent,
                    "bytes": plan.bound(percent),
                    "severity": severity,
                    "passed_at": rfc3339(standing.passed[percent].get(who)),
                }
                for percent, severity in plan.warn_at.items()
            ],
        }

    common = paging.parameters(sort_keys, LIMIT, period_schemas.PLAN)
    table = Table("plans", period_schemas.PLAN, ("plan", "device"))
    return [
        Route(
            "/plans",
            "plans",
            "How much of each plan is used in its current period, the largest share first.",
            plans,
            parameters=common,
            schema=period_schemas.PLANS,
            table=table,
            cached=True,
        ),
        Route(
            "/plans/<plan>",
            "plan",
            "One plan; if it is of each device, with a row for each.",
            plan,
            parameters=(parameters.text("plan", "Name of the plan.", in_path=True), *common),
            schema=period_schemas.PLANS,
            table=table,
            cached=True,
            others={404: OtherResponse("The configuration has no such plan.")},
        ),
    ]
