"""The paths of the API. What has rules of its own is declared in a room of its own."""

from __future__ import annotations

from netify_agent.api import history, openapi, pages, parameters, schemas
from netify_agent.api.declarations import Asked, Document, Other, Reply, Route, json_reply
from netify_agent.api.parts import Parts
from netify_agent.api.problems import Problem

USERS_SHOWN = 10  # devices named with each application


def all_routes(parts: Parts) -> list[Route]:
    """Every route; of two that fit a path, the earlier one counts."""
    found = [*_network(parts), *_health(parts), *history.routes(parts), pages.route()]
    return [*found, openapi.route(found)]


def _network(parts: Parts) -> list[Route]:
    answers, reader = parts.answers, parts.reader

    def network(asked: Asked) -> Document:
        return answers.network(reader.picture())

    def applications(asked: Asked) -> Document:
        return answers.applications(*reader.applications(USERS_SHOWN))

    def device(asked: Asked) -> Document:
        found = reader.device(asked["device"])
        if found is None:
            raise Problem(404, f"no device {asked['device']} has been seen")
        return answers.one_device(*found)

    return [
        Route(
            "/",
            "network",
            "The gateway and every device with its applications, most bytes first.",
            network,
            schema=schemas.NETWORK,
            cached=True,
            page=pages.ROOT,
        ),
        Route(
            "/applications",
            "applications",
            "The gateway's applications, most bytes first, each with the ten devices that moved most.",
            applications,
            schema=schemas.APPLICATIONS,
            cached=True,
        ),
        Route(
            "/<device>",
            "device",
            "One device: an element of `devices`, with its protocols beside it, most bytes first.",
            device,
            parameters=(parameters.device(),),
            schema=schemas.ONE_DEVICE,
            cached=True,
            others={404: Other("No such device has been seen.")},
        ),
    ]


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
