"""Thresholds of plans as alerts: each fires once in a period and resolves with it, also over restarts."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from plan_gateway import GATEWAY, PlanGateway
from real_store import LAPTOP, NETFLIX, PHONE, YOUTUBE

from netify_agent.plans.thresholds import REMEMBERED
from netify_agent.store.layout import Keys

Start = Callable[[str, int], PlanGateway]

NOON = int(datetime(2026, 5, 5, 12, tzinfo=timezone.utc).timestamp())
DAY_S = 86_400
DAILY = "plans: {p: {limit: 1 kB, per: day}}"
EACH = "plans: {p: {limit: 1 kB, per: day, device: each, warn_at: [100%]}}"


@pytest.fixture
def daily(gateway_of: Start) -> PlanGateway:
    gateway = gateway_of(DAILY, NOON)
    gateway.flush(NOON, gateway.store.netifyd.flow("a"))
    return gateway


def use(gateway: PlanGateway, at: int, count: int, digest: str = "a") -> list[str]:
    """A flush with ``count`` bytes more; returns what was announced."""
    gateway.flush(at, gateway.store.netifyd.stats(digest, count, 0))
    return gateway.new()


def since(gateway: PlanGateway) -> dict[int, int | None]:
    """Each threshold with the second since when the gateway passed it."""
    passed = gateway.plan("p").passed
    return {one: who[""] // 1000 if "" in who else None for one, who in passed.items()}


def test_each_threshold_fires_once_when_it_is_reached(daily: PlanGateway) -> None:
    assert use(daily, NOON + 15, 749) == []
    assert use(daily, NOON + 30, 1) == ["firing p 75%"]
    assert use(daily, NOON + 45, 1) == []
    assert use(daily, NOON + 60, 249) == ["firing p 90%", "firing p 100%"]
    assert use(daily, NOON + 75, 5000) == []
    assert since(daily) == {75: NOON + 30, 90: NOON + 60, 100: NOON + 60}
    assert {one.name: one.severity for one in daily.alerting.alerts()} == {
        "p 75%": "warning",
        "p 90%": "warning",
        "p 100%": "critical",
    }
    (first,) = [one for one in daily.alerting.alerts() if one.name == "p 75%"]
    assert (first.kind, first.value, first.started_at) == ("plan", 750, (NOON + 30) * 1000)
    assert daily.alerting.describe(first) == "Plan p: the gateway used 750 B, 75 % or more of 1 kB a day"


def test_a_period_that_ends_resolves_and_the_next_one_fires_again(daily: PlanGateway) -> None:
    assert use(daily, NOON + 15, 800) == ["firing p 75%"]
    assert use(daily, NOON + DAY_S, 10) == []  # what passed since the flush before belongs to its day
    assert use(daily, NOON + DAY_S + 15, 10) == ["resolved p 75%"]
    assert since(daily) == {75: None, 90: None, 100: None}
    assert use(daily, NOON + DAY_S + 30, 800) == ["firing p 75%"]
    assert use(daily, NOON + 2 * DAY_S, 0) == []
    assert use(daily, NOON + 2 * DAY_S + 15, 760) == ["resolved p 75%", "firing p 75%"]
    ids = [one.id for one in daily.alerting.alerts()]
    assert len(ids) == len(set(ids)) == 3


def test_a_kill_repeats_nothing_and_forgets_nothing(daily: PlanGateway) -> None:
    said = []
    for number in range(1, 20):
        said += use(daily, NOON + 15 * number, 60)
        daily.kill()
        said += daily.new()
    assert said == ["firing p 75%", "firing p 90%", "firing p 100%"]
    daily.flush(NOON + 300)
    assert since(daily) == {75: NOON + 15 * 13, 90: NOON + 15 * 15, 100: NOON + 15 * 17}
    daily.flush(NOON + DAY_S)
    daily.kill()
    daily.flush(NOON + DAY_S + 15)
    assert sorted(daily.new()) == ["resolved p 100%", "resolved p 75%", "resolved p 90%"]
    daily.kill()
    assert use(daily, NOON + DAY_S + 30, 1) == []


def test_a_period_that_ended_while_no_agent_ran_resolves(daily: PlanGateway) -> None:
    use(daily, NOON + 15, 800)
    daily.kill()
    daily.start(NOON + 3 * DAY_S)
    daily.flush(NOON + 3 * DAY_S)
    assert daily.new() == ["resolved p 75%"]


def test_a_redis_that_lost_flushes_neither_repeats_nor_forgets(daily: PlanGateway) -> None:
    saved = daily.saved()
    assert use(daily, NOON + 15, 800) == ["firing p 75%"]
    daily.lose(saved)
    assert use(daily, NOON + 30, 1) == []
    assert daily.used("p")[""] < 750
    daily.kill()
    assert use(daily, NOON + 45, 1) == []
    assert since(daily)[75] == NOON + 15


def test_bytes_that_move_to_another_application_resolve_nothing(gateway_of: Start) -> None:
    gateway = gateway_of(DAILY.replace("per", f"application: {NETFLIX}, per"), NOON)
    said = gateway.store.netifyd
    gateway.flush(NOON + 15, said.flow("a", application=NETFLIX), said.stats("a", 800, 0))
    assert gateway.new() == ["firing p 75%"]
    gateway.flush(NOON + 30, said.flow("a", application=YOUTUBE), said.stats("a", 5, 0))
    assert (gateway.used("p"), gateway.new()) == ({"": 0}, [])
    gateway.flush(NOON + 45, said.flow("b", application=NETFLIX), said.stats("b", 800, 0))
    assert (gateway.used("p"), gateway.new()) == ({"": 800}, [])


@pytest.mark.parametrize(
    ("text", "announced"),
    [
        (DAILY.replace("1 kB", "10 kB"), ["resolved p 75%"]),  # the limit is raised
        (DAILY.replace("1 kB", "1.01 kB"), []),  # it is still passed
        (DAILY.replace("1 kB", "800 B"), None),
        (DAILY.replace("}}", ", warn_at: [50%]}}"), ["firing p 50%", "resolved p 75%"]),
        (DAILY.replace("}}", ", direction: down}}"), ["resolved p 75%"]),
        (DAILY.replace("day", "month"), []),
        ("plans: {}", ["resolved p 75%"]),
        (DAILY.replace("p:", "q:"), ["firing q 75%", "resolved p 75%"]),
    ],
)
def test_a_reload_decides_anew(daily: PlanGateway, text: str, announced: list[str] | None) -> None:
    use(daily, NOON + 15, 800)
    if announced is None:
        text, announced = text.replace("800 B", "0.8 kB"), ["firing p 90%", "firing p 100%"]
    daily.configure(text)
    daily.flush(NOON + 30)
    assert sorted(daily.new()) == sorted(announced)


def test_a_clock_that_is_set_back_for_a_while_fires_nothing_again(daily: PlanGateway) -> None:
    assert use(daily, NOON + 15, 800) == ["firing p 75%"]
    for at in (NOON - DAY_S, NOON - DAY_S + 15, NOON + 30, NOON + 45):
        assert use(daily, at, 1) == []


@pytest.mark.parametrize("days", [1, 500])
@pytest.mark.parametrize("killed", [False, True])
def test_a_clock_that_was_in_a_later_period_fires_nothing_again(
    daily: PlanGateway, days: int, killed: bool
) -> None:
    """Each threshold fires once in each period, and resolves when it is over for the first time."""
    ahead = NOON + days * DAY_S

    def step(at: int, count: int) -> list[str]:
        if killed:
            daily.kill()
        return use(daily, at, count)

    assert step(NOON + 15, 800) == ["firing p 75%"]
    assert step(ahead, 100) == ["firing p 90%"]  # of the first day: what passed before the clock was set
    assert sorted(step(ahead + 15, 760)) == ["firing p 75%", "resolved p 75%", "resolved p 90%"]
    assert step(NOON + 30, 0) == []  # still of the later day
    assert step(NOON + 45, 10) == []
    assert since(daily) == {75: NOON + 15, 90: ahead, 100: None}
    assert step(NOON + 60, 100) == ["firing p 100%"]
    assert step(ahead + 30, 0) == []
    assert step(ahead + 45, 100) == ["resolved p 100%"]
    assert since(daily) == {75: ahead + 15, 90: None, 100: None}
    assert step(NOON + 75, 140) == ["firing p 90%", "firing p 100%"]  # of the later day
    assert step(NOON + 90, 0) == []
    assert since(daily) == {75: NOON + 15, 90: ahead, 100: NOON + 60}
    # The clock goes on as it should.
    for at in (NOON + DAY_S // 2, ahead + 60, ahead + 75):
        assert step(at, 0) == []
    assert since(daily) == {75: ahead + 15, 90: NOON + 75, 100: NOON + 75}
    assert step(ahead + DAY_S, 0) == []
    assert sorted(step(ahead + DAY_S + 15, 0)) == ["resolved p 100%", "resolved p 75%", "resolved p 90%"]


def test_a_clock_that_is_corrected_after_midnight_fires_nothing_again(daily: PlanGateway) -> None:
    midnight = NOON + DAY_S // 2
    assert use(daily, NOON + 15, 800) == ["firing p 75%"]
    assert use(daily, midnight + 5, 0) == []
    assert use(daily, midnight + 20, 1) == ["resolved p 75%"]
    for at in (midnight - 10, midnight + 2, midnight + 15):
        daily.kill()
        assert use(daily, at, 1) == []
    assert since(daily)[75] is None


def test_only_the_nearest_periods_are_remembered(daily: PlanGateway) -> None:
    days = [*range(20), 9, 30, 40, 50, 9, 60, 10]
    for day in days:
        use(daily, NOON + day * DAY_S, 0)
        use(daily, NOON + day * DAY_S + 15, 1000)
        (text,) = set(daily.store.client.hgetall(Keys(GATEWAY).plans).values())
        assert len(json.loads(text)) <= 2 * REMEMBERED + 1


def test_each_device_has_alerts_of_its_own(gateway_of: Start) -> None:
    gateway = gateway_of(EACH, NOON)
    said = gateway.store.netifyd
    flows = [said.flow("a"), said.stats("a", 2000, 0), said.flow("b", PHONE), said.stats("b", 10, 0)]
    gateway.flush(NOON + 15, *flows)
    assert gateway.new() == [f"firing p 100% {LAPTOP}"]
    assert use(gateway, NOON + 30, 2000, "b") == [f"firing p 100% {PHONE}"]
    gateway.store.client.zadd(Keys(GATEWAY).forget, {LAPTOP: 9 * 10**12})
    gateway.flush(NOON + 45)
    assert gateway.new() == [f"resolved p 100% {LAPTOP}"]


def test_each_device_is_told_once_in_each_period_that_the_clock_was_in(gateway_of: Start) -> None:
    """More devices than have alerts of their own at a time, in two periods and back."""
    gateway = gateway_of(EACH, NOON)
    said = gateway.store.netifyd
    digests = [f"d{number}" for number in range(12)]
    flows = [said.flow(one, f"02:00:00:00:01:{number:02x}") for number, one in enumerate(digests)]
    gateway.flush(NOON, *flows)
    told = []
    for at, count in (
        (NOON + 15, 2000),
        (NOON + DAY_S, 0),
        (NOON + DAY_S + 15, 2000),
        (NOON + 30, 0),
        (NOON + 45, 500),
        (NOON + DAY_S + 30, 0),
        (NOON + DAY_S + 45, 500),
        (NOON + 2 * DAY_S, 0),
        (NOON + 2 * DAY_S + 15, 0),
    ):
        gateway.flush(at, *(said.stats(one, count, 0) for one in digests))
        told += [gateway.new()]
    one, over = ["firing p 100%"], ["resolved p 100%"]  # each is grouped
    assert told == [one, [], over + one, [], [], [], [], [], over]
    assert [alert.count for alert in gateway.alerting.alerts()] == [12, 12]


def test_damaged_state_is_left_out(daily: PlanGateway, caplog: pytest.LogCaptureFixture) -> None:
    key = Keys(GATEWAY).plans
    use(daily, NOON + 15, 800)
    damaged = {
        "p": "[]",
        "p:x:": '[[1,2,"",4,true]]',
        "p:90:": "{",
        "p:90:a": "[]",
        "p:90:b": '[[1,2,"",4,1]]',
        "p:90:c": '[[1,2,"",4,true,5]]',
        "p:90:d": "[1]",
        "p:100:": '[[1,2,"",4,true],["1",2,"",4,true]]',
    }
    daily.store.client.hset(key, mapping=damaged)
    daily.kill()
    assert "8 damaged entries of alerts and plans in Redis are left out" in caplog.text
    assert use(daily, NOON + 30, 1) == []
    assert list(daily.store.client.hgetall(key)) == ["p:75:"]
