"""A year of known traffic, an accelerated clock, both changes of the clock: every step equals the truth."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise

import pytest
from api_server import Scene, emptied, served
from simulated_year import (
    A_YEAR,
    BUCKET_S,
    DAY_S,
    ENDS,
    HOUR_S,
    KEEP_S,
    MONTH_S,
    WEEK_S,
    Expiry,
    Network,
    by_period,
    clock_changes,
    memory,
    periods_of,
    schedule,
    used,
    write,
    write_schema_2,
)
from support import RedisServer

from netify_agent.config.settings import CalendarSettings
from netify_agent.config.types import DEFAULT_HISTORY
from netify_agent.store.history_record import Share

GATEWAY = "gw-year"
ZONES = {"Europe/Berlin": 1, "America/Santiago": 31, "Australia/Lord_Howe": 15}  # and where months begin
COUNTED = ("bytes_up", "bytes_down", "local_up", "local_down")


@dataclass
class Year:
    """A store with the traffic of ``network``, served by the API.

    :ivar starts: the truth about where periods begin: step to starts; :ivar now: time of the last flush, s.
    """

    scene: Scene
    network: Network
    starts: dict[int, list[int]]
    now: int

    def check(self, chance: random.Random) -> None:
        """Compare every retained bucket, and the sums of every week and month and of ten random periods."""
        amounts = [
            list(self.network.amounts(number, self.now)) for number in range(len(self.network.devices))
        ]
        reader = self.scene.store.history
        compared = 0
        for device, of_device in zip(self.network.devices, amounts, strict=True):
            for step, keep_s in KEEP_S.items():
                starts = self.starts[step]
                first = max(bisect_right(starts, self.now - keep_s) - 1, 0)
                truth = by_period(of_device, starts[first:])
                periods = reader.steps.calendar.periods(step, starts[first], self.now)
                assert [period.start for period in periods] == starts[first : first + len(periods)]
                stored = reader.buckets(device, step, periods, applications=True)
                assert {bucket.start: (bucket.volume, bucket.applications) for bucket in stored} == truth
                compared += len(truth)
        assert compared > 100 * len(amounts)
        for name, step in (("month", MONTH_S), ("week", WEEK_S)):
            starts = self.starts[step]
            for since, until in pairwise(starts):
                if since < self.now:
                    self.check_usage(f"period={name}&at={since}", since, until, amounts)
        days = [start for start in self.starts[DAY_S] if start < self.now]
        for _ in range(10):
            since, until = sorted(chance.sample(days, 2))
            self.check_usage(f"from={since}&to={until}", since, until, amounts)

    def check_usage(self, query: str, since: int, until: int, amounts: list[list]) -> None:  # type: ignore[type-arg]
        """Compare the sums of a period by device."""
        document = self.scene.get(f"/usage?by=device&limit=1000&{query}")
        shown = {row["key"]: Share(*(row[name] for name in COUNTED)) for row in document["usage"]}
        truth = {
            device: share
            for device, of_device in zip(self.network.devices, amounts, strict=True)
            if any(share := used(of_device, since, until))
        }
        assert shown == truth, query
        if truth:
            start = datetime.fromtimestamp(since, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            assert document["period"]["start"] == start


def a_year(redis: RedisServer, zone: str, network: Network, stops: Sequence[int] = ()) -> Iterator[Year]:
    """The store at each of ``stops`` and at the end."""
    calendar = CalendarSettings(zone, ZONES[zone])
    starts = periods_of(zone, ENDS[0] - 40 * DAY_S, ENDS[1] + 40 * DAY_S, ZONES[zone])
    with emptied(redis.url, GATEWAY, calendar=calendar, history=DEFAULT_HISTORY) as scene:
        expiry = Expiry(redis.url)
        for now in write(scene.store, network, expiry, stops):
            with served(scene):
                yield Year(scene, network, starts, now)
        expiry.close()


@pytest.mark.parametrize("zone", ZONES)
def test_a_fortnight_around_each_change_of_the_clock(redis_server: RedisServer, zone: str) -> None:
    buckets: dict[int, int] = {}
    changes = clock_changes(zone, *ENDS)
    for change in changes:
        gaps = [(0, 2 * HOUR_S), (change - DAY_S, HOUR_S // 2), (change - 2 * HOUR_S, BUCKET_S)]
        gaps += [(change + 3 * HOUR_S, HOUR_S // 2), (change + DAY_S, 2 * HOUR_S)]
        buckets |= schedule(change - 7 * DAY_S, change + 7 * DAY_S, gaps)
    network = Network(3, 4, buckets, active=0.7)
    # A day after each change, all of it is still kept in the shortest step.
    checked = 0
    for year in a_year(redis_server, zone, network, [change + DAY_S for change in changes]):
        year.check(random.Random(zone))
        checked += 1
    assert checked == 3


@pytest.mark.long
@pytest.mark.parametrize(("zone", "devices"), [("Europe/Berlin", 100), ("Australia/Lord_Howe", 10)])
def test_a_year_equals_the_truth_in_a_seventh_of_the_memory(
    redis_server: RedisServer, zone: str, devices: int
) -> None:
    for year in a_year(redis_server, zone, Network(devices, 10, schedule(*ENDS, A_YEAR))):
        packed = memory(redis_server.url, GATEWAY)
        year.check(random.Random(zone))
        write_schema_2(redis_server.url, "gw-old", year.network, year.now)
        before = memory(redis_server.url, "gw-old")
        print(f"{before / devices:,.0f} and {packed / devices:,.0f} bytes a device: {before / packed:.2f}")
        assert before >= 7 * packed
