"""`/usage` against traffic that is known: random periods, zones, filters and what belongs to no device."""

from __future__ import annotations

import csv
import io
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any, NamedTuple

import pytest
from api_server import Scene, assert_problem, emptied, served
from real_store import LAPTOP, NETFLIX, PHONE, TUNNEL, YOUTUBE
from support import RedisServer

from netify_agent.api.period_usage import BESIDE
from netify_agent.config.calendar import DAY_S, MONTH_S, WEEK_S, Period
from netify_agent.config.settings import CalendarSettings
from netify_agent.config.types import DEFAULT_HISTORY
from netify_agent.store.forget_requests import ForgetRequests

BEGIN = 1_772_000_000  # 25 February 2026
DAYS = 70
EVERY_S = 6 * 3600 + 1234
GROUPS = {"kids": [PHONE], "home": [PHONE, LAPTOP]}
TO_PHONE = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
COUNTED = ("bytes_up", "bytes_down", "local_up", "local_down")


class Moved(NamedTuple):
    """Bytes of one flow in one bucket. ``peer``: the other device, if it is local."""

    at: int
    device: str
    peer: str | None
    application: str
    interface: str
    up: int
    down: int


class Known:
    """A gateway whose traffic is known."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.moved: list[Moved] = []
        self.calendar = scene.calendar.calendar
        self.last = 0

    def fill(self, seed: int) -> None:
        chance, said = random.Random(seed), self.scene.store.netifyd
        store = self.scene.store
        store.bucket = store.history.steps.bucket(BEGIN)
        store.flush(at_ms=BEGIN * 1000)
        for number in range(1, DAYS * DAY_S // EVERY_S):
            at, self.last = (
                store.bucket,
                BEGIN + number * EVERY_S,
            )  # a batch belongs to the bucket it began in
            store.bucket = store.history.steps.bucket(self.last)
            records = []
            for device in (LAPTOP, PHONE, TUNNEL):
                if chance.random() < 0.4:
                    continue
                local = device == LAPTOP and chance.random() < 0.3
                application = "netify.smb" if local else chance.choice([NETFLIX, YOUTUBE])
                moved = Moved(
                    at,
                    device,
                    PHONE if local else None,
                    application,
                    chance.choice(["br0", "br1"]),
                    chance.randrange(1, 1 << chance.randrange(1, 34)),
                    chance.randrange(1, 1 << 30),
                )
                digest = f"{number}-{device}"
                peer = (
                    {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"} if local else {}
                )
                flow = said.flow(digest, device, application, **peer)
                records += [
                    {**flow, "interface": moved.interface},
                    said.stats(digest, moved.up, moved.down),
                    said.purge(digest),
                ]
                self.moved.append(moved)
            store.flush(*records, at_ms=self.last * 1000, elapsed_ms=300_000)

    def sums(
        self,
        period: Period,
        keys: Callable[[Moved, str], Any],
        *,
        devices: set[str] | None = None,
        application: str | None = None,
    ) -> dict[Any, dict[str, int]]:
        """Sums in the period by each of ``keys``, which is called with each device of a flow."""
        found: defaultdict[Any, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTED, 0))
        for moved in self.moved:
            bucket = self.scene.store.history.steps.calendar.period(300, moved.at)
            if bucket.middle not in period or application not in (None, moved.application):
                continue
            ways = [(moved.device, moved.up, moved.down)]
            if moved.peer:
                ways.append((moved.peer, moved.down, moved.up))
            for device, up, down in ways:
                for key in keys(moved, device):
                    if devices is None or device in devices:
                        row = found[key]
                        local = (up, down) if moved.peer else (0, 0)
                        for name, count in zip(COUNTED, (up, down, *local), strict=True):
                            row[name] += count
        return dict(found)


def at_gateway(key: Callable[[Moved], Any]) -> Callable[[Moved, str], Any]:
    """A key of flows that counts each flow once, as the gateway does."""
    return lambda moved, device: [key(moved)] if device == moved.device else []


def rows_of(document: dict[str, Any]) -> dict[Any, dict[str, int]]:
    return {row["key"]: {name: row[name] for name in COUNTED} for row in document["usage"]}


def bytes_of(document: dict[str, Any]) -> dict[str, int]:
    return {name: document[name] for name in COUNTED}


def zero() -> dict[str, int]:
    return dict.fromkeys(COUNTED, 0)


def a_known(url: str, zone: str, gateway: str) -> Iterator[Known]:
    settings = {"calendar": CalendarSettings(zone, 15), "history": DEFAULT_HISTORY}
    with emptied(url, gateway, **settings) as scene:
        scene.directory.configure({PHONE: "kids-phone"}, GROUPS)
        known = Known(scene)
        known.fill(len(zone))
        with served(scene):
            yield known


@pytest.fixture(scope="module")
def known(shared_redis: RedisServer) -> Iterator[Known]:
    yield from a_known(shared_redis.url, "Europe/Berlin", "gw-usage")


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_random_periods_equal_the_truth_and_the_history(shared_redis: RedisServer, zone: str) -> None:
    for known in a_known(shared_redis.url, zone, "gw-usage-zones"):
        chance = random.Random(zone)
        for name, step in (("month", MONTH_S), ("week", WEEK_S), ("day", DAY_S)) * 2:
            at = chance.randrange(BEGIN, known.last)
            check(known, f"period={name}&at={at}", known.calendar.period(step, at))
        since = chance.randrange(BEGIN, known.last)
        hours = known.calendar.period(3600, since), known.calendar.period(DAY_S, known.last)
        check(known, f"from={hours[0].start}&to={hours[1].start}", Period(hours[0].start, hours[1].start))


def check(known: Known, query: str, period: Period) -> None:
    """The answers for a period equal the truth, for each device and in all; sums add up."""
    get = known.scene.get
    by_device = get(f"/usage?by=device&{query}")
    covered = [by_device["period"][f"covered_{end}"] for end in ("start", "end")]
    begin, end = (int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()) for text in covered)
    # Where the shorter steps are no longer kept, a whole longer period is summed.
    assert begin <= period.start and end >= min(period.end, known.last)
    period = Period(begin, max(end, period.end))
    assert rows_of(by_device) == known.sums(period, lambda moved, device: [device])
    total = known.sums(period, at_gateway(lambda moved: "")).get("", zero())
    assert bytes_of(by_device["totals"]) == total
    for name in COUNTED:
        parts = sum(row[name] for row in by_device["usage"])
        beside = by_device["unattributed"][name] + by_device["forgotten"][name] - by_device["local"][name]
        assert parts + beside == total[name]
    by_application = get(f"/usage?by=application&{query}")
    assert rows_of(by_application) == known.sums(period, at_gateway(lambda moved: moved.application))
    assert [by_application[name] for name in BESIDE] == [by_device[name] for name in BESIDE]
    counted_twice = known.sums(period, lambda moved, device: [""] if device == moved.peer else [])
    assert by_device["local"] == counted_twice.get("", zero())
    by_interface = get(f"/usage?by=interface&{query}")
    assert rows_of(by_interface) == known.sums(period, at_gateway(lambda moved: moved.interface))
    buckets = get(f"/history?resolution=1d&from={period.start}&to={period.end - 1}")["buckets"]
    if all(period.start == known.calendar.day(period.start).start for period in [period]):
        whole = period.end == known.calendar.day(period.end).start or period.end > known.last
        for name in ("bytes_up", "bytes_down") if whole else ():
            assert sum(bucket[name] for bucket in buckets) == total[name]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kathmandu"])
def test_sums_stay_those_of_the_history(shared_redis: RedisServer, zone: str) -> None:
    """While flows are reclassified and devices are forgotten, and with the bucket that is open."""
    chance, settings = random.Random(zone), {"calendar": CalendarSettings(zone), "history": DEFAULT_HISTORY}
    with emptied(shared_redis.url, "gw-sums", **settings) as scene, served(scene):
        store, said, calendar = scene.store, scene.store.netifyd, scene.calendar.calendar
        requests = ForgetRequests(store.client, "gw-sums")
        at, known, forgotten = BEGIN, list[str](), 0
        for number in range(160):
            at += chance.choice([70, 300, 1800, 4000])
            store.bucket = store.history.steps.bucket(at)
            known += [f"flow-{number}"]
            records = []
            for flow in chance.sample(known, min(len(known), 4)):
                if flow == known[-1] or chance.random() < 0.4:  # it is another device's or application's now
                    device = chance.choice([LAPTOP, PHONE, TUNNEL])
                    peer = TO_PHONE if device == LAPTOP and chance.random() < 0.3 else {}
                    records.append(said.flow(flow, device, chance.choice([NETFLIX, YOUTUBE]), **peer))
                records.append(said.stats(flow, chance.randrange(1 << 20), chance.randrange(1 << 30)))
            devices = [row.name for row in store.reader.snapshot().devices] if number else []
            if devices and chance.random() < 0.05:
                requests.add(chance.choice(devices))
                forgotten += 1
            store.flush(*records, at_ms=at * 1000, elapsed_ms=100_000)
            if number % 20 == 19:
                since = calendar.period(3600, chance.randrange(BEGIN, at)).start
                until = calendar.period(3600, chance.randrange(since, at)).end
                check_sums(scene, f"from={since}&to={until}", f"from={since}&to={until - 1}")
                check_sums(scene, f"from={since}", f"from={since}")
        assert forgotten > 3


def check_sums(scene: Scene, query: str, of_history: str) -> None:
    """`/usage` of a period has the sums of the hours that `/history` shows, and they add up."""
    get = scene.get
    by_device, by_application = (get(f"/usage?by={by}&{query}") for by in ("device", "application"))
    hours = f"history?resolution=1h&applications=true&{of_history}"
    gateway = get(f"/{hours}")["buckets"]
    applications: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for bucket in gateway:
        for part in bucket["applications"]:
            applications[part["tag"]][0] += part["bytes_up"]
            applications[part["tag"]][1] += part["bytes_down"]
    assert {row["key"]: [row["bytes_up"], row["bytes_down"]] for row in by_application["usage"]} == {
        tag: sums for tag, sums in applications.items() if any(sums)
    }
    rows = {row["key"]: row for row in by_device["usage"]}
    for device in [row["mac"] or row["ip"] for row in get("/")["devices"]]:
        buckets = get(f"/{device}/{hours}")["buckets"]
        for name in COUNTED[:2]:
            assert sum(bucket[name] for bucket in buckets) == rows.get(device, zero())[name]
    for name in COUNTED[:2]:
        assert sum(bucket[name] for bucket in gateway) == by_device["totals"][name]
    for name in COUNTED:
        parts = sum(row[name] for row in rows.values())
        beside = by_device["unattributed"][name] + by_device["forgotten"][name] - by_device["local"][name]
        assert parts + beside == by_device["totals"][name]


MONTH = "period=month&at=2026-03-20T12:00:00Z"


def month(known: Known) -> Period:
    return known.calendar.month(int(datetime(2026, 3, 20, tzinfo=timezone.utc).timestamp()))


def test_rows_by_group_overlap_and_name_the_rest(known: Known) -> None:
    document = known.scene.get(f"/usage?by=group&{MONTH}")
    assert rows_of(document) == known.sums(
        month(known),
        lambda moved, device: {PHONE: ["kids", "home"], LAPTOP: ["home"]}.get(device, [None]),
    )
    assert document["by"] == "group"


def test_rows_by_category_are_sums_of_applications(known: Known) -> None:
    document = known.scene.get(f"/usage?by=category&{MONTH}")
    whole = known.sums(month(known), at_gateway(lambda moved: ""))[""]
    for name in COUNTED:
        assert sum(row[name] for row in document["usage"]) == whole[name]
    assert len(document["usage"]) < len(known.scene.get(f"/usage?by=application&{MONTH}")["usage"])


def test_filters_name_devices_groups_and_applications(known: Known) -> None:
    get, period = known.scene.get, month(known)
    of_kids = get(f"/usage?by=application&group=kids&{MONTH}")
    assert rows_of(of_kids) == known.sums(period, lambda moved, device: [moved.application], devices={PHONE})
    assert of_kids["unattributed"] is None and of_kids["local"] is None
    of_phone = get(f"/usage?by=application&device={PHONE}&{MONTH}")
    assert of_phone["usage"] == of_kids["usage"]
    netflix = rows_of(get(f"/usage?by=application&application={NETFLIX}&group=kids&{MONTH}"))
    assert netflix == {NETFLIX: rows_of(of_kids)[NETFLIX]}
    who = get(f"/usage?application={NETFLIX}&{MONTH}")
    assert who["forgotten"] is None
    assert rows_of(who) == known.sums(period, lambda moved, device: [device], application=NETFLIX)
    assert (
        bytes_of(who["totals"]) == known.sums(period, at_gateway(lambda moved: ""), application=NETFLIX)[""]
    )


def test_the_period_before_stands_beside_each_row(known: Known) -> None:
    document = known.scene.get(f"/usage?previous=true&{MONTH}")
    before = known.calendar.month(month(known).start - 1)
    expected = known.sums(before, lambda moved, device: [device])
    assert {row["key"]: row["previous"] for row in document["usage"]} == {
        row["key"]: expected.get(row["key"], zero()) for row in document["usage"]
    }
    assert document["totals"]["previous"] == known.sums(before, at_gateway(lambda moved: ""))[""]
    assert document["previous_period"]["end"] == document["period"]["start"]
    assert known.scene.get(f"/usage?{MONTH}")["previous_period"] is None


def test_a_period_to_date_is_compared_with_as_much_of_the_one_before(known: Known) -> None:
    document = known.scene.get("/usage?previous=true&to_date=true")
    current = known.calendar.month(known.last)
    before = known.calendar.month(current.start - 1)
    assert current.end > known.last
    period = document["previous_period"]
    begin, end, covered = (
        int(datetime.fromisoformat(period[name].replace("Z", "+00:00")).timestamp())
        for name in ("start", "end", "covered_end")
    )
    assert (begin, end) == (before.start, before.start + known.last - current.start)
    expected = known.sums(Period(begin, covered), lambda moved, device: [device])
    assert {row["key"]: row["previous"] for row in document["usage"]} == {
        row["key"]: expected.get(row["key"], zero()) for row in document["usage"]
    }
    whole = "previous=true&to_date=true"
    assert known.scene.get(f"/usage?{whole}&{MONTH}") == known.scene.get(f"/usage?previous=true&{MONTH}")


def test_rows_are_ranked_by_what_passed_the_link(known: Known) -> None:
    document = known.scene.get(f"/usage?{MONTH}")
    link = [
        row["bytes_up"] + row["bytes_down"] - row["local_up"] - row["local_down"] for row in document["usage"]
    ]
    assert link == sorted(link, reverse=True) and len(link) == 3
    whole = bytes_of(document["totals"])
    through = whole["bytes_up"] + whole["bytes_down"] - whole["local_up"] - whole["local_down"]
    assert [row["share"] for row in document["usage"]] == [round(part / through, 4) for part in link]
    assert {row["key"]: row["name"] for row in document["usage"]}[PHONE] == "kids-phone"
    first = known.scene.get(f"/usage?limit=1&{MONTH}")
    second = known.scene.get(f"/usage?limit=1&cursor={first['next']}&{MONTH}")
    assert [*first["usage"], *second["usage"]] == document["usage"][:2]


def test_without_a_period_it_is_the_current_month(known: Known) -> None:
    document = known.scene.get("/usage")
    current = known.calendar.month(known.last)
    assert rows_of(document) == known.sums(current, lambda moved, device: [device])
    assert document["period"]["start"] == datetime.fromtimestamp(current.start, timezone.utc).strftime(
        "%Y-%m-%dT%H:%M:%S.000Z"
    )
    assert document["timezone"] == "Europe/Berlin"


def test_csv_has_a_row_for_each_row(known: Known) -> None:
    answer = known.scene.ask(f"/usage?format=csv&previous=true&{MONTH}")
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    document = known.scene.get(f"/usage?previous=true&{MONTH}")
    assert [row["key"] for row in rows] == [row["key"] for row in document["usage"]]
    assert [int(row["previous.bytes_up"]) for row in rows] == [
        row["previous"]["bytes_up"] for row in document["usage"]
    ]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("by=colour", "by"),
        ("period=year", "period"),
        ("to=2026-03-01T00:00:00Z", "to"),
        ("from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", "to"),
        ("from=2026-03-02T00:00:00Z&period=day", "period"),
        ("from=2026-03-02T00:00:00Z&at=2026-03-02T00:00:00Z", "at"),
        ("at=99999999999", "at"),
        ("from=99999999999", "from"),
        ("from=0&to=99999999999", "to"),
        (f"by=interface&device={PHONE}", "device"),
        ("by=interface&group=kids", "group"),
        (f"by=interface&application={NETFLIX}", "application"),
        ("group=nobody", "group"),
    ],
)
def test_a_wrong_parameter_is_named(known: Known, query: str, parameter: str) -> None:
    answer = known.scene.ask(f"/usage?{query}")
    assert_problem(answer, 400)
    assert answer.json["parameter"] == parameter


def test_an_unknown_device_is_not_found(known: Known) -> None:
    assert_problem(known.scene.ask("/usage?device=02:00:00:00:00:99"), 404)


def test_a_period_without_traffic_has_no_rows(known: Known) -> None:
    document = known.scene.get("/usage?period=day&at=2001-01-01T00:00:00Z")
    assert document["usage"] == [] and bytes_of(document["totals"]) == zero()
