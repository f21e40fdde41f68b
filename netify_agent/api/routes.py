"""The paths of the API. What has rules of its own is declared in a room of its own."""

from __future__ import annotations

from netify_agent.api import events, flows, history, metrics, network, openapi, pages, schemas, usage
from netify_agent.api.declarations import Asked, Document, Other, Reply, Route, json_reply
from netify_agent.api.parts import Parts


def all_routes(parts: Parts) -> list[Route]:
    """Every route; of two that fit a path, the earlier one counts."""
    found = [
        *_health(parts),
        *metrics.routes(parts),
        *events.routes(parts),
        *usage.routes(parts),
        *history.routes(parts),
        *flows.routes(parts),
        pages.route(),
        *network.routes(parts),
    ]
    return [*found, openapi.route(found)]


def _health(parts: Parts) -> list[Route]:
    def status(asked: Asked) -> Document:
        return parts.status()

    def alive(asked: Asked) -> Reply:
        return _verdict("ok", "stuck", parts.alive())

    def ready(asked: Asked) -> Reply:
        return _verdict("ready", "unready", parts.ready())

    return [
        Route("/status", "status", "How the agent itself is doing.", status, schema=schemas.STATUS),
        Route(
            "/healthz",
            "healthz",
            "Whether the process answers, and each of its threads makes progress.",
            alive,
            schema=schemas.HEALTH,
            others={503: Other("A thread is stuck; `checks` says which.", schemas.HEALTH)},
        ),
        Route(
            "/readyz",
            "readyz",
            "Whether netifyd's stream is fresh, Redis answers, and flushes succeed.",
            ready,
            schema=schemas.READINESS,
            others={503: Other("Not ready; `checks` says why.", schemas.READINESS)},
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
