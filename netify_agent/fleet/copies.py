"""The agent's API for each gateway that a collector has a copy of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from netify_agent.api.documents import rfc3339
from netify_agent.api.flush_log import FlushLog
from netify_agent.api.http.access import Access
from netify_agent.api.http.app import Api
from netify_agent.api.http.csv_table import with_csv
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Document, Route
from netify_agent.api.routes import devices, history, period_usage, usage
from netify_agent.api.services import Services
from netify_agent.config.settings import Endpoint, NameSettings, WebSettings
from netify_agent.enrich import Directory
from netify_agent.fleet import gateway_settings
from netify_agent.store.client import Client
from netify_agent.store.flusher import FlusherStatus
from netify_agent.store.layout import Keys
from netify_agent.store.query import Query
from netify_agent.store.reader import StoreReader

#: The collector checks host and token before it asks the API of a gateway.
_CHECKED = Access(WebSettings(listen=Endpoint("unix", path="/")))


class Copies:
    """The APIs of gateways. Thread-safe. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(self, client_of: Callable[[str], Client]) -> None:
        """``client_of``: the client for the keys of a gateway."""
        self._client_of = client_of
        self._lock = threading.Lock()  # guards the APIs
        self._apis: dict[str, tuple[dict[str, str], Api]] = {}
        # Names that only the gateway's own files have are not copied.
        self._directory = Directory(
            vendors="", hosts=(), leases=(), reverse_dns=False, categories=NameSettings().categories, arp=""
        )

    def api(self, gateway: str) -> Api:
        """Return the API of a gateway. Raises Problem: 404 if the gateway never sent a message."""
        keys = Keys(gateway)
        query = Query(self._client_of(gateway), keys)
        settings = query.hgetall(keys.copy_settings)
        query.run()
        if not settings.value:
            raise Problem(404, f"gateway {gateway} has not sent anything yet")
        with self._lock:
            known = self._apis.get(gateway)
            if known is None or known[0] != settings.value:
                known = self._apis[gateway] = settings.value, self._new(gateway, settings.value)
            return known[1]

    def row(self, gateway: str) -> Document:
        """Return the element of the list of gateways for one gateway."""
        keys = Keys(gateway)
        query = Query(self._client_of(gateway), keys)
        received = query.hget(keys.copy, "received")
        flush = query.run()
        return {
            "gateway": gateway,
            "last_contact": rfc3339(int(received.value)) if received.value else None,
            "generated_at": rfc3339(flush.at_ms) if flush.at_ms else None,
        }

    def _new(self, gateway: str, fields: dict[str, str]) -> Api:
        settings = gateway_settings.decode(gateway, fields)
        reader = StoreReader(self._client_of(gateway), gateway)
        services = Services(
            *(settings, reader, self._directory),
            status=dict,
            liveness_checks=dict,
            readiness_checks=dict,
            flush_log=FlushLog(),
            flusher=FlusherStatus(),
            add_agent_metrics=lambda out, redis_up: None,
        )
        return Api(services, _CHECKED, _routes(services))


def _routes(services: Services) -> list[Route]:
    """The routes whose answers are made of what is copied, without the redirection to a dashboard."""
    routes = [
        *usage.routes(services),
        *period_usage.routes(services),
        *history.routes(services),
        *devices.routes(services),
    ]
    return [with_csv(replace(route, page=None)) for route in routes]
