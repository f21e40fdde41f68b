"""What the history in Redis must be, to the byte, whatever happened while buckets closed and were summed up.

Each bucket of the gateway is the sum of the devices' buckets, each bucket of a longer step that of shorter
ones, and all buckets together the gateway's counters, which :mod:`delivered` compares with what netifyd sent.
What the API shows is what Redis holds. Corrections of totals after a bucket was closed are in no bucket, but
they leave the gateway's totals as they are.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from functools import partial
from typing import Any

import redis
from delivered import GATEWAY
from short_steps import STEPS
from support import Daemon, eventually

from netify_agent.store.client import undecoded
from netify_agent.store.history_record import NO_VOLUME, Share, Volume, add_shares, add_volumes, decode
from netify_agent.store.layout import FORGOTTEN, INTERFACE, MIRRORED, UNATTRIBUTED, Keys
from netify_agent.store.open_bucket import shares_of

_STEPS = [step.step_s for step in STEPS]
_OTHER = (UNATTRIBUTED, MIRRORED, FORGOTTEN)
_BUCKETS = 1900  # that one answer of the API has at least
END = 4_000_000_000  # later than any clock here

Buckets = dict[int, tuple[Volume, dict[str, Share]]]  # by start, seconds since the epoch


class History:
    """The history of a store whose agent has stopped.

    :ivar closed: buckets of all steps that were closed or summed up.
    """

    def __init__(self, client: redis.Redis) -> None:
        """Read all of it."""
        self.closed = 0
        self._client = client
        self._keys = Keys(GATEWAY)
        # By series and step: all records of the step, and those that no longer step has yet.
        self._records: dict[str, dict[int, Buckets]] = defaultdict(lambda: defaultdict(dict))
        self._fresh: dict[str, dict[int, Buckets]] = defaultdict(lambda: defaultdict(dict))
        self._read_chunks()
        self._read_open()

    def _read_chunks(self) -> None:
        raw, prefix = undecoded(self._client), self._keys.chunk((0, 0), "")[: -len("0:0:")]
        numbers = self._client.hgetall(self._keys.history_applications)
        names = {int(number): name for name, number in numbers.items()}
        for key in self._client.scan_iter(prefix + "*", count=1000):
            step, start, series = key[len(prefix) :].split(":", 2)
            chunk = decode(raw.get(key), int(start))
            for records, into in (
                ([*chunk.summed, *chunk.fresh], self._records),
                (chunk.fresh, self._fresh),
            ):
                for record in records:
                    shares = {names[number]: share for number, share in record.applications.items()}
                    _add(into[series][int(step)], record.start, record.volume, shares)
            self.closed += len(chunk.summed) + len(chunk.fresh)

    def _read_open(self) -> None:
        prefix = self._keys.open_bucket(0, "")[: -len("0:")]
        for key in self._client.scan_iter(prefix + "*", count=1000):
            start, series = key[len(prefix) :].split(":", 1)
            for into in (self._records, self._fresh):
                _add(into[series][_STEPS[0]], int(start), *shares_of(self._client.hgetall(key)))

    @property
    def series(self) -> list[str]:
        """All that have a history."""
        return sorted(self._records)

    def buckets(self, series: str, step: int) -> Buckets:
        """Each period of a step with traffic: its own records, and what they do not have yet."""
        found: Buckets = {}
        parts = [self._records[series][step]]
        parts += [self._fresh[series][shorter] for shorter in _STEPS if shorter < step]
        for part in parts:
            for start, (volume, shares) in part.items():
                _add(found, start - start % step, volume, shares)
        return {start: _moved(*bucket) for start, bucket in found.items() if any(bucket[0]) or bucket[1]}

    def check(self) -> list[str]:
        """What is wrong with it; nothing, if all is well."""
        wrong = []
        shortest = {series: self.buckets(series, _STEPS[0]) for series in self.series}
        for series, buckets in shortest.items():
            for step in _STEPS[1:]:
                sums: Buckets = {}
                for start, (volume, shares) in buckets.items():
                    _add(sums, start - start % step, volume, shares)
                truth = {start: _moved(*bucket) for start, bucket in sums.items()}
                truth = {start: bucket for start, bucket in truth.items() if any(bucket[0]) or bucket[1]}
                if self.buckets(series, step) != truth:
                    wrong.append(f"history of {series or 'the gateway'}: {step} s are not the sum of shorter")
            if series not in _OTHER and not series.startswith(INTERFACE):
                wrong += [
                    f"history of {series or 'the gateway'} at {start}: its applications do not add up"
                    for start, (volume, shares) in buckets.items()
                    if _bytes(shares) != (volume[0], volume[1], volume[4], volume[5])
                ]
        gateway = shortest.get("", {})
        for start in {start for buckets in shortest.values() for start in buckets}:
            devices = interfaces = NO_VOLUME
            for series, buckets in shortest.items():
                volume = buckets.get(start, (NO_VOLUME, {}))[0]
                if series.startswith(INTERFACE):
                    interfaces = add_volumes(interfaces, volume)
                elif series == MIRRORED:
                    devices = add_volumes(devices, Volume(*(-number for number in volume)))
                elif series:
                    devices = add_volumes(devices, volume)
            volume = gateway.get(start, (NO_VOLUME, {}))[0]
            if devices != volume:
                wrong.append(f"history at {start}: the gateway has {volume}, the rest {devices}")
            if interfaces != volume:
                wrong.append(f"history at {start}: the gateway has {volume}, its interfaces {interfaces}")
        total = NO_VOLUME
        for volume, _ in gateway.values():
            total = add_volumes(total, volume)
        names = ("bu", "bd", "pu", "pd")  # a flow that is found to be local later is so in the totals alone
        counted = [int(number or 0) for number in self._client.hmget(self._keys.totals(""), names)]
        if [*total[:4]] != counted:
            wrong.append(f"history of the gateway has {total}, its counters {counted}")
        return wrong[:10]

    def check_answers(self, answers: dict[tuple[str, int], dict[str, Any]]) -> list[str]:
        """What is wrong with the API's answers, see :func:`ask`."""
        now = int(self._client.hget(self._keys.meta, "at") or 0) // 1000
        wrong = []
        for (series, step), document in answers.items():
            kept = now - _BUCKETS * step
            shown = {_start(row): _row(row) for row in document["buckets"] if _start(row) >= kept}
            truth = {
                start: (*volume[:4], {name: share[:2] for name, share in shares.items()})
                for start, (volume, shares) in self.buckets(series, step).items()
                if start >= kept
            }
            if shown != truth:
                wrong.append(f"/history of {series or 'the gateway'} in {step} s is not what Redis holds")
        return wrong[:10]


