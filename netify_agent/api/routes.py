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

    def alive(asked: Asked) -> Document:
        return {"status": "ok"}

    def ready(asked: Asked) -> Document | Reply:
        checks = parts.ready()
        wrong = [reason for reason in checks.values() if reason]
        document = {
            "status": "unready" if wrong else "ready",
            "checks": {name: reason or "ok" for name, reason in checks.items()},
        }
        return json_reply(document, 503) if wrong else document

    return [
        Route("/status", "status", "How the agent itself is doing.", status, schema=schemas.STATUS),
        Route("/healthz", "healthz", "Whether the process answers.", alive, schema=schemas.HEALTH),
        Route(
            "/readyz",
            "readyz",
            "Whether netifyd is connected and Redis takes flushes.",
            ready,
            schema=schemas.READINESS,
            others={503: Other("Not ready; `checks` says why.", schemas.READINESS)},
        ),
    ]
