"""Reads the gateway and its devices from Redis.

Applications and protocols of the gateway are read by ``usage_reader``, single flows by ``flow_reader``, the
figures of ``/metrics`` by ``metrics_reader``, those of ``/events`` by ``changes_reader``, and the history by
``history_reader``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from netify_agent.store.client import Client
from netify_agent.store.layout import FIRST_SEEN, GATEWAY, LAST_SEEN, Keys
from netify_agent.store.query import FlushStamp, Query, Result, retry_when_flushed, store_errors
from netify_agent.store.redirect import execute
from netify_agent.store.rows import (
    Counted,
    DeviceRow,
    categories_of,
    counters_of,
    decode_rates,
    rows_of,
    time_of,
)


@dataclass
class NetworkSnapshot:
    """The gateway and its devices after one flush.

    :ivar flush: the flush that everything in it belongs to.
    :ivar gateway: each flow once.
    :ivar unattributed: counters of flows that belong to no device.
    :ivar mirrored: counters that two devices have, because a flow between them counts for both.
    :ivar forgotten: counters of devices that were dropped after a long silence.
    :ivar categories: application to netifyd's category id.
    """

    flush: FlushStamp
    devices: list[DeviceRow]
    gateway: Counted
    unattributed: dict[str, int]
    mirrored: dict[str, int]
    forgotten: dict[str, int]
    categories: dict[str, int]


@dataclass
class DeviceSnapshot:
    """One device after one flush. ``categories``: application to netifyd's category id."""

    flush: FlushStamp
    device: DeviceRow
    categories: dict[str, int]


@dataclass
class KnownNames:
    """What the store knows after one flush.

    :ivar devices: names of the devices, also of those whose counters are all 0.
    :ivar categories: application to netifyd's category id.
    """

    flush: FlushStamp
    devices: list[str]
    categories: dict[str, int]


class StoreReader:
    """The reading side of one gateway's store.

    Every method raises :class:`~netify_agent.store.client.StoreError` if Redis cannot be reached or refuses.
    """

    def __init__(self, client: Client, gateway: str) -> None:
        self.client = client
        self.keys = Keys(gateway)

    def query(self, flush: FlushStamp | None = None) -> Query:
        """A new query; with ``flush``, one that continues reading that flush."""
        return Query(self.client, self.keys, flush)

    def ping(self) -> None:
        """Return if Redis answers."""
        with store_errors():
            self.client.ping()

    def meta(self) -> dict[str, str]:
        """What the last flush stored about itself: ``seq``, ``at`` (ms), ``elapsed`` (ms), and more."""
        meta: dict[str, str] = self._read(lambda pipe: pipe.hgetall(self.keys.meta))
        return meta

    def last_flush(self) -> FlushStamp:
        """The last flush, by one read from Redis."""
        sequence, at_ms = self._read(lambda pipe: pipe.hmget(self.keys.meta, "seq", "at"))
        return FlushStamp(int(sequence or 0), int(at_ms or 0))

    def counters(self) -> dict[str, int]:
        """The accounting's own counters, by name."""
        counters = self._read(lambda pipe: pipe.hgetall(self.keys.counters))
        return {name: int(count) for name, count in counters.items()}

    def left_out(self) -> dict[str, int]:
        """Counters of flows that were captured at interfaces that do not count."""
        return counters_of(self._read(lambda pipe: pipe.hgetall(self.keys.left_out)))

    def _read(self, queue: Callable[[Any], Any]) -> Any:
        """Return the reply to the one command that ``queue`` puts into a pipeline."""
        with store_errors(), self.client.pipeline(transaction=False) as pipe:
            queue(pipe)
            return execute(pipe)[0]

    # -- devices -----------------------------------------------------------------------------------

    @retry_when_flushed
    def snapshot(self, *, addresses: bool = False, users_of: str | None = None) -> NetworkSnapshot:
        """The gateway and its devices, without their applications.

        Devices whose counters are all 0, because all their flows turned out to be another's, are left out.

        :param addresses: whether to read the devices' IP addresses.
        :param users_of: only devices that moved bytes with this application.
        """
        keys = self.keys
        query = self.query()
        names = query.zrange(keys.devices if users_of is None else keys.users(users_of))
        flush = query.run()

        query = self.query(flush)
        gateway = query.hgetall(keys.totals(GATEWAY))
        rates = query.hget(keys.rates, GATEWAY)
        unattributed = query.hgetall(keys.unattributed)
        mirrored = query.hgetall(keys.mirrored)
        forgotten = query.hgetall(keys.forgotten)
        categories = query.hgetall(keys.categories)
        devices = DevicesQuery(query, names.value, addresses=addresses)
        query.run()
        return NetworkSnapshot(
            flush,
            [row for row in devices.rows() if any(row.counters.values())],
            Counted(counters_of(gateway.value), decode_rates(rates.value)[0]),
            counters_of(unattributed.value),
            counters_of(mirrored.value),
            counters_of(forgotten.value),
            categories_of(categories.value),
        )

    def add_details(
        self, snapshot: NetworkSnapshot, rows: Sequence[DeviceRow], *, applications: bool = True
    ) -> None:
        """Read the addresses and applications of some devices into their rows.

        :param rows: devices of ``snapshot``.
        :param applications: False: addresses only.
        :raises FlushedMeanwhile: if the store has moved on since the snapshot.
        """
        for row, found in self.details(snapshot, rows, rows if applications else ()):
            row.applications = found

    def details(
        self, snapshot: NetworkSnapshot, rows: Sequence[DeviceRow], users: Sequence[DeviceRow]
    ) -> Iterator[tuple[DeviceRow, dict[str, Counted]]]:
        """Read the addresses of some devices into their rows, and the applications of some devices.

        :param rows: devices of ``snapshot`` whose addresses are read.
        :param users: devices of ``snapshot`` whose applications are read.
        :returns: each of ``users`` with its applications, most bytes first. They are decoded one device at a
            time: those of a large network need not be in memory together.
        :raises FlushedMeanwhile: if the store has moved on since the snapshot.
        """
        keys = self.keys
        query = self.query(snapshot.flush)
        addresses = [query.zrevrange(keys.addresses(row.name)) for row in rows]
        fields = [query.hgetall(keys.applications(row.name)) for row in users]
        query.run()
        for row, ips in zip(rows, addresses, strict=True):
            row.addresses = ips.value
        return (
            (row, rows_of(of_row.value, row.application_rates))
            for row, of_row in zip(users, fields, strict=True)
        )

    @retry_when_flushed
    def device(
        self, name: str, *, applications: bool = True, protocols: bool = True
    ) -> DeviceSnapshot | None:
        """One device, however many others there are; None if the store knows no such device."""
        query = self.query()
        categories = query.hgetall(self.keys.categories) if applications else None
        devices = DevicesQuery(query, [name], addresses=True, applications=applications, protocols=protocols)
        flush = query.run()
        (row,) = devices.rows()
        if not row.arrived or not any(row.counters.values()):
            return None
        return DeviceSnapshot(flush, row, categories_of(categories.value) if categories else {})

    @retry_when_flushed
    def known(self) -> KnownNames:
        """The names of all devices, and the categories of applications."""
        query = self.query()
        devices = query.zrange(self.keys.devices)
        categories = query.hgetall(self.keys.categories)
        flush = query.run()
        return KnownNames(flush, devices.value, categories_of(categories.value))

    def knows(self, device: str) -> bool:
        """Whether the store has a device of that name."""
        return self._read(lambda pipe: pipe.zscore(self.keys.devices, device)) is not None


