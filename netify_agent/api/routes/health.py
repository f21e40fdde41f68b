"""``/status``, ``/healthz`` and ``/readyz``: the state of the agent itself."""

from __future__ import annotations

from netify_agent.api.http.route import Document, OtherResponse, Reply, Request, Route, json_reply
from netify_agent.api.services import Services
from netify_agent.api.spec import schemas


def routes(services: Services) -> list[Route]:
    """The routes of status, liveness and readiness."""

    def status(request: Request) -> Document:
        return services.status()

    def healthz(request: Request) -> Reply:
        return _reply("ok", "stuck", services.liveness_checks())

    def readyz(request: Request) -> Reply:
        return _reply("ready", "unready", services.readiness_checks())

    return [
        Route("/status", "status", "The state of the agent.", status, schema=schemas.STATUS),
        Route(
            "/healthz",
            "healthz",
            "Liveness: the process answers, and each thread makes progress.",
            healthz,
            schema=schemas.HEALTH,
            public=True,
            any_query=True,
            others={503: OtherResponse("A thread is stuck; `checks` says which.", schemas.HEALTH)},
        ),
        Route(
            "/readyz",
            "readyz",
            "Readiness: netifyd's stream is current, Redis answers, and flushes succeed.",
            readyz,
            schema=schemas.READINESS,
            any_query=True,
            others={503: OtherResponse("Not ready; `checks` says why.", schemas.READINESS)},
        ),
    ]


def _reply(good: str, bad: str, checks: dict[str, str | None]) -> Reply:
    """200 with status ``good`` if all checks pass, else 503 with status ``bad``.

    :param checks: what is wrong with each, or None.
    """
    failed = any(checks.values())
    document: Document = {
        "status": bad if failed else good,
        "checks": {name: reason or "ok" for name, reason in checks.items()},
    }
    return json_reply(document, 503 if failed else 200)