def ask(daemon: Daemon, devices: list[str]) -> dict[tuple[str, int], dict[str, Any]]:
    """The API's history of the gateway and of some devices, by series and step.

    With what is later than the last flush: it is there if the clock was set back.
    """
    found = {}
    for series in ("", *devices):
        for step in STEPS:
            query = f"resolution={step.name}&applications=true&to={END}"
            path = f"{'/' + series if series else ''}/history?{query}"
            found[series, step.step_s] = eventually(partial(answer, daemon, path), "a history")
    return found


def answer(daemon: Daemon, path: str) -> dict[str, Any] | None:
    """What the API says; None while Redis takes flush after flush: the answer is 503 then."""
    code, document = daemon.get(path)
    assert code in (200, 503), document
    return document if code == 200 else None


def _add(into: Buckets, start: int, volume: Volume, shares: dict[str, Share]) -> None:
    had, parts = into.get(start, (NO_VOLUME, {}))
    parts = dict(parts)
    add_shares(parts, shares)
    into[start] = add_volumes(had, volume), parts


def _moved(volume: Volume, shares: dict[str, Share]) -> tuple[Volume, dict[str, Share]]:
    return volume, {name: share for name, share in shares.items() if any(share)}


def _bytes(shares: dict[str, Share]) -> tuple[int, ...]:
    parts: dict[str, Share] = {}
    for share in shares.values():
        add_shares(parts, {"": share})
    return tuple(parts.get("", Share()))


def _start(row: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(row["start"].replace("Z", "+00:00")).timestamp())


def _row(row: dict[str, Any]) -> tuple[Any, ...]:
    """A bucket of the API: its counters, and bytes up and down by application."""
    shares = {part["tag"]: (part["bytes_up"], part["bytes_down"]) for part in row["applications"]}
    return row["bytes_up"], row["bytes_down"], row["packets_up"], row["packets_down"], shares
