"""Writes a gateway's messages at a collector. The keys are those of the gateway's own store.

A message is applied in one transaction, together with the digests of its items and the position. It is
applied only to the position that it names. A message that comes twice, late or out of order changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import redis

from netify_agent.store.client import Client, StoreError, StoreRefused
from netify_agent.store.errors import reason
from netify_agent.store.layout import GATEWAY, OPEN, SCHEMA, Keys
from netify_agent.store.query import Query
from netify_agent.store.redirect import watching
from netify_agent.store.replica import (
    HEAD,
    Content,
    device_item,
    device_of,
    places,
    unit_item,
    unit_of,
    units_of,
    written,
)
from netify_agent.store.replica_coder import Names
from netify_agent.store.replica_columns import Invalid
from netify_agent.store.replica_contents import ContentReader, rates_texts
from netify_agent.store.replica_message import Differs, Header, Incoming, StepsOf
from netify_agent.store.replica_rows import SCORE, Rows, fields_of

#: Of one gateway. A message may have some 20,000 devices with all that belongs to them.
MAX_ITEMS = 200_000
MAX_READ = 4_000_000  # keys of series that are read to apply one message
_ID, _RECEIVED = "position", "received"


class Position(NamedTuple):
    """What a collector has of a gateway.

    :ivar position: of the latest message; empty: none.
    :ivar items: id to digest.
    """

    position: str
    items: dict[str, str]


class OtherPosition(Exception):
    """The message continues a position, or contents, that the collector does not have. It was not written."""


class ReplicaSink:
    """The copies of gateways. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(
        self,
        client_of: Callable[[str], Client],
        steps_of: StepsOf,
        wall_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        """Send nothing yet.

        :param client_of: the client for the keys of a gateway.
        :param steps_of: the steps of the history by what a head says of settings. Raises ValueError.
        """
        self._client_of = client_of
        self._steps_of = steps_of
        self._wall_ms = wall_ms

    def position(self, gateway: str) -> Position:
        """What there is of a gateway."""
        keys = Keys(gateway)
        query = Query(self._client_of(gateway), keys)
        position, items = query.hget(keys.copy, _ID), query.hgetall(keys.copy_items)
        query.run()
        return Position(position.value or "", items.value if position.value else {})

    def apply(self, gateway: str, data: bytes) -> str:
        """Write a message. Writes nothing if it is the latest one that was written before.

        :returns: its position.
        :raises Invalid: if it is no message.
        :raises OtherPosition: if the collector has another position than the message's base, or has other
            contents there. These are sent whole once the gateway has asked for the position.
        """
        keys, message = Keys(gateway), Incoming(data)
        header = message.header
        with _errors(), watching(self._client_of(gateway), keys.copy) as pipe:
            if pipe.hget(keys.meta, "writer"):
                raise StoreRefused(f"an agent writes gateway '{gateway}' in this database: use another one")
            position = pipe.hget(keys.copy, _ID) or ""
            if position == header.position:
                return position
            if position != header.base:
                raise OtherPosition(f"the position is '{position}'")
            known = pipe.hkeys(keys.copy_items) if position else []
            names = message.names(known)
            if len(names.sent.union(known) - names.gone) > MAX_ITEMS:
                raise Invalid(f"expected at most {MAX_ITEMS} devices and chunks of a gateway")
            had = self._had(gateway, keys, names) if position else {}
            try:
                contents = message.contents(names, had, self._steps_of)
            except Differs:
                pipe.multi()
                pipe.hdel(keys.copy_items, *sorted(names.sent))
                pipe.execute()
                raise OtherPosition("the collector has other contents at this position") from None
            writing = _Writing(pipe, keys, had, contents, names, known)
            pipe.multi()
            writing.queue(header)
            pipe.hset(keys.copy, mapping={_ID: header.position, _RECEIVED: str(self._wall_ms())})
            pipe.execute()
        return header.position

    def _had(self, gateway: str, keys: Keys, names: Names) -> dict[str, Content]:
        """What there is of the items of a message, but of chunks that go."""
        reader = ContentReader(self._client_of(gateway), keys)
        had: dict[str, Content] = {}
        had[HEAD], flush = reader.head(Query(self._client_of(gateway), keys))
        devices = [device_of(item) for item in sorted(names.sent | names.gone)]
        had.update(reader.devices(flush, [device for device in devices if device is not None]))
        series = sorted({*had[HEAD].rows["devices"], *had[HEAD].rows["series"]} - {GATEWAY})
        units = units_of(names.sent | names.gone)
        if len(units) * len(series) > MAX_READ:
            raise Invalid(f"expected fewer than {len(units)} periods of {len(series)} series in one message")
        for unit in units:
            if unit[0] != OPEN and unit_item(unit) in names.gone:
                continue
            had[unit_item(unit)] = reader.unit(flush, unit, series)
        return had


class _Writing:
    """Queues the commands of one message."""

    def __init__(
        self,
        pipe: Any,
        keys: Keys,
        had: Mapping[str, Content],
        contents: Mapping[str, Content],
        names: Names,
        known: list[str],
    ) -> None:
        self._pipe = pipe
        self._keys = keys
        self._had = had
        self._contents = contents
        self._names = names
        self._known = known

    def queue(self, header: Header) -> None:
        """Queue all writes."""
        pipe, keys, names = self._pipe, self._keys, self._names
        for item in sorted(names.gone):
            self._remove(item)
        for item, content in self._contents.items():
            unit = unit_of(item)
            if unit is None:
                self._rows_of(item, content)
            elif unit[0] == OPEN:
                before = self._had.get(item, Content()).rows
                for series in sorted(before.keys() | content.rows.keys()):
                    self._fields(
                        keys.open_bucket(unit[1], series),
                        fields_of(before.get(series, {})),
                        fields_of(content.rows.get(series, {})),
                    )
            else:
                self._chunks(item, content, names.ttl_s.get(item))
        if names.gone:
            pipe.hdel(keys.copy_items, *sorted(names.gone))
        digests = {
            item: self._contents[item].digest(item in names.ttl_s) for item in sorted(names.sent - {HEAD})
        }
        if digests:
            pipe.hset(keys.copy_items, mapping=digests)
        # Readers take a number of a flush: each message is one for them.
        pipe.hincrby(keys.meta, "seq", 1)
        pipe.hset(
            keys.meta,
            mapping={"schema": SCHEMA, "at": header.at_ms, "elapsed": header.elapsed_ms},
        )

    def _rows_of(self, item: str, content: Content) -> None:
        """Queue the rows of the gateway or of a device."""
        found, before = places(self._keys, item), self._had.get(item, Content())
        assert found is not None
        for name, key in {**found.counters, **found.numbers, **found.texts}.items():
            self._fields(key, written(before, name, found), written(content, name, found))
        for name, key in found.scores.items():
            self._scores(key, before.rows.get(name, {}), content.rows.get(name, {}))
        for name, key in found.sets.items():
            had, now = before.rows.get(name, {}).keys(), content.rows.get(name, {}).keys()
            if had - now:
                self._pipe.srem(key, *sorted(had - now))
            if now - had:
                self._pipe.sadd(key, *sorted(now - had))
        if item == HEAD:
            self._fields(self._keys.rates, rates_texts(before), rates_texts(content))
            return
        device = device_of(item) or ""
        for name, users in (("applications", self._keys.users), ("protocols", self._keys.protocol_users)):
            for row, numbers in content.rows[name].items():
                if numbers != before.rows.get(name, {}).get(row):
                    self._pipe.zadd(users(row), {device: numbers.get("bu", 0) + numbers.get("bd", 0)})

    def _fields(self, key: str, had: Mapping[str, str], now: Mapping[str, str]) -> None:
        gone = sorted(had.keys() - now.keys())
        changed = {name: value for name, value in now.items() if had.get(name) != value}
        if gone:
            self._pipe.hdel(key, *gone)
        if changed:
            self._pipe.hset(key, mapping=changed)

    def _scores(self, key: str, had: Rows, now: Rows) -> None:
        gone = sorted(had.keys() - now.keys())
        changed = {name: row[SCORE] for name, row in now.items() if had.get(name) != row}
        if gone:
            self._pipe.zrem(key, *gone)
        if changed:
            self._pipe.zadd(key, changed)

    def _chunks(self, item: str, content: Content, ttl_s: int | None) -> None:
        unit = unit_of(item)
        assert unit is not None
        for series, data in content.chunks.items():
            self._pipe.set(self._keys.chunk(unit, series), data, ex=ttl_s)
        gone = self._had.get(item, Content()).chunks.keys() - content.chunks.keys()
        if gone:
            self._pipe.delete(*(self._keys.chunk(unit, series) for series in sorted(gone)))
        self._pipe.zadd(self._keys.chunks(unit[0]), {str(unit[1]): unit[1]})

    def _remove(self, item: str) -> None:
        pipe, keys = self._pipe, self._keys
        device, unit = device_of(item), unit_of(item)
        if device is not None:
            found = places(keys, item)
            assert found is not None
            pipe.delete(*found.counters.values(), *found.scores.values())
            rows = self._had[device_item(device)].rows
            for name, users in (("applications", keys.users), ("protocols", keys.protocol_users)):
                for row in rows[name]:
                    pipe.zrem(users(row), device)
            units = units_of(self._known)
            pipe.delete(
                *(keys.open_bucket(start, device) for step, start in units if step == OPEN),
                *(keys.chunk(unit, device) for unit in units if unit[0] != OPEN),
            )
        elif unit is not None and unit[0] == OPEN:
            series = sorted({GATEWAY, *self._had[item].rows})
            pipe.delete(*(keys.open_bucket(unit[1], name) for name in series))
        elif unit is not None:  # its chunks expire
            pipe.zrem(keys.chunks(unit[0]), str(unit[1]))


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
