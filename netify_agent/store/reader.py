"""Redis to answers: what a request needs, in a handful of round trips, as plain data.

Reads what one flush wrote as a whole, so that the sums of an answer agree to the byte: the flush's number
is the same before and after. Not with MULTI, which a Redis that has run out of memory refuses to readers too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis

from netify_agent.store.client import Client, StoreError, reason
from netify_agent.store.latest import LastFlush
from netify_agent.store.layout import FIRST_SEEN, GATEWAY, LAST_SEEN, Keys
from netify_agent.store.rows import (
    Counted,
    DeviceRow,
    Devices,
    NetworkSnapshot,
    by_name,
    counters_of,
    decode_rates,
    rows_of,
    time_of,
)

ATTEMPTS = 5  # at an answer that no flush changed while it was read; there is one a second at most

TOO_FAST = "flushes come faster than they can be read"

#: Given all devices without their applications, the ones that are wanted with all that belongs to them.
Select = Callable[[NetworkSnapshot], Sequence[DeviceRow]]


class StoreReader:
    """The reading side of one gateway's store. Every method raises :class:`StoreError`."""

    def __init__(self, client: Client, gateway: str) -> None:
        self.client = client
        self.keys = Keys(gateway)
        self._last_flush = LastFlush(client, self.keys.meta)

    def ping(self) -> None:
        """Return if Redis answers."""
        with store_errors():
            self.client.ping()

    def meta(self) -> dict[str, str]:
        """What the last flush said of itself: ``seq``, ``at`` (ms), ``elapsed`` (ms), and more."""
        with store_errors():
            meta: dict[str, str] = self.client.hgetall(self.keys.meta)
            return meta

    def last_flush(self) -> tuple[int, int]:
        """Number of the last flush, and our clock when it was taken (ms since the epoch); 0 for none."""
        with store_errors():
            return self._last_flush.read()

    def counters(self) -> dict[str, int]:
        """The accounting's own counters, by name."""
        with store_errors():
            return {name: int(count) for name, count in self.client.hgetall(self.keys.counters).items()}

    # -- devices -----------------------------------------------------------------------------------

    def snapshot(
        self,
        select: Select | None = None,
        *,
        applications: bool = True,
        addresses: bool = False,
        users_of: str | None = None,
    ) -> NetworkSnapshot:
        """The gateway and its devices, but for devices that all moved away from.

        :param select: which of them are wanted, and in which order; None: all.
        :param applications: whether with their applications.
        :param addresses: whether ``select`` needs their addresses.
        :param users_of: only those that moved bytes with this application.
        """
        keys = self.keys
        with store_errors():
            for _ in range(ATTEMPTS):
                with self.client.pipeline(transaction=False) as pipe:
                    pipe.zrange(keys.devices if users_of is None else keys.users(users_of), 0, -1)
                    pipe.hget(keys.meta, "seq")
                    names, sequence = pipe.execute()
                everything = select is None
                snapshot = self._picture(
                    names, applications=applications and everything, addresses=addresses or everything
                )
                if snapshot.sequence != int(sequence or 0):
                    continue
                snapshot.devices = [row for row in snapshot.devices if any(row.counters.values())]
                if select is None:
                    return snapshot
                wanted = [row.name for row in select(snapshot)]
                chosen = self._devices(wanted, applications=applications)
                if chosen.sequence == snapshot.sequence:
                    snapshot.devices = chosen.devices
                    snapshot.categories = chosen.categories
                    return snapshot
        raise StoreError(TOO_FAST)

    def device(
        self, name: str, *, applications: bool = True, protocols: bool = True
    ) -> tuple[Devices, DeviceRow] | None:
        """One device, or None if the store knows no such device.

        Costs what the device has, however many others there are.
        """
        with store_errors():
            found = self._devices([name], applications=applications, protocols=protocols)
        row = found.devices[0]
        return (found, row) if row.arrived and any(row.counters.values()) else None

    def _picture(self, names: Sequence[str], *, applications: bool, addresses: bool) -> NetworkSnapshot:
        keys = self.keys

        def queue(pipe: Any) -> None:
            pipe.hgetall(keys.totals(GATEWAY))
            pipe.hget(keys.rates, GATEWAY)
            for key in (keys.unattributed, keys.mirrored, keys.forgotten):
                pipe.hgetall(key)
            self.queue_devices(pipe, names, applications, addresses, False)

        gateway, rates, unattributed, mirrored, forgotten, *rest = self.whole(queue)
        devices = devices_of(names, rest, applications, addresses, False)
        return NetworkSnapshot(
            devices.sequence,
            devices.at_ms,
            devices.categories,
            devices.devices,
            Counted(counters_of(gateway), decode_rates(rates)[0]),
            counters_of(unattributed),
            counters_of(mirrored),
            counters_of(forgotten),
        )

    def _devices(self, names: Sequence[str], *, applications: bool, protocols: bool = False) -> Devices:
        replies = self.whole(lambda pipe: self.queue_devices(pipe, names, applications, True, protocols))
        return devices_of(names, replies, applications, True, protocols)

    def queue_devices(
        self, pipe: Any, names: Sequence[str], applications: bool, addresses: bool, protocols: bool
    ) -> None:
        """Ask for what :func:`devices_of` takes apart."""
        keys = self.keys
        pipe.hmget(keys.meta, "seq", "at")
        pipe.hmget(keys.rates, list(names) or [GATEWAY])
        if applications:
            pipe.hgetall(keys.categories)
        for name in names:
            pipe.hgetall(keys.totals(name))
            pipe.zscore(keys.devices, name)
            if addresses:
                pipe.zrevrange(keys.addresses(name), 0, -1)
            if applications:
                pipe.hgetall(keys.applications(name))
            if protocols:
                pipe.hgetall(keys.protocols(name))

    def knows(self, device: str) -> bool:
        """Whether the store has a device of that name."""
        with store_errors():
            return self.client.zscore(self.keys.devices, device) is not None

    # -- history -----------------------------------------------------------------------------------

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
        with store_errors(), self.client.pipeline(transaction=False) as pipe:
            for start in starts:
                pipe.hgetall(self.keys.bucket(step, start, device))
            found = pipe.execute() if starts else []
        return [(start, by_name(fields)) for start, fields in zip(starts, found, strict=True) if fields]

    def whole(self, queue: Callable[[Any], None]) -> list[Any]:
        """Replies to what ``queue`` puts into a pipeline, with no flush between them."""
        for _ in range(ATTEMPTS):
            with self.client.pipeline(transaction=False) as pipe:
                pipe.hget(self.keys.meta, "seq")
                queue(pipe)
                pipe.hget(self.keys.meta, "seq")
                replies: list[Any] = pipe.execute()
            if replies[0] == replies[-1]:
                return replies[1:-1]
        raise StoreError(TOO_FAST)


