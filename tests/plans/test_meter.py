"""What plans count equals ``/usage`` to the byte, whatever happens to the agent, the clock and Redis."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from plan_gateway import GATEWAY, PlanGateway, in_zone
from real_store import LAPTOP, NETFLIX, PHONE, TUNNEL, YOUTUBE, Record

from netify_agent.store.client import StoreError, undecoded
from netify_agent.store.history_reader import HistoryReader
from netify_agent.store.layout import Keys

Start = Callable[[str, int], PlanGateway]

TO_PHONE = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
PLANS = """
groups: {kids: ["02:00:00:00:00:02"], home: ["02:00:00:00:00:01", "02:00:00:00:00:02"]}
plans:
  month: {limit: 1 TB, per: month}
  local: {limit: 1 TB, per: week, local: true, direction: down}
  day: {limit: 1 TB, per: day, direction: up}
  each: {limit: 1 TB, per: week, device: each}
  homes: {limit: 1 TB, per: day, device: each, group: home}
  kids: {limit: 1 TB, per: month, group: kids}
  laptop: {limit: 1 TB, per: day, device: "02:00:00:00:00:01", local: true}
  netflix: {limit: 1 TB, per: day, application: netify.netflix}
  home-netflix: {limit: 1 TB, per: week, group: home, application: netify.netflix}
  films: {limit: 1 TB, per: month, category: streaming-media}
  each-films: {limit: 1 TB, per: day, device: each, category: streaming-media, direction: down}
