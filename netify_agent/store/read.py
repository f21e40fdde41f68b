"""Redis to answers: what a request needs, in a handful of round trips, as plain data.

Reads what one flush wrote as a whole, so that the sums of an answer agree to the byte: the flush's number
is the same before and after. Not with MULTI, which a Redis that has run out of memory refuses to readers too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis

from netify_agent.store.client import Client, StoreError, reason
from netify_agent.store.layout import COUNTER_NAMES, FIRST_SEEN, GATEWAY, LAST_SEEN, Keys

_ATTEMPTS = 5  # at an answer that no flush changed while it was read; there is one a second at most

_TOO_FAST = "flushes come faster than they can be read"

Rates = tuple[int, int]
_AT_REST: Rates = (0, 0)


@dataclass
class Counted:
    """Counters of a row.

    :ivar counters: ``bytes_up``, ``bytes_down``, ``packets_up``, ``packets_down``, ``flows``.
    :ivar rates: bits per second up and down over the last interval.
    :ivar first_seen: netifyd's clock, milliseconds since the epoch; None unknown.
    """

    counters: dict[str, int]
    rates: Rates = _AT_REST
    first_seen: int | None = None
    last_seen: int | None = None


@dataclass
class DeviceRow(Counted):
    """A device. ``arrived`` is our own clock at its latest record, milliseconds since the epoch."""

    name: str = ""
    interface: str | None = None
    hint: str | None = None
    addresses: list[str] = field(default_factory=list)
    arrived: int = 0
    applications: dict[str, Counted] = field(default_factory=dict)
    protocols: dict[str, Counted] = field(default_factory=dict)


@dataclass
class Picture:
    """What the store held after flush ``sequence``, taken at ``at_ms`` (our clock, ms since the epoch)."""

    sequence: int
    at_ms: int
    gateway: Counted
    unattributed: dict[str, int]
    mirrored: dict[str, int]
    forgotten: dict[str, int]
    categories: dict[str, int]
    devices: list[DeviceRow]


@dataclass
class ApplicationRow(Counted):
    """An application of the gateway: ``users`` are (device, bytes up and down), most bytes first."""

    tag: str = ""
    category: int = 0
    users: list[tuple[str, int]] = field(default_factory=list)


class StoreReader:
    """The reading side of one gateway's store. Every method raises :class:`StoreError`."""

    def __init__(self, client: Client, gateway: str) -> None:
        self._client = client
        self._keys = Keys(gateway)

    def ping(self) -> None:
        """Return if Redis answers."""
        with _store_errors():
            self._client.ping()

    def meta(self) -> dict[str, str]:
        """What the last flush said of itself: ``seq``, ``at`` (ms), ``elapsed`` (ms), and more."""
        with _store_errors():
            meta: dict[str, str] = self._client.hgetall(self._keys.meta)
            return meta

    def last_flush(self) -> tuple[int, int]:
        """Number of the last flush, and our clock when it was taken (ms since the epoch); 0 for none."""
        with _store_errors():
            sequence, at_ms = self._client.hmget(self._keys.meta, "seq", "at")
            return int(sequence or 0), int(at_ms or 0)

    def counters(self) -> dict[str, int]:
        """The accounting's own counters, by name."""
        with _store_errors():
            return {name: int(count) for name, count in self._client.hgetall(self._keys.counters).items()}

    def picture(self) -> Picture:
        """The gateway and its devices with their applications, but for devices that all moved away from."""
        with _store_errors():
            for _ in range(_ATTEMPTS):
                with self._client.pipeline(transaction=False) as pipe:
                    pipe.zrange(self._keys.devices, 0, -1)
                    pipe.hget(self._keys.meta, "seq")
                    devices, sequence = pipe.execute()
                picture = self._picture(devices)
                if picture.sequence == int(sequence or 0):
                    picture.devices = [row for row in picture.devices if any(row.counters.values())]
                    return picture
        raise StoreError(_TOO_FAST)

    def device(self, name: str) -> tuple[Picture, DeviceRow] | None:
        """One device with its applications and protocols, or None if the store knows no such device."""
        with _store_errors():
            picture = self._picture([name], protocols=True)
        row = picture.devices[0]
        return (picture, row) if row.arrived and any(row.counters.values()) else None

    def _picture(self, devices: Sequence[str], *, protocols: bool = False) -> Picture:
        keys = self._keys

        def queue(pipe: Any) -> None:
            pipe.hgetall(keys.meta)
            pipe.hgetall(keys.totals(GATEWAY))
            pipe.hgetall(keys.unattributed)
            pipe.hgetall(keys.mirrored)
            pipe.hgetall(keys.forgotten)
            pipe.hgetall(keys.categories)
            pipe.hmget(keys.rates, [GATEWAY, *devices])
            for device in devices:
                pipe.hgetall(keys.totals(device))
                pipe.hgetall(keys.applications(device))
                pipe.zrevrange(keys.addresses(device), 0, -1)
                pipe.zscore(keys.devices, device)
                if protocols:
                    pipe.hgetall(keys.protocols(device))

        meta, gateway, unattributed, mirrored, forgotten, categories, rates, *rest = self._whole(queue)
        width = 5 if protocols else 4
        rows = []
        for index, device in enumerate(devices):
            totals, applications, addresses, arrived = rest[index * width : index * width + 4]
            total_rates, by_application = _decode_rates(rates[index + 1])
            rows.append(
                DeviceRow(
                    _counters(totals),
                    total_rates,
                    _time(totals.get(FIRST_SEEN)),
                    _time(totals.get(LAST_SEEN)),
                    name=device,
                    interface=totals.get("interface"),
                    hint=totals.get("hint"),
                    addresses=addresses,
                    arrived=int(arrived or 0),
                    applications=_rows(applications, by_application),
                    protocols=_rows(rest[index * width + 4], {}) if protocols else {},
                )
            )
        return Picture(
            int(meta.get("seq", 0)),
            int(meta.get("at", 0)),
            Counted(_counters(gateway), _decode_rates(rates[0])[0]),
            _counters(unattributed),
            _counters(mirrored),
            _counters(forgotten),
            {tag: int(category) for tag, category in categories.items()},
            rows,
        )

    def _whole(self, queue: Callable[[Any], None]) -> list[Any]:
        """Replies to what ``queue`` puts into a pipeline, with no flush between them. Raises StoreError."""
        for _ in range(_ATTEMPTS):
            with self._client.pipeline(transaction=False) as pipe:
                pipe.hget(self._keys.meta, "seq")
                queue(pipe)
                pipe.hget(self._keys.meta, "seq")
                replies: list[Any] = pipe.execute()
            if replies[0] == replies[-1]:
                return replies[1:-1]
        raise StoreError(_TOO_FAST)

    def applications(self, users: int) -> tuple[int, list[ApplicationRow]]:
        """The gateway's applications, most bytes first, each with its ``users`` heaviest devices.

        :returns: our clock at the last flush (milliseconds since the epoch), and the rows.
        """
        keys = self._keys
        with _store_errors():
            tags = {field.partition(":")[2] for field in self._client.hkeys(keys.applications(GATEWAY))}
            ordered = sorted(tags)

            def queue(pipe: Any) -> None:
                pipe.hget(keys.meta, "at")
                pipe.hgetall(keys.applications(GATEWAY))
                pipe.hgetall(keys.categories)
                pipe.hget(keys.rates, GATEWAY)
                for tag in ordered:
                    pipe.zrevrange(keys.users(tag), 0, users - 1, withscores=True)

            at, fields, categories, rates, *heaviest = self._whole(queue)
        used = dict(zip(ordered, heaviest, strict=True))
        rows = [
            ApplicationRow(
                row.counters,
                row.rates,
                row.first_seen,
                row.last_seen,
                tag=tag,
                category=int(categories.get(tag, 0)),
                users=[(device, int(score)) for device, score in used.get(tag, ())],
            )
            for tag, row in _rows(fields, _decode_rates(rates)[1]).items()
        ]
        return int(at or 0), rows

    def history(
        self, device: str, step: int, starts: Iterable[int]
    ) -> list[tuple[int, dict[str, dict[str, int]]]]:
        """Buckets of a device, or of the gateway (an empty name).

        :param step: seconds that a bucket covers.
        :param starts: of the wanted buckets, seconds since the epoch.
        :returns: of each bucket that saw traffic its start and its counters, by application; the
            total stands under the empty name. Applications have bytes only.
        """
        starts = list(starts)
        with _store_errors(), self._client.pipeline(transaction=False) as pipe:
            for start in starts:
                pipe.hgetall(self._keys.bucket(step, start, device))
            found = pipe.execute() if starts else []
        return [(start, _by_name(fields)) for start, fields in zip(starts, found, strict=True) if fields]

    def knows(self, device: str) -> bool:
        """Whether the store has a device of that name."""
        with _store_errors():
            return self._client.zscore(self._keys.devices, device) is not None


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise StoreError(reason(error)) from error