def devices_of(
    names: Sequence[str], replies: list[Any], applications: bool, addresses: bool, protocols: bool
) -> Devices:
    """Devices from the replies to what :meth:`StoreReader.queue_devices` asked."""
    replies_of = iter(replies)
    sequence, at_ms = next(replies_of)
    rates = next(replies_of)
    categories = next(replies_of) if applications else {}
    rows = []
    for name, rates_of in zip(names, rates, strict=False):  # for no names there is one reply
        totals = next(replies_of)
        total_rates, by_application = decode_rates(rates_of)
        rows.append(
            DeviceRow(
                counters_of(totals),
                total_rates,
                time_of(totals.get(FIRST_SEEN)),
                time_of(totals.get(LAST_SEEN)),
                name=name,
                interface=totals.get("interface"),
                hint=totals.get("hint"),
                arrived=int(next(replies_of) or 0),
                addresses=next(replies_of) if addresses else [],
                applications=rows_of(next(replies_of), by_application) if applications else {},
                protocols=rows_of(next(replies_of), {}) if protocols else {},
            )
        )
    return Devices(
        int(sequence or 0), int(at_ms or 0), {tag: int(one) for tag, one in categories.items()}, rows
    )


@contextmanager
def store_errors() -> Iterator[None]:
    """Let what redis-py raises leave as StoreError."""
    try:
        yield
    except redis.RedisError as error:
        raise StoreError(reason(error)) from error
