"""`/usage` and `/history` while the clock shows a time that it has shown before: nothing is missing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest
from api_server import Scene, emptied, served
from real_store import LAPTOP, NETFLIX, PHONE, YOUTUBE
from support import RedisServer

from netify_agent.config.calendar import DAY_S, HOUR_S
from netify_agent.config.settings import CalendarSettings
from netify_agent.config.types import DEFAULT_HISTORY

NOON = 1_778_580_000  # Tuesday, 12 May 2026, 12:00 in Berlin
MIDNIGHT = NOON - 12 * HOUR_S


class SetBack:
    """A gateway whose clock was set back."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.moved: list[tuple[int, str, int]] = []  # bucket, device, bytes down

    def flush(self, at: int, device: str, count: int) -> None:
        """A flush at ``at`` (s) of what passed since the flush before."""
        store, digest = self.scene.store, f"f{len(self.moved)}"
        said = store.netifyd
        flow = said.flow(digest, device, NETFLIX if device == LAPTOP else YOUTUBE)
        records = flow, said.stats(digest, 0, count), said.purge(digest)
        self.moved.append((store.bucket, device, count))
        store.bucket = store.history.steps.bucket(at)
        store.flush(*records, at_ms=at * 1000, elapsed_ms=60_000)

    def by_device(self, since: int, until: int) -> dict[str, int]:
        """What moved in the buckets from ``since`` until before ``until``."""
        found = dict.fromkeys((LAPTOP, PHONE), 0)
        for bucket, device, count in self.moved:
            found[device] += count if since <= bucket < until else 0
        return {device: count for device, count in found.items() if count}


@pytest.fixture
def gateway(shared_redis: RedisServer) -> Iterator[SetBack]:
    settings: dict[str, Any] = {"calendar": CalendarSettings("Europe/Berlin"), "history": DEFAULT_HISTORY}
    with emptied(shared_redis.url, "gw-set-back", **settings) as scene, served(scene):
        scene.store.bucket = scene.store.history.steps.bucket(NOON)
        scene.store.flush(at_ms=NOON * 1000)
        found = SetBack(scene)
        for number in range(10):
            found.flush(NOON + 600 * number, (LAPTOP, PHONE)[number % 2], 1000 << number)
        yield found  # it is 13:30


def used(scene: Scene, query: str) -> dict[str, int]:
    document = scene.get(f"/usage?{query}")
    rows = {row["key"]: row["bytes_down"] for row in document["usage"]}
    assert sum(rows.values()) == document["totals"]["bytes_down"]
    return rows


def shown(scene: Scene, device: str, query: str) -> int:
    """What the history of a device shows, as JSON and as CSV."""
    path = f"/{device}/history?{query}"
    found = sum(bucket["bytes_down"] for bucket in scene.get(path)["buckets"])
    rows = csv.DictReader(io.StringIO(scene.ask(f"{path}&format=csv").body.decode()))
    assert sum(int(row["bytes_down"]) for row in rows) == found
    return found


def test_a_running_period_has_what_is_later_than_now(gateway: SetBack) -> None:
    scene = gateway.scene
    for at in (NOON + 60, NOON + 900, NOON + 3000, NOON + 7200):  # set back by 90 minutes, and on
        gateway.flush(at, LAPTOP, at - NOON)
        for period in ("day", "week", "month"):
            whole = gateway.by_device(0, 1 << 40)
            assert used(scene, f"period={period}") == whole
            by_application = used(scene, f"period={period}&by=application")
            assert by_application == {NETFLIX: whole[LAPTOP], YOUTUBE: whole[PHONE]}
            assert used(scene, f"period={period}&by=interface") == {"br0": sum(whole.values())}
        rows = csv.DictReader(io.StringIO(scene.ask("/usage?period=day&format=csv").body.decode()))
        assert {row["key"]: int(row["bytes_down"]) for row in rows} == gateway.by_device(0, 1 << 40)


def test_a_day_that_the_clock_left_again_can_be_asked_for(gateway: SetBack) -> None:
    """It is what ``/plans`` is about until the next flush."""
    gateway.flush(MIDNIGHT - 600, PHONE, 7)  # of the day that was left
    gateway.flush(MIDNIGHT - 500, PHONE, 9)
    scene = gateway.scene
    assert used(scene, f"period=day&at={NOON}") == gateway.by_device(MIDNIGHT, MIDNIGHT + DAY_S)
    assert used(scene, f"from={MIDNIGHT}&to={MIDNIGHT + DAY_S}") == gateway.by_device(MIDNIGHT, 1 << 40)
    assert used(scene, "period=day") == {PHONE: 9}


@pytest.mark.parametrize("end", [NOON + 1500, NOON + 3600, NOON + 7200, MIDNIGHT + DAY_S, NOON + 90 * DAY_S])
def test_what_is_later_than_now_is_shown_up_to_the_end_that_was_asked_for(gateway: SetBack, end: int) -> None:
    gateway.flush(NOON + 1200, PHONE, 7)
    truth = gateway.by_device(NOON, end)
    assert used(gateway.scene, f"from={NOON}&to={end}") == truth
    for device, count in truth.items():
        for resolution in ("5m", "1h") if end % HOUR_S == 0 else ("5m",):
            query = f"resolution={resolution}&from={NOON}&to={end - 1}"
            assert shown(gateway.scene, device, query) == count
            assert shown(gateway.scene, device, query.replace(f"from={NOON}&", "")) == count


def test_without_an_end_it_is_the_last_flush(gateway: SetBack) -> None:
    gateway.flush(NOON + 1260, PHONE, 7)
    truth = gateway.by_device(NOON, NOON + 1500)  # the bucket of the last flush is not over
    assert used(gateway.scene, f"from={NOON}") == truth
    assert {device: shown(gateway.scene, device, "resolution=5m") for device in truth} == truth


def test_days_that_the_clock_left_again_are_shown_where_they_are(gateway: SetBack) -> None:
    """The clock was 40 days ahead, until after a midnight: days were summed up."""
    scene, ahead = gateway.scene, NOON + 40 * DAY_S
    for number in range(23):
        gateway.flush(ahead + number * HOUR_S, LAPTOP, number)
    gateway.flush(NOON + 7200, LAPTOP, 9)
    gateway.flush(NOON + 7260, LAPTOP, 10)
    june = scene.calendar.calendar.month(ahead)
    assert used(scene, "period=day") == gateway.by_device(MIDNIGHT, MIDNIGHT + DAY_S)
    assert used(scene, f"from={NOON}&to={june.end}") == gateway.by_device(NOON, june.end)
    assert used(scene, f"from={NOON}&to={ahead + DAY_S}") == gateway.by_device(NOON, ahead + DAY_S)
    for resolution in ("5m", "1h", "1d", "1mo"):
        query = f"resolution={resolution}&from={NOON}&to={june.end}"
        assert shown(scene, LAPTOP, query) == gateway.by_device(NOON, june.end)[LAPTOP]
    answer = scene.get(f"/history?resolution=1d&from={NOON}&to={99_999_999_999}")
    ends = [bucket["end"] for bucket in answer["buckets"]]
    assert ends == sorted(ends) and len(ends) == 3
