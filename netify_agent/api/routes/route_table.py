"""All routes of the API, in the order in which a path is matched against them."""

from __future__ import annotations

from netify_agent.api.http.csv_table import with_csv
from netify_agent.api.http.route import Route
from netify_agent.api.routes import (
    alerts,
    dashboard,
    devices,
    events,
    flows,
    health,
    history,
    metrics,
    period_usage,
    plans,
    usage,
)
from netify_agent.api.services import Services
from netify_agent.api.spec import openapi


def agent_routes(services: Services) -> list[Route]:
    """All routes of an agent: those of its API, and the files of the dashboard."""
    return [*route_table(services), *dashboard.files()]


def route_table(services: Services) -> list[Route]:
    """Every route; if several match a path, the first one wins."""
    routes = [
        *health.routes(services),
        *metrics.routes(services),
        *events.routes(services),
        *usage.routes(services),
        *period_usage.routes(services),
        *plans.routes(services),
        *history.routes(services),
        *flows.routes(services),
        *alerts.routes(services),
        dashboard.route(),
        *devices.routes(services),
    ]
    routes = [with_csv(route) for route in routes]
    return [*routes, openapi.route(routes)]
