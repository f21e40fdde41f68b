"""All paths of the API. Health and status are declared here, the others in their own modules."""

from __future__ import annotations

from netify_agent.api.http.route import Document, OtherResponse, Reply, Request, Route, json_reply
from netify_agent.api.routes import dashboard as pages
from netify_agent.api.routes import events, flows, history, metrics, network, usage
from netify_agent.api.services import Services
from netify_agent.api.spec import openapi, schemas


def all_routes(services: Services) -> list[Route]:
    """Every route; of two that fit a path, the earlier one counts."""
    found = [
        *_health(services),
        *metrics.routes(services),
        *events.routes(services),
        *usage.routes(services),
        *history.routes(services),
        *flows.routes(services),
        pages.route(),
        *network.routes(services),
    ]
    return [*found, openapi.route(found)]


def _health(services: Services) -> list[Route]:
    def status(request: Request) -> Document:
        return services.status()

    def alive(request: Request) -> Reply:
        return _verdict("ok", "stuck", services.alive())

    def ready(request: Request) -> Reply:
        return _verdict("ready", "unready", services.ready())

    return [
        Route("/status", "status", "How the agent itself is doing.", status, schema=schemas.STATUS),
        Route(
            "/healthz",
            "healthz",
            "Whether the process answers, and each of its threads makes progress.",
            alive,
            schema=schemas.HEALTH,
            public=True,
            any_query=True,
            others={503: OtherResponse("A thread is stuck; `checks` says which.", schemas.HEALTH)},
        ),
        Route(
            "/readyz",
            "readyz",
            "Whether netifyd's stream is fresh, Redis answers, and flushes succeed.",
            ready,
            schema=schemas.READINESS,
            any_query=True,
            others={503: OtherResponse("Not ready; `checks` says why.", schemas.READINESS)},
        ),
    ]


def _verdict(good: str, bad: str, checks: dict[str, str | None]) -> Reply:
    """``checks`` as they came out, and 503 if anything is wrong."""
    wrong = any(checks.values())
    document: Document = {
        "status": bad if wrong else good,
        "checks": {name: reason or "ok" for name, reason in checks.items()},
    }
    return json_reply(document, 503 if wrong else 200)
