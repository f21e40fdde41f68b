"""Requests to forget a device: how ``netify-agent forget`` reaches the running agent.

Only the agent that holds the lease changes counters. The command therefore leaves a request in Redis; the
agent forgets the device with its next flush, and removes the request in the same transaction. A request has a
deadline by Redis' clock, so that none is left for an agent that is started much later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from netify_agent.store.client import Client, StoreError
from netify_agent.store.layout import SCHEMA, Keys
from netify_agent.store.lease import LEASE_FIELDS, Holder, milliseconds
from netify_agent.store.query import store_errors
from netify_agent.store.redirect import execute

MOST = 50  # devices that one flush forgets
#: How long Redis keeps requests past their deadline. One that vanished before was carried out.
_KEPT_MS = 3_600_000


class NoWriter(StoreError):
    """No agent would see a request. The message says why."""


class UnknownDevice(StoreError):
    """The store has no device of that name."""


class ForgetRequests:
    """The requests of one gateway. Methods raise :class:`StoreError` if Redis does not answer."""

    def __init__(self, client: Client, gateway: str) -> None:
        self._client = client
        self._gateway = gateway
        self._keys = Keys(gateway)

    def add(self, device: str) -> float:
        """Ask the running agent to forget ``device``.

        :returns: for how long the request is valid, seconds: as long as the agent's lease.
        :raises NoWriter: no agent runs, or not one that knows requests.
        :raises UnknownDevice: if the store has no such device.
        """
        keys = self._keys
        with store_errors(), self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hmget(keys.meta, "schema", *LEASE_FIELDS)
            pipe.zscore(keys.devices, device)
            (seconds, microseconds), (schema, writer, holder, renewed, lease), known = execute(pipe)
            now_ms, lease_ms = milliseconds(seconds, microseconds), int(lease or 0)
            process = Holder.decode(holder)
            if writer is None or process is None or int(renewed or 0) + lease_ms <= now_ms or not lease_ms:
                raise NoWriter(f"no netify-agent writes gateway '{self._gateway}' here: start it first")
            if process.is_alive() is False:
                raise NoWriter(f"the netify-agent on {process} has died: start it first")
            if schema != str(SCHEMA):
                raise NoWriter(f"the netify-agent on {process} is of another version: restart it first")
            if known is None:
                raise UnknownDevice(f"no device {device} has been seen")
            pipe.zadd(keys.forget, {device: now_ms + lease_ms})
            pipe.pexpire(keys.forget, lease_ms + _KEPT_MS)
            pipe.execute()
        return lease_ms / 1000

    def is_done(self, device: str) -> bool:
        """Whether the agent has forgotten ``device`` since the request."""
        with store_errors(), self._client.pipeline(transaction=False) as pipe:
            pipe.zscore(self._keys.forget, device)
            return execute(pipe)[0] is None

    def withdraw(self, device: str) -> bool:
        """Remove a request; returns False if the agent was faster."""
        with store_errors():
            return bool(self._client.zrem(self._keys.forget, device))

    def standing(self, pipe: Any, devices: Sequence[str], now_ms: int) -> list[str]:
        """Return those of ``devices`` whose requests still stand, and fail the flush if one is withdrawn.

        :param pipe: executes commands at once: WATCH is set, MULTI is not.
        """
        if not devices:
            return []
        pipe.watch(self._keys.forget)
        found = pipe.zrangebyscore(self._keys.forget, now_ms, "+inf")
        return [device for device in devices if device in found]

    def waiting(self) -> tuple[str, ...]:
        """Return the devices with a request, at most :data:`MOST`; its deadline may have passed.

        None if Redis does not answer: the flush that follows reports that.
        """
        try:
            return tuple(self._client.zrange(self._keys.forget, 0, MOST - 1))
        except redis.RedisError:
            return ()