class DevicesQuery:
    """Queues the reads for some devices; :meth:`rows` decodes the replies once the query has run."""

    def __init__(
        self,
        query: Query,
        names: Sequence[str],
        *,
        addresses: bool = False,
        applications: bool = False,
        protocols: bool = False,
    ) -> None:
        keys = query.keys
        self._names = names
        self._rates = query.hmget(keys.rates, names)
        self._totals = [query.hgetall(keys.totals(name)) for name in names]
        self._arrivals = [query.zscore(keys.devices, name) for name in names]
        self._addresses: list[Result[list[str]]] = []
        self._applications: list[Result[dict[str, str]]] = []
        self._protocols: list[Result[dict[str, str]]] = []
        if addresses:
            self._addresses = [query.zrevrange(keys.addresses(name)) for name in names]
        if applications:
            self._applications = [query.hgetall(keys.applications(name)) for name in names]
        if protocols:
            self._protocols = [query.hgetall(keys.protocols(name)) for name in names]

    def rows(self) -> list[DeviceRow]:
        """One row for each name, in their order; for an unknown device a row of zeros."""
        return [self._row(index) for index in range(len(self._names))]

    def _row(self, index: int) -> DeviceRow:
        totals = self._totals[index].value
        rates, application_rates = decode_rates(self._rates.value[index])
        return DeviceRow(
            counters_of(totals),
            rates,
            time_of(totals.get(FIRST_SEEN)),
            time_of(totals.get(LAST_SEEN)),
            name=self._names[index],
            interface=totals.get("interface"),
            hint=totals.get("hint"),
            addresses=self._addresses[index].value if self._addresses else [],
            arrived=int(self._arrivals[index].value or 0),
            application_rates=application_rates,
            applications=(
                rows_of(self._applications[index].value, application_rates) if self._applications else {}
            ),
            protocols=rows_of(self._protocols[index].value, {}) if self._protocols else {},
        )
