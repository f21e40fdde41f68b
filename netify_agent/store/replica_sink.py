"""Writes a gateway's messages at a collector. The keys are those of the gateway's own store.

A message is applied in one transaction, together with the digests of its items and the position. It is
applied only to the position that it names. A message that comes twice, late or out of order changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import redis

from netify_agent.store.client import Client, StoreError, StoreRefused
from netify_agent.store.errors import reason
from netify_agent.store.layout import GATEWAY, OPEN, SCHEMA, Keys
from netify_agent.store.query import Query
from netify_agent.store.redirect import watching
from netify_agent.store.replica import HEAD, Content, Message, device_of, places, unit_of

_ID, _RECEIVED = "position", "received"


class Position(NamedTuple):
    """What a collector has of a gateway.

    :ivar position: of the latest message; empty: none.
    :ivar items: id to digest.
    """

    position: str
    items: dict[str, str]


class OtherPosition(Exception):
    """The message continues a position that the collector does not have. Nothing was written."""


class ReplicaSink:
    """The copies of gateways. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(
        self, client_of: Callable[[str], Client], wall_ms: Callable[[], int] = lambda: int(time.time() * 1000)
    ) -> None:
        """``client_of``: the client for the keys of a gateway."""
        self._client_of = client_of
        self._wall_ms = wall_ms

    def position(self, gateway: str) -> Position:
        """What there is of a gateway."""
        keys = Keys(gateway)
        query = Query(self._client_of(gateway), keys)
        position, items = query.hget(keys.copy, _ID), query.hgetall(keys.copy_items)
        query.run()
        return Position(position.value or "", items.value if position.value else {})

    def apply(self, gateway: str, message: Message) -> None:
        """Write a message. Returns as well if it is the latest one that was written before.

        :raises OtherPosition: if the collector has another position than the message's base.
        """
        keys = Keys(gateway)
        with _errors(), watching(self._client_of(gateway), keys.copy) as pipe:
            if pipe.hget(keys.meta, "writer"):
                raise StoreRefused(f"an agent writes gateway '{gateway}' in this database: use another one")
            had = pipe.hget(keys.copy, _ID) or ""
            if had == message.position:
                return
            if had != message.base:
                raise OtherPosition(f"the position is '{had}'")
            writing = _Writing(pipe, keys, message)
            writing.read()
            pipe.multi()
            writing.queue()
            pipe.hset(keys.copy, mapping={_ID: message.position, _RECEIVED: str(self._wall_ms())})
            pipe.execute()


class _Writing:
    """The transaction of one message."""

    def __init__(self, pipe: Any, keys: Keys, message: Message) -> None:
        self._pipe = pipe
        self._keys = keys
        self._message = message
        self._known: set[str] = set()
        self._rows: dict[str, tuple[list[str], list[str]]] = {}  # of devices that go: applications, protocols
        self._series: set[str] = set()

    def read(self) -> None:
        """Read what is to be removed. MULTI is not sent yet."""
        pipe, keys, message = self._pipe, self._keys, self._message
        self._known = set(pipe.hkeys(keys.copy_items))
        for name in message.gone:
            device = device_of(name)
            if device is not None and name in self._known:
                self._rows[device] = pipe.hkeys(keys.applications(device)), pipe.hkeys(keys.protocols(device))
        self._series = {GATEWAY, *pipe.smembers(keys.history_series), *pipe.zrange(keys.devices, 0, -1)}

    def queue(self) -> None:
        """Queue all writes."""
        pipe, keys, message = self._pipe, self._keys, self._message
        gone = [name for name in message.gone if name in self._known]
        for name in gone:
            self._remove(name)
        for name, content in message.items.items():
            unit = unit_of(name)
            if unit is None:
                self._rows_of(name, content)
            elif unit[0] == OPEN:
                for series, fields in content.hashes.items():
                    self._replace(keys.open_bucket(unit[1], series), fields)
            else:
                ttl_s = message.ttl_s.get(name)
                for series, data in content.chunks.items():
                    pipe.set(keys.chunk(unit, series), data, ex=ttl_s)
                pipe.zadd(keys.chunks(unit[0]), {str(unit[1]): unit[1]})
        if gone:
            pipe.hdel(keys.copy_items, *gone)
        digests = {name: message.digest(name) for name in message.items if name != HEAD}
        if digests:
            pipe.hset(keys.copy_items, mapping=digests)
        # Readers take a number of a flush: each message is one for them.
        pipe.hincrby(keys.meta, "seq", 1)
        pipe.hset(
            keys.meta,
            mapping={"schema": SCHEMA, "at": message.at_ms, "elapsed": message.elapsed_ms},
        )

    def _rows_of(self, name: str, content: Content) -> None:
        """Queue the rows of the gateway or of a device."""
        found = places(self._keys, name)
        assert found is not None
        for part, fields in content.hashes.items():
            self._replace(found.hashes[part], fields)
        for part, members in content.scores.items():
            self._pipe.delete(found.scores[part])
            if members:
                self._pipe.zadd(found.scores[part], members)
        for part, names in content.sets.items():
            self._pipe.delete(found.sets[part])
            if names:
                self._pipe.sadd(found.sets[part], *names)
        if name != HEAD:
            device = device_of(name) or ""
            for part, key in (("applications", self._keys.users), ("protocols", self._keys.protocol_users)):
                for row, moved in _moved(content.hashes.get(part, {})).items():
                    self._pipe.zadd(key(row), {device: moved})

    def _replace(self, key: str, fields: dict[str, str]) -> None:
        self._pipe.delete(key)
        if fields:
            self._pipe.hset(key, mapping=fields)

    def _remove(self, name: str) -> None:
        pipe, keys = self._pipe, self._keys
        device, unit = device_of(name), unit_of(name)
        if device is not None:
            found = places(keys, name)
            assert found is not None
            applications, protocols = self._rows[device]
            pipe.delete(*found.hashes.values(), *found.scores.values())
            for row in _moved(dict.fromkeys(applications, "0")):
                pipe.zrem(keys.users(row), device)
            for row in _moved(dict.fromkeys(protocols, "0")):
                pipe.zrem(keys.protocol_users(row), device)
            units = [found for found in map(unit_of, sorted(self._known)) if found is not None]
            pipe.delete(
                *(keys.open_bucket(start, device) for step, start in units if step == OPEN),
                *(keys.chunk(unit, device) for unit in units if unit[0] != OPEN),
                keys.addresses(device),
            )
        elif unit is not None and unit[0] == OPEN:
            pipe.delete(*(keys.open_bucket(unit[1], series) for series in sorted(self._series)))
        elif unit is not None:  # its chunks expire
            pipe.zrem(keys.chunks(unit[0]), str(unit[1]))


def _moved(fields: dict[str, str]) -> dict[str, int]:
    """Bytes up and down of each row."""
    found: dict[str, int] = {}
    for key, value in fields.items():
        code, _, row = key.partition(":")
        if code in ("bu", "bd"):
            found[row] = found.get(row, 0) + int(value)
    return found


@contextmanager
def _errors() -> Iterator[None]:
    """Raise redis-py's errors as StoreError; a position that changed meanwhile as OtherPosition."""
    try:
        yield
    except redis.WatchError as error:
        if isinstance(error.__context__, redis.RedisError):
            raise StoreError(reason(error.__context__)) from error
        raise OtherPosition("another message was applied meanwhile") from None
    except redis.RedisError as error:
        raise StoreError(reason(error)) from error
