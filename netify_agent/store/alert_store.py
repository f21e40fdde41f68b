"""Stores and reads the state of alerts and plans: hashes, whose fields ``alerts`` and ``plans`` define."""

from __future__ import annotations

from collections.abc import Iterable

from netify_agent.store.client import Client
from netify_agent.store.layout import Keys
from netify_agent.store.query import store_errors
from netify_agent.store.redirect import execute
from netify_agent.store.transaction import Transaction
from netify_agent.store.unstored import Changes

_AT_ONCE = 500  # fields of one command


class AlertStore:
    """The state of the alerts and plans of one gateway in Redis."""

    def __init__(self, client: Client, gateway: str) -> None:
        keys = Keys(gateway)
        self._client = client
        self._keys = {
            "alerts": keys.alerts,
            "state": keys.alert_state,
            "outbox": keys.alert_outbox,
            "plans": keys.plans,
        }

    def read(self) -> dict[str, dict[str, str]]:
        """Return all fields by table: ``alerts``, ``state``, ``outbox`` and ``plans``. Raises StoreError."""
        with store_errors(), self._client.pipeline(transaction=False) as pipe:
            for key in self._keys.values():
                pipe.hgetall(key)
            return dict(zip(self._keys, execute(pipe), strict=True))

    def queue(self, pipe: Transaction, changes: Changes, *, replace: bool) -> None:
        """Queue the changes of a flush.

        :param changes: table and field to the new value; None deletes the field.
        :param replace: whether ``changes`` are all fields there are.
        """
        if replace:
            pipe.delete(*self._keys.values())
        for table, key in self._keys.items():
            fields = {field: value for (one, field), value in changes.items() if one == table}
            for part in _parts(field for field, value in fields.items() if value is None):
                if not replace:
                    pipe.hdel(key, *part)
            for part in _parts(field for field, value in fields.items() if value is not None):
                pipe.hset(key, {field: fields[field] or "" for field in part})


def _parts(fields: Iterable[str]) -> list[list[str]]:
    names = list(fields)
    return [names[begin : begin + _AT_ONCE] for begin in range(0, len(names), _AT_ONCE)]
