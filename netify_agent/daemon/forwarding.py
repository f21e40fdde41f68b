"""Builds the forwarder to a collector, if one is configured. Without one, its modules are not loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netify_agent.config.settings import Settings
from netify_agent.store.client import connect
from netify_agent.store.history_steps import HistorySteps

if TYPE_CHECKING:
    from netify_agent.fleet.forwarder import Forwarder


def new_forwarder(settings: Settings, steps: HistorySteps) -> Forwarder | None:
    """The forwarder, with connections to Redis of its own; None if nothing is to be forwarded.

    :raises ConfigError: if a file of ``fleet`` can't be used.
    """
    if settings.fleet.url is None:
        return None
    from netify_agent.fleet import gateway_settings
    from netify_agent.fleet.forwarder import Forwarder, history_at_once
    from netify_agent.store.replica_source import ReplicaSource

    redis = settings.redis
    client = connect(redis.url, redis.password(), redis.tls, gateway=settings.gateway)
    source = ReplicaSource(
        *(client, settings.gateway, steps, gateway_settings.encode(settings)),
        max_history=history_at_once(settings.fleet.max_rate),
    )
    return Forwarder(settings.fleet, settings.gateway, source)
