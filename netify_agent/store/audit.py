"""Checks that the sums in Redis agree, in parts, one after each flush. They disagree if Redis lost keys.

The sums are described in docs/store.md: the gateway is the sum of its devices, plus what belongs to no
device, less what counts at two devices. A device is the sum of its applications, and of its protocols. What
the gateway has is never less than it was, so that a loss of the gateway and all devices is seen too. The
audit runs in the writer thread. Nothing else writes to the store, so between two parts only the flushes
change it, and their changes are passed to the audit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import redis

from netify_agent.store.client import Client
from netify_agent.store.layout import COUNTERS, GATEWAY, Keys

_BUDGET_S = 0.02  # time per flush; 0.1 % of the default interval
_AT_ONCE = 25  # devices read in one round trip: about 2,500 fields
_CODES = COUNTERS[:4]  # bytes and packets
_NAMES = ("bytes up", "bytes down", "packets up", "packets down")

_Sums = list[int]


class SumAudit:
    """Audits one gateway's sums in endless passes.

    :ivar client: the connection to Redis.
    :ivar breach: which sums do not agree, in one line. Kept until a complete pass finds no disagreement.
    """

    def __init__(self, client: Client, gateway: str, budget_s: float = _BUDGET_S) -> None:
        """``budget_s``: time limit of a step in seconds. A step makes at least one round trip."""
        self._budget_s = budget_s
        self.breach: str | None = None
        self.client = client
        self._keys = Keys(gateway)
        self.restart()

    def restart(self) -> None:
        """Start anew, because the store changed other than by flushes."""
        self._highest = [0] * len(_CODES)  # totals of the gateway, of the passes so far
        self._begin()

    def _begin(self) -> None:
        """Begin a pass."""
        self._pending: dict[str, None] | None = None  # devices still to be read, in order
        self._sum = [0] * len(_CODES)  # of the devices read so far, with their changes since
        self._found: str | None = None

    def grow(self, growth: Mapping[str, Sequence[int]]) -> None:
        """Note an applied flush, which added ``growth`` (bytes and packets) to the totals of devices."""
        if self._pending is None:
            return
        for device, counts in growth.items():
            if device not in self._pending:  # read already, or new since the pass began
                self._sum = [total + count for total, count in zip(self._sum, counts, strict=False)]

    def step(self, sequence: int) -> bool:
        """Audit the next part, as much as the budget allows.

        :param sequence: number of the last flush. If Redis holds another one, the pass restarts.
        :returns: whether this part completed a pass.
        :raises redis.RedisError: if Redis does not answer; the next step tries again.
        """
        end = time.monotonic() + self._budget_s
        if self._pending is None:
            self._pending = dict.fromkeys(self.client.zrange(self._keys.devices, 0, -1))
        while self._pending:
            names = list(islice(self._pending, _AT_ONCE))
            if not self._read(names, sequence):
                return False
            if time.monotonic() >= end:
                return False
        return self._finish(sequence)

    def _read(self, names: Sequence[str], sequence: int) -> bool:
        """Check these devices and add them to the sum; False if the pass was restarted."""
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hget(self._keys.meta, "seq")
            for name in names:
                self._queue(pipe, name)
            pipe.hget(self._keys.meta, "seq")
            first, *replies, last = pipe.execute()
        if not first == last == str(sequence):
            self._begin()
            return False
        assert self._pending is not None
        for index, name in enumerate(names):
            total = self._check_rows(f"device {name}", replies[3 * index : 3 * index + 3])
            self._sum = [amount + more for amount, more in zip(self._sum, total, strict=True)]
            del self._pending[name]
        return True

    def _finish(self, sequence: int) -> bool:
        keys = self._keys
        with self.client.pipeline(transaction=False) as pipe:
            pipe.hget(keys.meta, "seq")
            self._queue(pipe, GATEWAY)
            for key in (keys.unattributed, keys.mirrored, keys.forgotten):
                pipe.hmget(key, _CODES)
            pipe.hget(keys.meta, "seq")
            first, *rows, unattributed, mirrored, forgotten, last = pipe.execute()
        if not first == last == str(sequence):
            self._begin()
            return False
        total = self._check_rows("the gateway", rows)
        parts = [
            devices + nobody - twice + dropped
            for devices, nobody, twice, dropped in zip(
                self._sum, _counts(unattributed), _counts(mirrored), _counts(forgotten), strict=True
            )
        ]
        self._compare("the gateway", total, "its devices add up to", parts)
        at_least = [*map(max, total, self._highest)]
        self._compare("the gateway", total, "and had", at_least)
        self._highest = at_least
        self.breach = self._found
        self._begin()
        return True

    def _queue(self, pipe: Any, name: str) -> None:
        pipe.hmget(self._keys.totals(name), _CODES)
        pipe.hgetall(self._keys.applications(name))
        pipe.hgetall(self._keys.protocols(name))

    def _check_rows(self, whose: str, replies: Sequence[Any]) -> _Sums:
        """Return the totals of a device or the gateway after a comparison with the sums of its rows."""
        total = _counts(replies[0])
        for what, fields in (("applications", replies[1]), ("protocols", replies[2])):
            sums = dict.fromkeys(_CODES, 0)
            for field, count in fields.items():
                code = field.partition(":")[0]
                if code in sums:
                    sums[code] += int(count)
            self._compare(whose, total, f"its {what} add up to", list(sums.values()))
        return total

    def _compare(self, whose: str, total: _Sums, other: str, others: _Sums) -> None:
        for name, expected, found in zip(_NAMES, others, total, strict=True):
            if expected != found and self._found is None:
                self._found = (
                    f"keys in Redis were lost or changed: {whose} has {found} {name}, {other} {expected}"
                )
                self.breach = self.breach or self._found


def eviction_warning(client: Client) -> str | None:
    """Check Redis' ``maxmemory-policy``.

    :returns: the problem in one line; None if there is none, or if Redis refuses the query.
    :raises redis.RedisError: if Redis does not answer.
    """
    try:
        memory = client.info("memory")
    except (redis.ResponseError, KeyError):
        return None  # an ACL may forbid INFO
    policy = memory.get("maxmemory_policy", "noeviction")
    if not memory.get("maxmemory") or policy == "noeviction":
        return None
    lost = "history" if policy.startswith("volatile") else "counters"  # only history has a TTL
    return (
        f"Redis evicts keys when it is full (maxmemory-policy {policy}), which loses {lost}: "
        "set maxmemory-policy noeviction"
    )


def _counts(values: Sequence[str | None]) -> _Sums:
    return [int(value or 0) for value in values]
