"""Reads what ``/events`` reports after a flush: the gateway and the devices that changed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from netify_agent.store.layout import GATEWAY
from netify_agent.store.query import FlushStamp, retry_when_flushed
from netify_agent.store.reader import DevicesQuery, StoreReader
from netify_agent.store.rows import Counted, DeviceRow, counters_of, decode_rates


@dataclass
class Changes:
    """The gateway and some devices after one flush, without applications."""

    flush: FlushStamp
    gateway: Counted
    devices: list[DeviceRow]


class ChangesReader:
    """Reads from one gateway's store. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader

    @retry_when_flushed
    def changes(self, changed: Collection[str], since_ms: int | None, at_ms: int, quiet_ms: int) -> Changes:
        """The devices that flushes changed, and those that became inactive in between; sorted by name.

        :param changed: names of the changed devices.
        :param since_ms: our clock at the flush before the first of these flushes, milliseconds since the
            epoch; None: report no device merely because it became inactive.
        :param at_ms: our clock at the last of these flushes.
        :param quiet_ms: a device is inactive once it has been silent for longer, milliseconds.
        """
        keys = self._reader.keys
        query = self._reader.query()
        first_ms = at_ms if since_ms is None else since_ms
        silent = query.zrangebyscore(keys.devices, first_ms - quiet_ms, f"({at_ms - quiet_ms}")
        flush = query.run()

        names = sorted({*changed, *silent.value})
        query = self._reader.query(flush)
        gateway = query.hgetall(keys.totals(GATEWAY))
        rates = query.hget(keys.rates, GATEWAY)
        devices = DevicesQuery(query, names, addresses=True)
        query.run()
        return Changes(
            flush,
            Counted(counters_of(gateway.value), decode_rates(rates.value)[0]),
            [row for row in devices.rows() if row.arrived],
        )