"""


def of_zone(zone: str, text: str = PLANS) -> str:
    return f"calendar: {{timezone: {zone}, month_starts_on: 15}}\n{text}"


def check(gateway: PlanGateway) -> None:
    """All plans say what ``/usage`` says of their periods."""
    for name in gateway.settings.plans:
        standing = gateway.plan(name)
        assert dict(standing.used) == gateway.by_usage(name, standing.period), name


class Traffic:
    """Flows that go on, are reclassified and end."""

    def __init__(self, gateway: PlanGateway, seed: str) -> None:
        self.gateway, self.chance = gateway, random.Random(seed)
        self.live: dict[str, tuple[str, bool]] = {}
        self.count = 0

    def records(self) -> list[Record]:
        chance, said, records = self.chance, self.gateway.store.netifyd, []
        for _ in range(chance.randrange(4)):
            self.count += 1
            digest, device = f"f{self.count}", chance.choice([LAPTOP, PHONE, TUNNEL])
            self.live[digest] = device, device == LAPTOP and chance.random() < 0.4
            records.append(self._flow(digest))
        for digest in list(self.live):
            up, down = chance.randrange(1, 1 << 30), chance.randrange(1, 1 << 34)
            records.append(said.stats(digest, up, down))
            if chance.random() < 0.2:
                records.append(self._flow(digest))  # another application
            if chance.random() < 0.3:
                records.append(said.purge(digest))
                del self.live[digest]
        return records

    def _flow(self, digest: str) -> Record:
        device, local = self.live[digest]
        application, category = self.chance.choice([(NETFLIX, 7), (YOUTUBE, 7), ("netify.dns", 8)])
        more = TO_PHONE if local else {}
        return self.gateway.store.netifyd.flow(
            digest, device, application, category={"application": category}, **more
        )


@pytest.mark.parametrize(
    ("zone", "begin"),
    [
        ("Europe/Berlin", (2026, 3, 27, 20)),  # the clock is set on by an hour on 29 March
        ("Europe/Berlin", (2026, 10, 23, 20)),  # and back on 25 October
        ("America/St_Johns", (2026, 3, 6, 12)),
        ("Asia/Kathmandu", (2026, 2, 14, 3)),
        ("Australia/Lord_Howe", (2026, 4, 3, 22)),  # by half an hour
    ],
)
def test_plans_equal_usage_over_periods_kills_and_reclassification(
    gateway_of: Start, zone: str, begin: tuple[int, ...]
) -> None:
    at = in_zone(zone, *begin)
    gateway = gateway_of(of_zone(zone), at)
    traffic = Traffic(gateway, f"{zone}{begin}")
    periods, seen = set(), set()
    for number in range(90):
        at += traffic.chance.choice([15, 300, 1700, 3600, 5 * 3600])
        gateway.flush(at, *traffic.records())
        periods.add(gateway.plan("day").period)
        seen.update(name for name in gateway.settings.plans if any(gateway.used(name).values()))
        if number % 4 == 0:
            check(gateway)
        if traffic.chance.random() < 0.1:
            gateway.kill()
    gateway.flush(at + 15)
    check(gateway)
    assert len(periods) > 3
    assert seen == set(gateway.settings.plans)


def test_bytes_of_the_last_flush_of_a_day_belong_to_that_day(gateway_of: Start) -> None:
    midnight = in_zone("Europe/Berlin", 2026, 5, 5)
    gateway = gateway_of(of_zone("Europe/Berlin"), midnight - 60)
    said = gateway.store.netifyd
    gateway.flush(midnight + 5, said.flow("a"), said.stats("a", 1000, 1))
    standing = gateway.plan("day")
    assert (standing.period.end, dict(standing.used)) == (midnight, {"": 1000})
    gateway.flush(midnight + 20, said.stats("a", 30, 1))
    standing = gateway.plan("day")
    assert (standing.period.start, dict(standing.used)) == (midnight, {"": 30})
    check(gateway)


def test_a_new_plan_counts_its_period_from_history(gateway_of: Start) -> None:
    at = in_zone("Europe/Berlin", 2026, 5, 1, 10)
    gateway = gateway_of(of_zone("Europe/Berlin", "plans: {}"), at)
    traffic = Traffic(gateway, "new")
    for _ in range(40):
        at += 7000
        gateway.flush(at, *traffic.records())
    gateway.configure(of_zone("Europe/Berlin"))
    gateway.flush(at + 15, *traffic.records())
    assert gateway.used("month")[""] > 0
    check(gateway)
    gateway.configure(of_zone("Europe/Berlin", PLANS.replace("per: day", "per: month")))
    gateway.flush(at + 30, *traffic.records())
    check(gateway)


def test_a_changed_group_counts_its_members_of_now(gateway_of: Start) -> None:
    at = in_zone("Europe/Berlin", 2026, 5, 1, 10)
    gateway = gateway_of(of_zone("Europe/Berlin"), at)
    said = gateway.store.netifyd
    gateway.flush(
        at + 15, said.flow("a"), said.stats("a", 100, 1), said.flow("b", PHONE), said.stats("b", 5, 2)
    )
    assert gateway.used("kids") == {"kids": 7}
    gateway.configure(
        of_zone(
            "Europe/Berlin", PLANS.replace('{kids: ["02:00:00:00:00:02"]', '{kids: ["02:00:00:00:00:01"]')
        )
    )
    gateway.flush(at + 30)
    assert gateway.used("kids") == {"kids": 101}
    check(gateway)


def test_a_forgotten_device_is_in_no_group_but_in_the_gateway(gateway_of: Start) -> None:
    at = in_zone("Europe/Berlin", 2026, 5, 1, 10)
    gateway = gateway_of(of_zone("Europe/Berlin"), at)
    said, keys = gateway.store.netifyd, Keys(GATEWAY)
    gateway.flush(
        at + 15, said.flow("a"), said.stats("a", 100, 1), said.flow("b", PHONE), said.stats("b", 5, 2)
    )
    gateway.store.client.zadd(keys.forget, {PHONE: 9 * 10**12})
    gateway.flush(at + 30, said.stats("b", 10, 20))
    assert gateway.used("kids") == {"kids": 0} and gateway.used("each") == {LAPTOP: 101}
    assert gateway.used("month") == {"": 138}
    check(gateway)
    gateway.flush(at + 45, said.stats("b", 1, 1))
    assert gateway.used("kids") == {"kids": 2}
    check(gateway)


def test_a_clock_that_was_wrong_for_a_while_loses_nothing(gateway_of: Start) -> None:
    at = in_zone("Europe/Berlin", 2026, 5, 5, 12)
    gateway = gateway_of(of_zone("Europe/Berlin"), at)
    said = gateway.store.netifyd
    gateway.flush(at + 15, said.flow("a"), said.stats("a", 100, 0))
    gateway.flush(at + 86_400, said.stats("a", 7, 0))  # of today: the clock was set on meanwhile
    gateway.flush(at + 86_415, said.stats("a", 20, 0))
    assert gateway.used("day") == {"": 20}
    gateway.flush(at + 30, said.stats("a", 3, 0))  # of tomorrow: it is set back
    assert gateway.used("day") == {"": 23}
    gateway.flush(at + 45, said.stats("a", 1, 0))
    assert gateway.used("day") == {"": 108}
    gateway.flush(at + 86_400)
    gateway.flush(at + 86_430)
    assert gateway.used("day") == {"": 23}
    check(gateway)


def test_plans_equal_usage_at_every_flush_while_the_clock_is_set(gateway_of: Start) -> None:
    """By up to 50 minutes or a day in both directions: what is later than now counts as well."""
    at = in_zone("Europe/Berlin", 2026, 5, 31, 20)
    gateway = gateway_of(of_zone("Europe/Berlin"), at)
    traffic, behind, periods = Traffic(gateway, "set"), 0, set()
    for number in range(60):
        step = traffic.chance.choice([15, 300, 3000, -3000, 20_000, -20_000, 86_400, -86_400])
        at += step
        behind += step < 0
        gateway.flush(at, *traffic.records())
        check(gateway)
        periods.add(gateway.plan("day").period)
        if number % 7 == 6:
            gateway.kill()
            gateway.flush(at + 15)
            check(gateway)
    assert behind > 10 and len(periods) > 3


def test_flushes_that_redis_lost_are_not_counted(gateway_of: Start) -> None:
    at = in_zone("Europe/Berlin", 2026, 5, 5, 12)
    gateway = gateway_of(of_zone("Europe/Berlin"), at)
    said, client = gateway.store.netifyd, gateway.store.client
    gateway.flush(at + 15, said.flow("a"), said.stats("a", 100, 0))
    raw, pattern = undecoded(client), f"netify:{{{GATEWAY}}}:*"
    saved = {key: raw.dump(key) for key in raw.keys(pattern)}
    gateway.flush(at + 30, said.stats("a", 7, 0))
    assert gateway.used("month") == {"": 107}
    raw.delete(*raw.keys(pattern))
    for key, data in saved.items():
        raw.restore(key, 0, data)
    gateway.store.sequence = 1
    gateway.flush(at + 45, said.stats("a", 1, 0))
    assert gateway.used("month") == {"": 101}
    check(gateway)


def test_a_history_that_can_not_be_read_delays_no_flush(
    gateway_of: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    at = in_zone("Europe/Berlin", 2026, 5, 5, 12)
    gateway = gateway_of(of_zone("Europe/Berlin"), at)
    said = gateway.store.netifyd

    def away(*_: object) -> None:
        raise StoreError("away")

    with monkeypatch.context() as broken:
        broken.setattr(HistoryReader, "volumes", away)
        gateway.flush(at + 15, said.flow("a"), said.stats("a", 100, 0))
        gateway.flush(at + 30, said.stats("a", 20, 0))
    assert gateway.store.reader.last_flush().sequence == 2
    assert [one.message for one in caplog.records].count(
        "cannot read the use of plans, retrying with the next flush: away"
    ) == 1
    gateway.flush(at + 45, said.stats("a", 3, 0))
    assert gateway.used("month") == {"": 123}
    check(gateway)
