"""Builds the forwarder to a collector, if one is configured. Without one, its modules are not loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from netify_agent.config.settings import Settings
from netify_agent.enrich import Directory
from netify_agent.plans.standing import Standings
from netify_agent.store.client import connect
from netify_agent.store.history_steps import HistorySteps

if TYPE_CHECKING:
    from netify_agent.fleet.forwarder import Forwarder
    from netify_agent.store.replica_source import Seen, Told


def new_forwarder(
    settings: Settings,
    steps: HistorySteps,
    directory: Callable[[], Directory] | None = None,
    plans: Callable[[], Standings | None] = lambda: None,
) -> Forwarder | None:
    """The forwarder, with connections to Redis of its own; None if nothing is to be forwarded.

    :param directory: returns the one that has the names of devices now; None: it is not to be started.
    :param plans: how they stand after the last flush of this process; None before the first.
    :raises ConfigError: if a file of ``fleet`` can't be used.
    """
    if settings.fleet.url is None:
        return None
    from netify_agent.fleet import device_names, gateway_settings, plan_standings
    from netify_agent.fleet.forwarder import Forwarder, history_at_once
    from netify_agent.store.replica_source import NotYet, ReplicaSource, Told

    redis = settings.redis
    client = connect(redis.url, redis.password(), redis.tls, gateway=settings.gateway)

    def tell(devices: Mapping[str, Seen]) -> Told:
        names = {} if directory is None else device_names.encode(directory(), devices)
        standings = plans()
        if standings is None:
            raise NotYet("plans are counted with the first flush")
        return Told(names, *plan_standings.encode(standings))

    source = ReplicaSource(
        *(client, settings.gateway, steps, gateway_settings.encode(settings)),
        max_history=history_at_once(settings.fleet.max_rate),
        tell=tell,
    )
    return Forwarder(settings.fleet, settings.gateway, source)
