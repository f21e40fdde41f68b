"""Decides which devices a flush drops, and whether the clock is reliable enough for that.

Dropping a device can't be undone, so a single reading of the clock is not enough. At boot a clock may be
years off until NTP corrects it, and netifyd and Redis on the same machine use the same clock. The wall clock
is trusted only after it has agreed with the monotonic clock for long enough: then it is *steady*.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.client import Client
from netify_agent.store.deltas import Tally
from netify_agent.store.layout import ALL_COUNTERS, COUNTERS, Keys
from netify_agent.store.transaction import Transaction

log = logging.getLogger(__name__)

DAY_MS = 86_400_000
_TOLERANCE_MS = 3_600_000  # smaller steps, and shorter pauses of the agent, leave a clock steady


@dataclass(frozen=True)
class RetentionLimits:
    """Bounds on the work of one flush."""

    drops: int = 50  # devices dropped
    candidates: int = 500  # longest inactive devices, of which those with the fewest bytes make room
    corrections: int = 1_000  # devices, and ended flows, whose time in the future is corrected


class WallClock(NamedTuple):
    """The wall clock at a flush, in milliseconds since the epoch.

    :ivar steady_since: since when it has agreed with the monotonic clock.
    """

    at_ms: int
    steady_since: int

    @classmethod
    def read(cls, pipe: Any, meta_key: str, at_ms: int, elapsed_ms: int) -> WallClock:
        """Compare the wall clock with that of the previous flush.

        :param pipe: executes commands at once.
        :param at_ms: the wall clock, milliseconds since the epoch.
        :param elapsed_ms: time by the monotonic clock since the previous flush, or the start of the agent.
        """
        before, steady = pipe.hmget(meta_key, "at", "steady")
        moved = before is not None and steady is not None
        if moved and abs(at_ms - int(before) - elapsed_ms) <= _TOLERANCE_MS:
            return cls(at_ms, min(int(steady), at_ms))
        return cls(at_ms, at_ms)

    @property
    def steady_ms(self) -> int:
        """For how long the clock has been steady."""
        return self.at_ms - self.steady_since

    def for_pruning(self, age_ms: int) -> int:
        """The time to prune by: ``at_ms``; 0, which prunes nothing, if not steady for ``age_ms``."""
        return self.at_ms if self.steady_ms >= age_ms else 0


@dataclass(frozen=True)
class Forgotten:
    """The stored rows and counters of a device that is to be dropped."""

    applications: list[str]
    protocols: list[str]
    counters: list[int]


@dataclass(frozen=True)
class Due:
    """Changes that a flush makes besides its batch.

    :ivar forgotten: silent devices to drop.
    :ivar requested: devices to drop because of a request to forget them, active or not.
    :ivar growth: what the flush adds to these, by device.
    :ivar ahead: key of a sorted set to its members with a time in the future; the clock was set back.
    """

    forgotten: dict[str, Forgotten]
    ahead: dict[str, list[str]]
    requested: dict[str, Forgotten] = field(default_factory=dict)
    growth: dict[str, Tally] = field(default_factory=dict)

    @property
    def devices(self) -> list[str]:
        """All devices to drop."""
        return [*self.forgotten, *self.requested]

    def without(self, kept: Collection[str]) -> Due:
        """The same without the silent devices of ``kept``."""
        silent = {device: stored for device, stored in self.forgotten.items() if device not in kept}
        return replace(self, forgotten=silent)

    def note(self, device: str, growth: Tally) -> None:
        """Keep by how much the flush increases a device, if that is requested to be dropped."""
        if device in self.requested:
            self.growth[device] = growth

    def shrinkage(self, device: str) -> list[int]:
        """By how much the bytes and packets of a dropped device fall; negative numbers."""
        stored = self.forgotten.get(device) or self.requested[device]
        return [-count for count in stored.counters[:4]]

    def log(self, dropped: Sequence[str]) -> None:
        """Log the devices that the flush dropped."""
        silent = [device for device in dropped if device not in self.requested]
        if silent:
            log.info("dropped %d silent devices: %s", len(silent), ", ".join(silent))
        if self.requested:
            log.info("forgot, as requested: %s", ", ".join(self.requested))


class Retention:
    """Drops inactive devices of one gateway.

    :ivar forget_after_s: a device is dropped after this time without traffic, seconds. May be changed.
    :ivar max_devices: if the store holds this many devices, inactive ones are dropped after a day. May be
        changed.
    """

    def __init__(
        self,
        client: Client,
        keys: Keys,
        forget_after_s: int,
        max_devices: int,
        limits: RetentionLimits | None = None,
    ) -> None:
        self.forget_after_s = forget_after_s
        self._limits = limits or RetentionLimits()
        self.max_devices = max_devices
        self._client = client
        self._keys = keys

    def read(self, pipe: Any, clock: WallClock, requested: Iterable[str] = ()) -> Due:
        """Find the devices to drop and the times to correct.

        :param pipe: executes commands at once: WATCH is set, MULTI is not.
        :param requested: devices to drop although they are not silent.
        """
        keys = self._keys
        ahead = {
            key: pipe.zrangebyscore(key, f"({clock.at_ms}", "+inf", 0, self._limits.corrections)
            for key in (keys.devices, keys.ends)
        }
        wanted = self._stored(pipe, requested)
        if clock.steady_ms < DAY_MS:
            return Due({}, ahead, wanted)
        latest = clock.at_ms - self.forget_after_s * 1000
        devices = pipe.zrangebyscore(keys.devices, "-inf", latest, 0, self._limits.drops)
        if not devices:
            devices = self._to_make_room(pipe, clock.at_ms - DAY_MS)
        silent = (device for device in devices if device not in wanted)
        return Due(self._stored(pipe, silent), ahead, wanted)

    def _stored(self, pipe: Any, devices: Iterable[str]) -> dict[str, Forgotten]:
        """Read what the store holds of some devices."""
        keys = self._keys
        return {
            device: Forgotten(
                _rows_in(pipe.hkeys(keys.applications(device))),
                _rows_in(pipe.hkeys(keys.protocols(device))),
                [int(count or 0) for count in pipe.hmget(keys.totals(device), ALL_COUNTERS)],
            )
            for device in devices
        }

    def _to_make_room(self, pipe: Any, latest: int) -> list[str]:
        """Return the devices with the fewest bytes among those inactive since ``latest`` (ms), if full."""
        keys = self._keys
        held = pipe.zcard(keys.devices)
        if held < self.max_devices or held - (pipe.zscore(keys.devices, OTHER_DEVICE) is not None) < (
            self.max_devices
        ):
            return []
        inactive = pipe.zrangebyscore(keys.devices, "-inf", latest, 0, self._limits.candidates)
        names = [device for device in inactive if device != OTHER_DEVICE]
        with self._client.pipeline(transaction=False) as reading:
            for device in names:
                reading.hmget(keys.totals(device), COUNTERS[:2])
            amounts = reading.execute() if names else []
        weighed = sorted((int(up or 0) + int(down or 0), index) for index, (up, down) in enumerate(amounts))
        return [names[index] for _, index in weighed[: self._limits.drops]]

    def queue_corrections(self, pipe: Transaction, due: Due, clock: WallClock) -> None:
        """Queue the replacement of future times by now, before all other commands of the flush."""
        for key, members in due.ahead.items():
            if members:
                pipe.zadd(key, dict.fromkeys(members, clock.at_ms))

    def queue_requested(self, pipe: Transaction, due: Due) -> list[str]:
        """Queue the removal of the devices that are requested to be forgotten, and of the requests.

        Call it after all changes of devices are queued.

        :returns: the removed devices.
        """
        for device, stored in due.requested.items():
            added = due.growth.get(device, Tally())
            whole = Forgotten(
                sorted({*stored.applications, *added.applications}),
                sorted({*stored.protocols, *added.protocols}),
                [sum(pair) for pair in zip(stored.counters, added.total, strict=True)],
            )
            self._queue_forget(pipe, device, whole)
            pipe.zrem(self._keys.forget, device)
        return list(due.requested)

    def queue_forget(self, pipe: Transaction, due: Due) -> list[str]:
        """Queue the removal of the due silent devices.

        :returns: the removed devices. The caller must remove their indexes of flows.
        """
        for device, stored in due.forgotten.items():
            self._queue_forget(pipe, device, stored)
        return list(due.forgotten)

    def _queue_forget(self, pipe: Transaction, device: str, what: Forgotten) -> None:
        """Remove a device. Its counters go to ``forgotten``, so that the gateway's total still adds up."""
        keys = self._keys
        pipe.grow(keys.forgotten, what.counters)
        for tag in what.applications:
            pipe.zrem(keys.users(tag), device)
        for protocol in what.protocols:
            pipe.zrem(keys.protocol_users(protocol), device)
        pipe.zrem(keys.devices, device)
        pipe.delete(
            keys.totals(device), keys.applications(device), keys.protocols(device), keys.addresses(device)
        )


def _rows_in(fields: list[str]) -> list[str]:
    """Return the names of the rows in a hash with fields ``code:name``."""
    return sorted({field.partition(":")[2] for field in fields})