def _counters(fields: dict[str, str]) -> dict[str, int]:
    return {name: int(fields.get(code, 0)) for code, name in COUNTER_NAMES.items()}


def _time(value: str | None) -> int | None:
    return int(value) if value else None


def _by_name(fields: dict[str, str]) -> dict[str, dict[str, int]]:
    """Fields ``code:name`` to counters by name; a bare ``code`` is of the empty name."""
    rows: dict[str, dict[str, int]] = {}
    for name, value in fields.items():
        code, _, owner = name.partition(":")
        rows.setdefault(owner, {})[COUNTER_NAMES.get(code, code)] = int(value)
    return rows


def _rows(fields: dict[str, str], rates: dict[str, Rates]) -> dict[str, Counted]:
    """Rows by name, most bytes first; a row whose every byte and flow has moved away is none."""
    rows = []
    for name, values in _by_name(fields).items():
        counters = {counter: values.get(counter, 0) for counter in COUNTER_NAMES.values()}
        if any(counters.values()):
            first, last = values.get(FIRST_SEEN), values.get(LAST_SEEN)
            rows.append((name, Counted(counters, rates.get(name, _AT_REST), first, last)))
    rows.sort(key=lambda item: (-item[1].counters["bytes_up"] - item[1].counters["bytes_down"], item[0]))
    return dict(rows)


def _decode_rates(text: str | None) -> tuple[Rates, dict[str, Rates]]:
    if not text:
        return _AT_REST, {}
    total: Any
    total, rows = json.loads(text)
    return (total[0], total[1]), {tag: (pair[0], pair[1]) for tag, pair in rows.items()}
