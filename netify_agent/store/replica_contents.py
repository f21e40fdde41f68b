"""Reads the contents of items from a store, at a gateway as at a collector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netify_agent.store.client import Client, StoreError, undecoded
from netify_agent.store.layout import GATEWAY, OPEN, Keys, Unit
from netify_agent.store.query import FlushStamp, Query
from netify_agent.store.replica import HEAD, Content, counters, device_item, numbers, places
from netify_agent.store.replica_rows import rates_of, rows_of_rates

_ITEMS_AT_ONCE = 100  # devices in one round trip


class ContentReader:
    """The store of one gateway, or its copy. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        """Sends nothing yet."""
        self._client = client
        self._undecoded = undecoded(client)
        self._keys = keys

    def head(self, query: Query) -> tuple[Content, FlushStamp]:
        """The head. Runs ``query``."""
        rates = query.hgetall(self._keys.rates)
        read = _Reading(query, self._keys, HEAD)
        flush = query.run()
        content = read.content()
        content.rates = {device: rows_of_rates(text) for device, text in rates.value.items()}
        return content, flush

    def devices(self, flush: FlushStamp, devices: Sequence[str]) -> Iterable[tuple[str, Content]]:
        """Item and content of devices."""
        for at in range(0, len(devices), _ITEMS_AT_ONCE):
            query = Query(self._client, self._keys, flush)
            items = map(device_item, devices[at : at + _ITEMS_AT_ONCE])
            read = [(item, _Reading(query, self._keys, item)) for item in items]
            query.run()
            for item, reading in read:
                yield item, reading.content()

    def unit(self, flush: FlushStamp, unit: Unit, series: Iterable[str]) -> Content:
        """The open buckets, or the chunks, of the gateway and of ``series``."""
        names = [GATEWAY, *series]
        if unit[0] == OPEN:
            query = Query(self._client, self._keys, flush)
            buckets = {name: query.hgetall(self._keys.open_bucket(unit[1], name)) for name in names}
            query.run()
            return Content({name: counters(found.value)[0] for name, found in buckets.items() if found.value})
        query = Query(self._undecoded, self._keys, flush)
        chunks = query.mget([self._keys.chunk(unit, name) for name in names])
        query.run()
        return Content(chunks={name: data for name, data in zip(names, chunks.value, strict=True) if data})


class _Reading:
    """The replies that an item is made of."""

    def __init__(self, query: Query, keys: Keys, item: str) -> None:
        found = places(keys, item)
        assert found is not None
        self._places = found
        hashes = {**found.counters, **found.numbers, **found.texts}
        self._hashes = {name: query.hgetall(key) for name, key in hashes.items()}
        self._scores = {name: query.highest(key, None) for name, key in found.scores.items()}
        self._sets = {name: query.smembers(key) for name, key in found.sets.items()}

    def content(self) -> Content:
        """The content. Raises StoreError if it is not that of a store."""
        content = Content()
        try:
            for name, result in self._hashes.items():
                if name in self._places.counters:
                    content.rows[name], texts = counters(result.value)
                    if name in self._places.texts:
                        content.texts[name] = texts
                elif name in self._places.numbers:
                    content.rows[name] = numbers(result.value)
                else:
                    content.texts[name] = result.value
            for name, scores in self._scores.items():
                content.rows[name] = numbers(dict(scores.value))
            for name, members in self._sets.items():
                content.rows[name] = numbers(dict.fromkeys(members.value, 0))
        except ValueError as error:
            raise StoreError(f"expected numbers in the store ({error})") from None
        return content


def rates_texts(content: Content) -> dict[str, str]:
    """The hash of rates."""
    return {device: rates_of(rows) for device, rows in content.rates.items()}
