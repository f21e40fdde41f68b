"""What monitors and live pages ask for after each flush: counters of many devices, without applications.

Apart from ``read`` because nobody needs both: an answer there is a whole document, here it is its top.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from netify_agent.store.layout import COUNTERS, GATEWAY
from netify_agent.store.reader import StoreReader, devices_of, store_errors
from netify_agent.store.rows import Counted, Devices, counters_of, decode_rates, rows_of

_BYTES = COUNTERS[:2]


@dataclass
class NetworkSummary(Devices):
    """Devices without their applications, and the gateway."""

    gateway: Counted


@dataclass
class Traffic(NetworkSummary):
    """The heaviest devices, most bytes first, and more of the gateway.

    :ivar of_all_devices: counters of all devices together.
    :ivar applications: of the gateway, most bytes first.
    :ivar counters: the accounting's own.
    :ivar known: devices that the store has; :ivar active: those among them that were seen lately.
    """

    of_all_devices: dict[str, int]
    applications: dict[str, Counted]
    counters: dict[str, int]
    known: int
    active: int


class NetworkSummaryReader:
    """Reads glances of one gateway. Every method raises StoreError."""

    def __init__(self, reader: StoreReader) -> None:
        """Read where ``reader`` does."""
        self._reader = reader
        self._client = reader.client
        self._keys = reader.keys

    def sequence(self) -> int:
        """Number of the last flush, 0 before the first."""
        with store_errors():
            return int(self._client.hget(self._keys.meta, "seq") or 0)

    def changed(
        self, devices: Collection[str], since_ms: int | None, at_ms: int, quiet_ms: int
    ) -> NetworkSummary:
        """``devices``, and those that were active until after ``since_ms`` and are not at ``at_ms``; by name.

        :param since_ms: our clock; None where only ``devices`` are wanted.
        :param quiet_ms: a device is active until it was silent for longer.
        """
        keys = self._keys
        names = set(devices)
        with store_errors():
            if since_ms is not None:
                silent = since_ms - quiet_ms, f"({at_ms - quiet_ms}"
                names.update(self._client.zrangebyscore(keys.devices, *silent))
            ordered = sorted(names)

            def queue(pipe: Any) -> None:
                pipe.hgetall(keys.totals(GATEWAY))
                pipe.hget(keys.rates, GATEWAY)
                self._queue(pipe, ordered)

            totals, rates, *rest = self._reader.whole(queue)
        return NetworkSummary(**_known(ordered, rest), gateway=_gateway(totals, rates))

    def traffic(self, devices: int, quiet_ms: int) -> Traffic:
        """The gateway, and its ``devices`` heaviest devices.

        Costs two counters of every device, to find those, and then what it returns.
        """
        keys = self._keys
        with store_errors():
            ordered, at_ms = self._heaviest(devices)

            def queue(pipe: Any) -> None:
                for key in (keys.totals(GATEWAY), keys.unattributed, keys.mirrored, keys.forgotten):
                    pipe.hgetall(key)
                pipe.hget(keys.rates, GATEWAY)
                pipe.hgetall(keys.applications(GATEWAY))
                pipe.hgetall(keys.counters)
                pipe.zcard(keys.devices)
                pipe.zcount(keys.devices, at_ms - quiet_ms, "+inf")
                self._queue(pipe, ordered)

            found = self._reader.whole(queue)
        gateway, unattributed, mirrored, forgotten = map(counters_of, found[:4])
        rates, applications, counters, known, active, *rest = found[4:]
        return Traffic(
            **_known(ordered, rest),
            gateway=_gateway(found[0], rates),
            of_all_devices={
                name: count - unattributed[name] + mirrored[name] - forgotten[name]
                for name, count in gateway.items()
            },
            applications=rows_of(applications, decode_rates(rates)[1]),
            counters={name: int(count) for name, count in counters.items()},
            known=known,
            active=active,
        )

    def _heaviest(self, count: int) -> tuple[list[str], int]:
        """Names of the devices with the most bytes, and our clock at the last flush (ms)."""
        keys = self._keys
        with self._client.pipeline(transaction=False) as pipe:
            pipe.zrange(keys.devices, 0, -1)
            pipe.hget(keys.meta, "at")
            names, at_ms = pipe.execute()
            for name in names:
                pipe.hmget(keys.totals(name), *_BYTES)
            amounts = pipe.execute() if names and count else []
        weights = [-int(up or 0) - int(down or 0) for up, down in amounts]
        weighed = sorted(zip(weights, names, strict=False))
        return [name for weight, name in weighed[:count] if weight], int(at_ms or 0)

    def _queue(self, pipe: Any, names: Sequence[str]) -> None:
        self._reader.queue_devices(pipe, names, False, True, False)


def _known(names: Sequence[str], replies: list[Any]) -> dict[str, Any]:
    """The fields of :class:`Devices`, with the devices that the store knows."""
    found = devices_of(names, replies, False, True, False)
    found.devices = [row for row in found.devices if row.arrived]
    return vars(found)


def _gateway(totals: dict[str, str], rates: str | None) -> Counted:
    return Counted(counters_of(totals), decode_rates(rates)[0])
