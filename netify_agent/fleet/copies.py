"""The agent's API for each gateway that a collector has a copy of."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from netify_agent.alerts.alert import Alert
from netify_agent.api.flush_log import FlushLog
from netify_agent.api.http import parameters
from netify_agent.api.http.access import Access
from netify_agent.api.http.app import Api
from netify_agent.api.http.csv_table import with_csv
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.response_cache import ResponseCache
from netify_agent.api.http.route import Route
from netify_agent.api.routes import alerts, devices, history, period_usage, plans, usage
from netify_agent.api.services import Services
from netify_agent.config.settings import Endpoint, Settings, WebSettings
from netify_agent.enrich import Directory
from netify_agent.fleet import gateway_settings, plan_standings
from netify_agent.fleet.device_names import CopiedDirectory
from netify_agent.plans.standing import Standings
from netify_agent.store.client import Client
from netify_agent.store.flusher import FlusherStatus
from netify_agent.store.layout import Keys
from netify_agent.store.query import Query
from netify_agent.store.reader import StoreReader

#: The collector checks host and token before it asks an API.
CHECKED = Access(WebSettings(listen=Endpoint("unix", path="/")))
_COPIES = 256  # that are kept open
_CACHED_BYTES = 1 << 20  # of answers about one gateway


@dataclass
class Copy:
    """The copy of one gateway.

    :ivar fields: its settings as it sent them.
    :ivar directory: that of ``services``, with the names as of the message ``named_at``.
    """

    fields: dict[str, str]
    services: Services
    directory: CopiedDirectory
    named_at: str = ""

    @cached_property
    def api(self) -> Api:
        """The API of the gateway. It checks neither host nor token."""
        return Api(
            self.services,
            CHECKED,
            routes(self.services),
            ResponseCache(max_entries=32, max_bytes=_CACHED_BYTES),
        )


class Copies:
    """Opens copies. Thread-safe. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(self, client_of: Callable[[str], Client], directory: Directory) -> None:
        """``client_of``: returns a client for the keys of a gateway."""
        self._client_of = client_of
        self._directory = directory
        self._lock = threading.Lock()  # guards what is kept
        self._kept: OrderedDict[str, Copy] = OrderedDict()  # the latest used last

    def open(self, gateway: str) -> Copy | None:
        """The copy of a gateway; None if it never sent anything."""
        with self._lock:
            known = self._kept.get(gateway)
        keys = Keys(gateway)
        query = Query(known.services.reader.client if known else self._client_of(gateway), keys)
        settings, position = query.hgetall(keys.copy_settings), query.hget(keys.copy, "position")
        query.run()
        if not settings.value:
            return None
        if known is None or known.fields != settings.value:
            known = self._new(gateway_settings.decode(gateway, settings.value), settings.value)
        if known.named_at != position.value:
            query = Query(known.services.reader.client, keys)
            names = query.hgetall(keys.copy_names)
            query.run()
            known.directory.load(names.value)
            known.named_at = position.value or ""
        with self._lock:
            self._kept[gateway] = known
            self._kept.move_to_end(gateway)
            while len(self._kept) > _COPIES:
                self._kept.popitem(last=False)
        return known

    def api(self, gateway: str) -> Api:
        """Return the API of a gateway. Raises Problem: 404 if the gateway never sent a message."""
        copy = self.open(gateway)
        if copy is None:
            raise Problem(404, f"gateway {gateway} has not sent anything yet")
        return copy.api

    def declared(self) -> list[Route]:
        """The routes of ``/gateways/<gateway>/...`` with the default settings, to be described only."""
        return [
            replace(
                route,
                path=f"/gateways/<gateway>{route.path}",
                name=f"gateway_{route.name}",
                parameters=(
                    parameters.text("gateway", "Name of the gateway.", in_path=True),
                    *route.parameters,
                ),
            )
            for route in routes(self._new(Settings(), {}).services)
        ]

    def _new(self, settings: Settings, fields: dict[str, str]) -> Copy:
        reader = StoreReader(self._client_of(settings.gateway), settings.gateway)
        directory = CopiedDirectory(tuple(settings.groups), self._directory)
        services = Services(
            *(settings, reader, directory),
            status=dict,
            liveness_checks=dict,
            readiness_checks=dict,
            flush_log=FlushLog(),
            flusher=FlusherStatus(),
            add_agent_metrics=lambda out, redis_up: None,
            alerts=lambda: _alerts(reader.client, Keys(settings.gateway)),
            plans=lambda: _plans(reader.client, Keys(settings.gateway), settings),
        )
        return Copy(fields, services, directory)


def _alerts(client: Client, keys: Keys) -> list[Alert]:
    """The alerts of a gateway, the latest first. What is none is left out."""
    query = Query(client, keys)
    stored = query.hgetall(keys.alerts)
    query.run()
    found = []
    for text in stored.value.values():
        with suppress(ValueError, TypeError, RecursionError):
            found.append(Alert.decode(text))
    return sorted(found, key=lambda alert: (alert.started_at, alert.id), reverse=True)


def _plans(client: Client, keys: Keys, settings: Settings) -> Standings | None:
    """How the plans of a gateway stand; None if it has not said so."""
    query = Query(client, keys)
    stored, used = query.hgetall(keys.copy_plans), query.hgetall(keys.copy_used)
    query.run()
    return plan_standings.decode(settings.plans, stored.value, used.value)


def routes(services: Services) -> list[Route]:
    """The routes whose answers are made of what is copied, without the redirection to a dashboard."""
    found = [
        *usage.routes(services),
        *period_usage.routes(services),
        *history.routes(services),
        *devices.routes(services),
        *alerts.routes(services),
        *plans.routes(services),
    ]
    return [with_csv(replace(route, page=None)) for route in found]
