"""Reads what ``/metrics`` reports of the network: the gateway and its heaviest devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netify_agent.store.layout import COUNTERS, GATEWAY
from netify_agent.store.query import FlushStamp, retry_when_flushed
from netify_agent.store.reader import DevicesQuery, StoreReader
from netify_agent.store.rows import Counted, DeviceRow, counters_of, decode_rates, rows_of

_BYTES = COUNTERS[:2]


@dataclass
class Traffic:
    """The network after one flush.

    :ivar devices: the heaviest devices, most bytes first, without their applications.
    :ivar of_all_devices: counters of all devices together.
    :ivar left_out: counters of what was captured at interfaces that do not count.
    :ivar applications: the gateway's applications, most bytes first.
    :ivar counters: the accounting's own counters, by name.
    :ivar known: number of devices in the store.
    :ivar active: number of devices that were seen lately.
    """

    flush: FlushStamp
    gateway: Counted
    devices: list[DeviceRow]
    of_all_devices: dict[str, int]
    left_out: dict[str, int]
    applications: dict[str, Counted]
    counters: dict[str, int]
    known: int
    active: int


class MetricsReader:
    """Reads from one gateway's store. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader

    @retry_when_flushed
    def traffic(self, devices: int, quiet_ms: int) -> Traffic:
        """The gateway and its heaviest devices.

        Reads two counters of every device to find the heaviest, then only what it returns.

        :param devices: how many devices to return.
        :param quiet_ms: a device is inactive once it has been silent for longer, milliseconds.
        """
        keys = self._reader.keys
        query = self._reader.query()
        names = query.zrange(keys.devices)
        flush = query.run()
        heaviest = self._heaviest(flush, names.value, devices) if devices else []

        query = self._reader.query(flush)
        totals = query.hgetall(keys.totals(GATEWAY))
        beside = [query.hgetall(key) for key in (keys.unattributed, keys.mirrored, keys.forgotten)]
        left_out = query.hgetall(keys.left_out)
        rates = query.hget(keys.rates, GATEWAY)
        applications = query.hgetall(keys.applications(GATEWAY))
        counters = query.hgetall(keys.counters)
        active = query.zcount(keys.devices, flush.at_ms - quiet_ms, "+inf")
        rows = DevicesQuery(query, heaviest, addresses=True)
        query.run()

        own_rates, application_rates = decode_rates(rates.value)
        gateway = Counted(counters_of(totals.value), own_rates)
        unattributed, mirrored, forgotten = (counters_of(fields.value) for fields in beside)
        return Traffic(
            flush,
            gateway,
            rows.rows(),
            {
                name: count - unattributed[name] + mirrored[name] - forgotten[name]
                for name, count in gateway.counters.items()
            },
            counters_of(left_out.value),
            rows_of(applications.value, application_rates),
            {name: int(count) for name, count in counters.value.items()},
            len(names.value),
            active.value,
        )

    def _heaviest(self, flush: FlushStamp, names: Sequence[str], limit: int) -> list[str]:
        """The devices with the most bytes, without those that have none."""
        query = self._reader.query(flush)
        counters = [query.hmget(self._reader.keys.totals(name), _BYTES) for name in names]
        query.run()
        weights = [sum(int(count or 0) for count in pair.value) for pair in counters]
        by_weight = sorted(zip(weights, names, strict=True), key=lambda item: (-item[0], item[1]))
        return [name for weight, name in by_weight[:limit] if weight]
