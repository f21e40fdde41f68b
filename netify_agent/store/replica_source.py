"""Reads at a gateway what a collector does not have yet, as messages. Writes nothing."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence

from netify_agent.store.client import Client, StoreError, undecoded
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import GATEWAY, OPEN, Keys, Unit
from netify_agent.store.query import FlushStamp, Query, retry_when_flushed
from netify_agent.store.replica import HEAD, Content, Message, device_item, places, unit_item

_ROWS_AT_ONCE = 100  # devices in one round trip
MAX_HISTORY = 1 << 18  # bytes of chunks in one message, unless a single item has more


class NotYet(StoreError):
    """There is nothing that can be copied: no flush so far, or a store that is still migrated."""


class ReplicaSource:
    """The store of one gateway. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(
        self,
        client: Client,
        gateway: str,
        steps: HistorySteps,
        settings: Mapping[str, str],
        max_history: int = MAX_HISTORY,
    ) -> None:
        """Sends nothing yet.

        :param settings: what the head says of the gateway's settings.

        :param max_history: bytes of closed chunks in a message. The next one has the other changed chunks.
        """
        self._client = client
        self._undecoded = undecoded(client)
        self._keys = Keys(gateway)
        self._steps = steps
        self._settings = dict(settings)
        self._max_history = max_history

    @retry_when_flushed
    def message(self, base: str, known: Mapping[str, str]) -> tuple[Message, dict[str, str], bool]:
        """What the collector lacks, of the state after one flush.

        :param base: the collector's position; empty: none.
        :param known: the items that it has: id to digest.
        :returns: the message; the items that the collector has once it is applied; whether that is all.
        :raises NotYet: if the store has nothing to be copied.
        """
        head, due, flush, elapsed_ms = self._head()
        at = flush.at_ms // 1000
        items = {HEAD: head}
        digests = {}
        devices = [*head.scores["devices"]]
        series = [GATEWAY, *devices, *head.sets["series"]]
        for name, content in self._devices(flush, devices).items():
            digests[name] = content.digest()
            if digests[name] != known.get(name):
                items[name] = content
        units = self._units(flush, due, at)
        ttl_s: dict[str, int] = {}
        size, complete = 0, True
        for unit in units:
            name = unit_item(unit)
            content = self._unit(flush, unit, series)
            is_closed = unit[0] != OPEN and unit not in due
            digest = content.digest() + ("-closed" if is_closed else "")
            if digest == known.get(name):
                digests[name] = digest
                continue
            more = sum(map(len, content.chunks.values()))
            if is_closed and size and size + more > self._max_history:
                complete = False
                if name in known:
                    digests[name] = known[name]  # an older state; sent with one of the next messages
                continue
            digests[name], items[name] = digest, content
            if is_closed:
                size += more
                ttl_s[name] = self._steps.ttl(*unit, at)
        gone = sorted(known.keys() - digests.keys())
        position = secrets.token_hex(16)
        return Message(base, position, flush.at_ms, elapsed_ms, items, ttl_s, gone), digests, complete

    def _head(self) -> tuple[Content, set[Unit], FlushStamp, int]:
        query = Query(self._client, self._keys)
        found = places(self._keys, HEAD)
        assert found is not None
        hashes = {name: query.hgetall(key) for name, key in found.hashes.items()}
        scores = {name: query.highest(key, None) for name, key in found.scores.items()}
        sets = {name: query.smembers(key) for name, key in found.sets.items()}
        unmigrated = query.smembers(self._keys.unmigrated)
        elapsed = query.hget(self._keys.meta, "elapsed")
        flush = query.run()
        if not flush.sequence:
            raise NotYet("no flush has been stored yet")
        if unmigrated.value:
            raise NotYet("the history is still migrated to the packed form")
        content = Content(
            {name: result.value for name, result in hashes.items()},
            {name: dict(result.value) for name, result in scores.items()},
            {name: sorted(result.value) for name, result in sets.items()},
        )
        content.hashes["settings"] = self._settings
        due = {(step, start) for step, start in json.loads(content.hashes["history"].get("due", "[]"))}
        return content, due, flush, int(elapsed.value or 0)

    def _devices(self, flush: FlushStamp, devices: Sequence[str]) -> dict[str, Content]:
        items = {}
        for at in range(0, len(devices), _ROWS_AT_ONCE):
            query = Query(self._client, self._keys, flush)
            read = []
            for device in devices[at : at + _ROWS_AT_ONCE]:
                name = device_item(device)
                found = places(self._keys, name)
                assert found is not None
                hashes = {part: query.hgetall(key) for part, key in found.hashes.items()}
                scores = {part: query.highest(key, None) for part, key in found.scores.items()}
                read.append((name, hashes, scores))
            query.run()
            for name, hashes, scores in read:
                items[name] = Content(
                    {part: result.value for part, result in hashes.items()},
                    {part: dict(result.value) for part, result in scores.items()},
                )
        return items

    def _units(self, flush: FlushStamp, due: set[Unit], at: int) -> list[Unit]:
        """The units to compare: first those that are due, then closed ones, the newest first.

        A closed one whose records are no longer kept is left out: the collector's copy expires too.
        """
        query = Query(self._client, self._keys, flush)
        found = [(step, query.zrange(self._keys.chunks(step))) for step in self._steps.all]
        query.run()
        closed = {
            (step, int(start))
            for step, starts in found
            for start in starts.value
            if self._steps.chunk_end(step, int(start)) + self._steps.keep_s[step] > at
        }
        return [*sorted(due), *sorted(closed - due, key=lambda unit: unit[1], reverse=True)]

    def _unit(self, flush: FlushStamp, unit: Unit, series: Sequence[str]) -> Content:
        if unit[0] == OPEN:
            query = Query(self._client, self._keys, flush)
            buckets = {name: query.hgetall(self._keys.open_bucket(unit[1], name)) for name in series}
            query.run()
            return Content({name: result.value for name, result in buckets.items() if result.value})
        query = Query(self._undecoded, self._keys, flush)
        chunks = query.mget([self._keys.chunk(unit, name) for name in series])
        query.run()
        return Content(chunks={name: data for name, data in zip(series, chunks.value, strict=True) if data})
