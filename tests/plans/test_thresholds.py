"""Each threshold of a plan is passed once in a period: what is announced, and what ``/plans`` says of it."""

from __future__ import annotations

from collections.abc import Callable

from plan_gateway import GATEWAY, PlanGateway, in_zone
from store_book import LAPTOP, NETFLIX, PHONE, YOUTUBE

from netify_agent.store.layout import Keys

Start = Callable[[str, int], PlanGateway]

NOON = in_zone("Europe/Berlin", 2026, 5, 5, 12)
MIDNIGHT = in_zone("Europe/Berlin", 2026, 5, 6)
CALENDAR = "calendar: {timezone: Europe/Berlin}\n"
DAY = CALENDAR + "plans: {day: {limit: 1 kB, per: day}}"
#: Alerts of a limit of 1,000 bytes.
FIRING = ["firing day 75%", "firing day 90%", "firing day 100%"]
RESOLVED = ["resolved day 75%", "resolved day 90%", "resolved day 100%"]


def since(gateway: PlanGateway, plan: str = "day") -> dict[int, int]:
    """Threshold to the second since noon at which it was passed."""
    passed = gateway.plan(plan).passed
    return {one: at // 1000 - NOON for one, by in passed.items() for at in by.values()}


def used(gateway: PlanGateway, at: int, count: int) -> list[str]:
    """A flush with so many bytes; returns what was announced."""
    said = gateway.book.netifyd
    digest = "a"
    gateway.flush(at, said.flow(digest), said.stats(digest, count, 0))
    return gateway.new()


def test_each_threshold_fires_once_and_resolves_with_the_period(gateway_of: Start) -> None:
    gateway = gateway_of(DAY, NOON)
    assert used(gateway, NOON + 15, 749) == [] and since(gateway) == {}
    assert used(gateway, NOON + 30, 1) == FIRING[:1]
    gateway.kill()
    assert used(gateway, NOON + 45, 100) == []
    assert used(gateway, NOON + 60, 150) == FIRING[1:]
    gateway.kill()
    assert used(gateway, NOON + 75, 10_000) == []
    assert since(gateway) == {75: 30, 90: 60, 100: 60}
    assert used(gateway, MIDNIGHT + 5, 1) == []  # bytes of the day before
    assert used(gateway, MIDNIGHT + 20, 800) == [*RESOLVED[:1], *FIRING[:1], *RESOLVED[1:]]
    gateway.kill()
    assert used(gateway, MIDNIGHT + 35, 1) == []
    assert used(gateway, MIDNIGHT + 86_400, 1) == [] and used(gateway, MIDNIGHT + 86_420, 0) == RESOLVED[:1]
    assert since(gateway) == {}


def test_the_alert_says_what_was_used_of_what(gateway_of: Start) -> None:
    plan = f"{{limit: 2 kB, per: day, device: each, application: {NETFLIX}, direction: up}}"
    gateway = gateway_of(f"{CALENDAR}plans: {{films: {plan}}}", NOON)
    assert used(gateway, NOON + 15, 1600) == [f"firing films 75% {LAPTOP}"]
    (alert,) = gateway.alerting.alerts()
    assert (alert.kind, alert.severity, alert.value) == ("plan", "warning", 1600)
    assert (alert.device, alert.application, alert.group) == (LAPTOP, NETFLIX, None)
    text = f"Plan films: {NETFLIX} of {LAPTOP} used 1.6 kB, 75 % or more of 2 kB up a day"
    assert alert.summary() == text


def test_severities_receivers_and_thresholds_are_those_of_the_plan(gateway_of: Start) -> None:
    notify = "notify: {phone: {type: ntfy, url: 'http://127.0.0.1/x'}, other: {type: ntfy, url: 'http://127.0.0.1/x'}}"
    plan = "{limit: 1 kB, per: day, warn_at: {50%: info, 100%: warning}, notify: [other]}"
    gateway = gateway_of(f"{CALENDAR}{notify}\nplans: {{day: {plan}}}", NOON)
    used(gateway, NOON + 15, 1000)
    assert {one.name: (one.severity, one.receivers) for one in gateway.alerting.alerts()} == {
        "day 50%": ("info", ("other",)),
        "day 100%": ("warning", ("other",)),
    }


def test_a_raised_limit_resolves_what_is_no_longer_passed(gateway_of: Start) -> None:
    gateway = gateway_of(DAY, NOON)
    assert used(gateway, NOON + 15, 1000) == FIRING
    gateway.configure(DAY.replace("1 kB", "1.2 kB"))
    assert used(gateway, NOON + 30, 0) == RESOLVED[1:]  # 75 % are 900: still passed, and not told again
    assert since(gateway) == {75: 15}
    assert used(gateway, NOON + 45, 80) == FIRING[1:2]
    gateway.configure(DAY.replace("plans: {day:", "plans: {other:"))
    assert used(gateway, NOON + 60, 0) == [*RESOLVED[:2], *(one.replace("day", "other") for one in FIRING)]


def test_a_figure_that_falls_resolves_nothing_in_the_period(gateway_of: Start) -> None:
    gateway = gateway_of(DAY.replace("per: day", f"per: day, application: {NETFLIX}"), NOON)
    said = gateway.book.netifyd
    assert used(gateway, NOON + 15, 800) == FIRING[:1]
    gateway.flush(NOON + 30, said.flow("a", application=YOUTUBE))  # netifyd learns more
    assert gateway.used("day") == {"": 0}
    assert gateway.new() == [] and since(gateway) == {75: 15}
    gateway.flush(NOON + 45, said.flow("b"), said.stats("b", 800, 0))
    assert gateway.new() == []


def test_a_clock_that_is_set_back_repeats_nothing(gateway_of: Start) -> None:
    gateway = gateway_of(DAY, NOON)
    assert used(gateway, NOON + 15, 1000) == FIRING
    used(gateway, NOON - 86_400, 0)
    assert used(gateway, NOON - 86_385, 900) == []
    assert used(gateway, NOON + 30, 0) == [] and used(gateway, NOON + 45, 0) == []
    assert since(gateway) == {75: 15, 90: 15, 100: 15}


def test_redis_with_an_older_state_repeats_nothing(gateway_of: Start) -> None:
    gateway = gateway_of(DAY, NOON)
    used(gateway, NOON + 15, 10)
    assert used(gateway, NOON + 30, 1000) == FIRING
    client, keys = gateway.book.client, Keys(GATEWAY)
    client.delete(keys.plans, keys.alerts, keys.alert_state)
    client.hset(keys.meta, "seq", 1)
    gateway.book.sequence = 1
    used(gateway, NOON + 45, 0)
    assert gateway.new() == []
    assert len(client.hgetall(keys.plans)) == 3
    gateway.kill()
    assert used(gateway, NOON + 60, 1) == [] and since(gateway) == {75: 30, 90: 30, 100: 30}


def test_a_damaged_entry_is_found_again(gateway_of: Start) -> None:
    gateway = gateway_of(DAY, NOON)
    assert used(gateway, NOON + 15, 800) == FIRING[:1]
    client, keys = gateway.book.client, Keys(GATEWAY)
    client.hset(keys.plans, mapping={"day:75:": "[1]", "nonsense": "x", "day:x:": '[1,2,"",3]'})
    gateway.kill()
    used(gateway, NOON + 30, 0)
    assert since(gateway) == {75: 30}
    assert client.hkeys(keys.plans) == ["day:75:"]


def test_many_devices_share_an_alert_and_forgotten_ones_are_out(gateway_of: Start) -> None:
    gateway = gateway_of(
        f"{CALENDAR}plans: {{day: {{limit: 1 kB, per: day, device: each, warn_at: [90%]}}}}", NOON
    )
    said, records = gateway.book.netifyd, []
    for number in range(12):
        records += [said.flow(f"f{number}", f"02:00:00:00:01:{number:02x}"), said.stats(f"f{number}", 990, 0)]
    gateway.flush(NOON + 15, *records)
    (alert,) = gateway.alerting.alerts()
    assert (alert.grouped, alert.count) == (True, 12)
    assert alert.summary() == "Plan day: 12 devices used 90 % or more of 1 kB a day"
    gateway.book.client.zadd(Keys(GATEWAY).forget, {"02:00:00:00:01:00": 9 * 10**12})
    gateway.flush(NOON + 30)
    assert len(gateway.plan("day").passed[90]) == 11


def test_another_time_zone_ends_no_period_early(gateway_of: Start) -> None:
    gateway = gateway_of(DAY, NOON)
    assert used(gateway, NOON + 15, 1000) == FIRING
    gateway.settings = gateway.parsed(DAY.replace("Europe/Berlin", "America/New_York"))
    gateway.set_steps()
    gateway.kill()
    assert used(gateway, NOON + 30, 0) == []
    assert used(gateway, MIDNIGHT + 20, 0) == [] and used(gateway, MIDNIGHT + 40, 0) == []
    later = in_zone("America/New_York", 2026, 5, 6)
    used(gateway, later + 20, 0)
    assert used(gateway, later + 40, 0) == RESOLVED


def test_a_group_passes_a_threshold_together(gateway_of: Start) -> None:
    groups = f'groups: {{kids: ["{LAPTOP}", "{PHONE}"]}}\n'
    gateway = gateway_of(groups + DAY.replace("per: day", "per: day, group: kids"), NOON)
    said = gateway.book.netifyd
    gateway.flush(
        NOON + 15, said.flow("a"), said.stats("a", 400, 0), said.flow("b", PHONE), said.stats("b", 400, 0)
    )
    assert gateway.new() == ["firing day 75% kids"]
