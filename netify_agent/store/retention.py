"""Which devices a flush drops, and whether its clock may decide that.

Dropping a device can't be undone, so no single reading of a clock is enough. At boot a clock may be years off
until the network corrects it, and netifyd and Redis on the same machine read the same one. Time that this
process has measured itself decides: the wall clock is steady while it moves as the monotonic clock does.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.client import Client
from netify_agent.store.flow_writer import FlowWriterLimits
from netify_agent.store.layout import COUNTERS, Keys
from netify_agent.store.transaction import Transaction

DAY_MS = 86_400_000
_TOLERANCE_MS = 3_600_000  # a step by no more, or a pause of the agent for no longer, leaves a clock steady
_AT_ONCE = 50  # devices dropped by one flush, so that none takes long
_WEIGHED = 500  # devices, silent for the longest, among which those with the fewest bytes make room
_CORRECTED = 1_000  # devices, and ended flows, whose time lies ahead, corrected by one flush


class WallClock(NamedTuple):
    """The wall clock at a flush, in milliseconds since the epoch.

    :ivar steady_since: since when it has moved as the monotonic clock did.
    """

    at_ms: int
    steady_since: int

    @classmethod
    def read(cls, pipe: Any, meta_key: str, at_ms: int, elapsed_ms: int) -> WallClock:
        """Compare it with the flush before.

        :param pipe: executes at once.
        :param elapsed_ms: by the monotonic clock, since the flush before or since the start of the agent.
        """
        before, steady = pipe.hmget(meta_key, "at", "steady")
        moved = before is not None and steady is not None
        if moved and abs(at_ms - int(before) - elapsed_ms) <= _TOLERANCE_MS:
            return cls(at_ms, min(int(steady), at_ms))
        return cls(at_ms, at_ms)

    @property
    def steady_ms(self) -> int:
        """For how long it has been steady."""
        return self.at_ms - self.steady_since

    @property
    def for_pruning(self) -> int:
        """``at_ms`` to prune ended flows by; 0, at which none is due, while the clock may be wrong."""
        return self.at_ms if self.steady_ms >= FlowWriterLimits().ended_ms else 0


@dataclass(frozen=True)
class Forgotten:
    """What is left of a device that is to be dropped."""

    applications: list[str]
    protocols: list[str]
    counters: list[int]


@dataclass(frozen=True)
class Due:
    """What a flush is to do beside what its batch tells.

    :ivar forgotten: devices to drop.
    :ivar ahead: by key of a sorted set, what has a time later than now in it, because the clock went back.
    """

    forgotten: dict[str, Forgotten]
    ahead: dict[str, list[str]]


class Retention:
    """Devices of one gateway.

    :ivar forget_after_s: a device silent for so long is dropped, in seconds.
    :ivar max_devices: where the store holds so many, silent ones are dropped after a day. Both may be changed
        at any time.
    """

    def __init__(self, client: Client, keys: Keys, forget_after_s: int, max_devices: int) -> None:
        self.forget_after_s = forget_after_s
        self.max_devices = max_devices
        self._client = client
        self._keys = keys

    def read(self, pipe: Any, clock: WallClock) -> Due:
        """Find out what is due.

        :param pipe: executes at once, because it watches and is not in MULTI yet.
        """
        keys = self._keys
        ahead = {
            key: pipe.zrangebyscore(key, f"({clock.at_ms}", "+inf", 0, _CORRECTED)
            for key in (keys.devices, keys.ends)
        }
        if clock.steady_ms < DAY_MS:
            return Due({}, ahead)
        latest = clock.at_ms - self.forget_after_s * 1000
        devices = pipe.zrangebyscore(keys.devices, "-inf", latest, 0, _AT_ONCE)
        if not devices:
            devices = self._to_make_room(pipe, clock.at_ms - DAY_MS)
        forgotten = {
            device: Forgotten(
                _rows_in(pipe.hkeys(keys.applications(device))),
                _rows_in(pipe.hkeys(keys.protocols(device))),
                [int(count or 0) for count in pipe.hmget(keys.totals(device), COUNTERS)],
            )
            for device in devices
        }
        return Due(forgotten, ahead)

    def _to_make_room(self, pipe: Any, latest: int) -> list[str]:
        """Of the devices silent since ``latest``, in ms, those whose loss costs the least."""
        keys = self._keys
        held = pipe.zcard(keys.devices)
        if held < self.max_devices or held - (pipe.zscore(keys.devices, OTHER_DEVICE) is not None) < (
            self.max_devices
        ):
            return []
        silent = pipe.zrangebyscore(keys.devices, "-inf", latest, 0, _WEIGHED)
        names = [device for device in silent if device != OTHER_DEVICE]
        with self._client.pipeline(transaction=False) as reading:
            for device in names:
                reading.hmget(keys.totals(device), COUNTERS[:2])
            amounts = reading.execute() if names else []
        weighed = sorted((int(up or 0) + int(down or 0), index) for index, (up, down) in enumerate(amounts))
        return [names[index] for _, index in weighed[:_AT_ONCE]]

    def queue_corrections(self, pipe: Transaction, due: Due, clock: WallClock) -> None:
        """Queue that what has a time later than now was seen now, before all else that the flush does."""
        for key, members in due.ahead.items():
            if members:
                pipe.zadd(key, dict.fromkeys(members, clock.at_ms))

    def queue_forget(self, pipe: Transaction, due: Due, told: Collection[str]) -> list[str]:
        """Queue the dropping of devices, but for those that this flush tells of.

        :returns: the devices that are dropped. Their indexes of flows are the caller's to drop.
        """
        dropped = [device for device in due.forgotten if device not in told]
        for device in dropped:
            self._queue_forget(pipe, device, due.forgotten[device])
        return dropped

    def _queue_forget(self, pipe: Transaction, device: str, what: Forgotten) -> None:
        """Drop a device; its counters stay in a sum, so that the gateway's total still adds up."""
        keys = self._keys
        pipe.grow(keys.forgotten, "", what.counters)
        for tag in what.applications:
            pipe.zrem(keys.users(tag), device)
        for protocol in what.protocols:
            pipe.zrem(keys.protocol_users(protocol), device)
        pipe.zrem(keys.devices, device)
        pipe.delete(
            keys.totals(device), keys.applications(device), keys.protocols(device), keys.addresses(device)
        )


def bucket_ttl(start: int, step: int, keep: int, at_ms: int) -> int:
    """Seconds for which a history bucket stays in Redis.

    A time to live instead of a point in time, because Redis' clock need not agree with ours. Where our clock
    was wrong when the bucket began, it is at least ``step`` and at most the time that a bucket of now has.
    """
    return min(max(start + step + keep - at_ms // 1000, step), step + keep)


def _rows_in(fields: list[str]) -> list[str]:
    """Names of the rows of a hash with fields ``code:name``."""
    return sorted({field.partition(":")[2] for field in fields})
