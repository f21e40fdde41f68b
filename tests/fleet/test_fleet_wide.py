"""What a collector makes of several gateways: usage, history, alerts, metrics, and the OpenAPI document."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from collector_run import ADMIN, GATEWAYS, TENANT, CollectorRun
from jsonschema import Draft202012Validator
from metric_samples import parsed, value
from real_store import LAPTOP, NETFLIX, PHONE, YOUTUBE
from sending_gateway import SendingGateway, silence
from support import RedisServer

from netify_agent.config.calendar import HOUR_S, Calendar
from netify_agent.config.plans import Plan
from netify_agent.config.types import Resolution
from netify_agent.plans.standing import PlanStanding, Standings
from netify_agent.store.client import connect
from netify_agent.store.history_record import Record, Volume, encode
from netify_agent.store.layout import GATEWAY, Keys

Sender = Callable[..., SendingGateway]
MINE = ("branch-1", "gw2")  # what TENANT sees
_BYTES = ("bytes_up", "bytes_down", "local_up", "local_down")


@pytest.fixture
def fleet(
    directory: Path, redis_server: RedisServer, collector: CollectorRun
) -> Iterator[dict[str, SendingGateway]]:
    """Three gateways with different traffic, one hour and a little more of it."""
    found = {}
    for index, name in enumerate(GATEWAYS, 1):
        plans = {"all": Plan(limit=10**9, per="month")}
        gateway = SendingGateway(directory, redis_server.url, name, collector, plans=plans)
        gateway.move(index, 1000 * index)
        gateway.move(10 * index, 5 * index, PHONE, YOUTUBE, after_s=3600)
        gateway.move(7, 70 * index, LAPTOP, f"netify.only-{name}", after_s=30)
        gateway.forward()
        found[name] = gateway
    yield found


def get(collector: CollectorRun, path: str, token: str = ADMIN) -> Any:
    status, document = collector.get(path, token)
    assert status == 200, (path, document)
    return document


def by_key(document: Any) -> dict[Any, dict[str, int]]:
    return {row["key"]: {name: row[name] for name in _BYTES} for row in document["usage"]}


@pytest.mark.parametrize("period", ["", "&period=day", "&period=week"])
def test_usage_is_the_sum_of_what_each_gateway_says(
    collector: CollectorRun, fleet: dict[str, SendingGateway], period: str
) -> None:
    own = {
        name: get(collector, f"/gateways/{name}/usage?by=application{period}&limit=1000") for name in fleet
    }
    document = get(collector, f"/usage?by=gateway{period}")
    assert by_key(document) == {
        name: {key: one["totals"][key] for key in _BYTES} for name, one in own.items()
    }
    total = {key: sum(one["totals"][key] for one in own.values()) for key in _BYTES}
    assert document["totals"] == total and document["gateways"] == 3
    assert document["totals"]["bytes_down"] == 6000 + 30 + 420
    for kind in ("application", "category"):
        sums: dict[Any, Counter[str]] = {}
        for name in fleet:
            rows = get(collector, f"/gateways/{name}/usage?by={kind}{period}&limit=1000")["usage"]
            for row in rows:
                sums.setdefault(row["key"], Counter()).update({key: row[key] for key in _BYTES})
        found = get(collector, f"/usage?by={kind}{period}")
        assert by_key(found) == {key: dict(counts) for key, counts in sums.items()}
        assert found["totals"] == total
        shares = sum(row["share"] for row in found["usage"])
        assert abs(shares - 1) < 0.001


def test_usage_of_any_time_of_a_pattern_and_as_csv(
    collector: CollectorRun, fleet: dict[str, SendingGateway]
) -> None:
    begin = fleet["gw1"].at_s - 3630
    hour = f"from={begin // 3600 * 3600}&to={begin // 3600 * 3600 + 3600}"
    assert get(collector, f"/usage?{hour}")["totals"]["bytes_down"] == 6000
    assert by_key(get(collector, "/usage?gateways=gw*")).keys() == {"gw1", "gw2"}
    assert get(collector, "/usage?gateways=nothing-*")["usage"] == []
    assert get(collector, "/usage?gateways=nothing-*")["period"] is None
    status, text, _ = collector.exchange("GET", "/usage?by=application&format=csv&sort=name")
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    assert status == 200 and rows[0]["name"] == "Netflix"
    page = get(collector, "/usage?limit=2")
    assert [row["key"] for row in page["usage"]] == ["branch-1", "gw2"] and page["total"] == 3
    rest = get(collector, f"/usage?limit=2&cursor={page['next']}")
    assert [row["key"] for row in rest["usage"]] == ["gw1"]
    for wrong in (
        "by=device",
        f"from={begin}",
        "to=5",
        "at=99999999999",
        "period=year",
        f"at={begin}&{hour}",
    ):
        assert collector.get(f"/usage?{wrong}")[0] == 400, wrong


def test_usage_follows_each_message(collector: CollectorRun, fleet: dict[str, SendingGateway]) -> None:
    before = get(collector, "/usage")["totals"]["bytes_up"]
    fleet["gw2"].move(1_000_000, 1)
    assert get(collector, "/usage")["totals"]["bytes_up"] == before
    fleet["gw2"].forward()
    assert get(collector, "/usage")["totals"]["bytes_up"] == before + 1_000_000
    earlier = get(collector, f"/usage?at={fleet['gw2'].at_s - 40 * 86400}")
    assert earlier["totals"]["bytes_up"] == 0 and earlier["usage"] != []


def buckets(document: Any) -> dict[str, dict[str, int]]:
    names = ("bytes_up", "bytes_down", "packets_up", "packets_down")
    return {one["start"]: {name: one[name] for name in names} for one in document["buckets"]}


@pytest.mark.parametrize("resolution", ["5m", "1h", "1d", "1mo"])
def test_history_is_the_sum_of_the_gateways_own(
    collector: CollectorRun, fleet: dict[str, SendingGateway], resolution: str
) -> None:
    sums: dict[str, Counter[str]] = {}
    for name in fleet:
        for start, counts in buckets(
            get(collector, f"/gateways/{name}/history?resolution={resolution}")
        ).items():
            sums.setdefault(start, Counter()).update(counts)
    document = get(collector, f"/history?resolution={resolution}")
    assert buckets(document) == {start: dict(counts) for start, counts in sums.items()} != {}
    assert (document["gateways"], document["left_out"]) == (3, [])
    one = get(collector, f"/history?resolution={resolution}&gateways=gw1&applications=true")
    own = get(collector, f"/gateways/gw1/history?resolution={resolution}&applications=true")
    assert one["buckets"] == own["buckets"]
    every = get(collector, f"/history?resolution={resolution}&applications=true")["buckets"]
    moved = {row["tag"] for bucket in every for row in bucket["applications"]}
    assert moved == {NETFLIX, YOUTUBE, *(f"netify.only-{name}" for name in fleet)}
    for bucket in every:
        assert sum(row["bytes_down"] for row in bucket["applications"]) == bucket["bytes_down"]


def test_a_gateway_without_the_resolution_is_named(
    directory: Path, redis_server: RedisServer, collector: CollectorRun
) -> None:
    steps = (Resolution(600, 86400, "10m"), Resolution(86400, 90 * 86400, "1d"))
    for name, options in (("gw1", {}), ("gw2", {"history": steps})):
        gateway = SendingGateway(directory, redis_server.url, name, collector, **options)
        gateway.move(1, 2)
        gateway.forward()
    document = get(collector, "/history?resolution=1h")
    assert (document["gateways"], document["left_out"]) == (1, ["gw2"])
    assert [one["bytes_down"] for one in document["buckets"]] == [2]
    assert [one["bytes_down"] for one in get(collector, "/history?resolution=1d")["buckets"]] == [4]


def test_a_silent_gateway_is_an_alert_and_a_metric(
    collector: CollectorRun, fleet: dict[str, SendingGateway], collector_redis: RedisServer
) -> None:
    assert get(collector, "/alerts")["alerts"] == []
    silence(collector_redis, "gw1")
    silence(collector_redis, "gw2", 7200)
    document = get(collector, "/alerts")
    assert [one["gateway"] for one in document["alerts"]] == ["gw1", "gw2"]
    first = document["alerts"][0]
    assert (first["alert"], first["severity"], first["status"]) == ("gateway_silent", "critical", "firing")
    contact = get(collector, "/gateways?search=gw1")["gateways"][0]["last_contact"]
    assert first["started_at"] > contact and first["summary"] == "Gateway gw1 is silent"
    assert first["id"] == get(collector, "/alerts")["alerts"][0]["id"]
    found = parsed(collector.exchange("GET", "/metrics")[1].decode())
    assert value(found, "netify_gateway_up", gateway="gw1") == 0
    assert value(found, "netify_gateway_up", gateway="branch-1") == 1
    assert value(found, "netify_gateways", state="silent") == 2
    assert len(found["netify_gateway_rate_bytes_per_second"]) == 2  # of the one that is online
    fleet["gw1"].move(1, 1)
    fleet["gw1"].forward()
    assert [one["gateway"] for one in get(collector, "/alerts")["alerts"]] == ["gw2"]
    assert get(collector, "/alerts?sort=name&limit=1")["total"] == 1


def test_the_alerts_of_the_gateways_are_counted_and_listed(
    collector: CollectorRun, fleet: dict[str, SendingGateway], collector_redis: RedisServer
) -> None:
    at_s = fleet["gw1"].at_s
    for name, alert, severity, since_s in (
        *(("gw1", "busy", "critical", at_s), ("gw1", "new", "info", at_s + 1)),
        *(("gw2", "slow", "warning", at_s + 2), ("gw2", "over", "critical", at_s + 3)),
    ):
        fleet[name].alert(alert, severity, since_s, since_s + 1 if alert == "over" else None)
    for name in ("gw1", "gw2"):
        fleet[name].move(1, 1)
        fleet[name].forward()
    silence(collector_redis, "branch-1")
    rows = {row["gateway"]: row["alerts"] for row in get(collector, "/gateways")["gateways"]}
    assert rows["gw1"] == {"info": 1, "warning": 0, "critical": 1}
    assert rows["gw2"] == {"info": 0, "warning": 1, "critical": 0}
    listed = get(collector, "/gateways?sort=alerts")["gateways"]
    assert [row["gateway"] for row in listed] == ["gw1", "gw2", "branch-1"]
    found = get(collector, "/alerts")["alerts"]
    own = get(collector, "/gateways/gw1/alerts")["alerts"]
    assert {one["id"] for one in found if one["gateway"] == "gw1"} == {one["id"] for one in own}
    order = [one["alert"] for one in get(collector, "/alerts?sort=severity")["alerts"]]
    assert order == ["gateway_silent", "busy", "slow", "new"]
    assert [one["summary"] for one in found if one["alert"] == "busy"] == ["The gateway is busy"]
    samples = parsed(collector.exchange("GET", "/metrics")[1].decode())
    assert value(samples, "netify_gateway_alerts", gateway="gw2", severity="warning") == 1
    mine = get(collector, "/alerts", TENANT)["alerts"]
    assert {one["gateway"] for one in mine} == {"branch-1", "gw2"}


def test_the_plan_of_which_the_largest_share_is_used(
    directory: Path, redis_server: RedisServer, collector: CollectorRun
) -> None:
    plans = {"all": Plan(limit=1000, per="month"), "each": Plan(limit=500, per="month", device="each")}
    with_plans = SendingGateway(directory, redis_server.url, "gw1", collector, plans=plans)
    period = Calendar().month(with_plans.at_s)
    used = {"all": {"": 460}, "each": {PHONE: 10, LAPTOP: 450}}
    standings = {name: PlanStanding(name, plans[name], period, used[name], {}) for name in plans}
    with_plans.standings = Standings(1, with_plans.at_s * 1000, standings)
    without = SendingGateway(directory, redis_server.url, "gw2", collector)
    for gateway in (with_plans, without):
        gateway.move(1, 1)
        gateway.forward()
    rows = {row["gateway"]: row["plan"] for row in get(collector, "/gateways?sort=plan")["gateways"]}
    assert list(rows) == ["gw1", "branch-1", "gw2"]
    assert rows["gw1"] == {"plan": "each", "device": LAPTOP, "used": 450, "limit": 500, "share": 0.9}
    assert rows["gw2"] is rows["branch-1"] is None
    first = get(collector, "/gateways/gw1/plans")["plans"][0]
    assert {name: first[name] for name in rows["gw1"]} == rows["gw1"]
    samples = parsed(collector.exchange("GET", "/metrics")[1].decode())
    assert value(samples, "netify_gateway_plan_used_ratio", gateway="gw1") == 0.9
    assert len(samples["netify_gateway_plan_used_ratio"]) == 1


def test_a_gateway_that_means_no_good_spoils_no_list(
    collector: CollectorRun, fleet: dict[str, SendingGateway]
) -> None:
    """Its token lets it write its own copy: with huge numbers, long texts and alerts of unknown kinds."""
    gateway = fleet["gw1"]
    client, keys = gateway.store.client, Keys("gw1")
    gateway.alert("x" * 5000, "critical", gateway.at_s)
    gateway.alert("odd", "catastrophic", gateway.at_s)
    for index in range(100):
        gateway.alert(f"alert-{index}", "info", 10**15)
    most = str((1 << 62) - 1)  # of a counter: larger ones are refused
    client.hset(keys.totals(""), mapping={"bu": most, "bd": most})
    client.hset(keys.applications(""), mapping={f"bu:{'y' * 5000}": most, "bu:<script>": most})
    client.hset(keys.rates, "", json.dumps([[10**27, 10**27], {}]))
    client.hset(keys.meta, "seq", int(client.hget(keys.meta, "seq")) + 1)
    gateway.forward()
    for path in ("/gateways?limit=1", "/alerts?limit=2"):
        for sort in ("bytes", "rate", "month", "alerts", "severity", "started_at", "name", "state"):
            status, page = collector.get(f"{path}&sort={sort}")
            if status == 400 and "one of" in page["detail"]:
                continue  # the other list has it
            seen = 0
            while page["next"] is not None:
                page = get(collector, f"{path}&sort={sort}&cursor={page['next']}")
                seen += 1
            assert seen >= 2, (path, sort)
    for path in ("/gateways", "/alerts", "/metrics", "/gateways?format=csv", "/usage", "/history"):
        status, text, _ = collector.exchange("GET", path)
        assert status == 200 and len(text) < 50_000, path
    assert "failed" not in collector.log.read_text()


@pytest.mark.parametrize("start", [1 << 60, -(1 << 60), 1 << 45])
def test_a_record_that_no_calendar_has_spoils_no_sum(
    collector: CollectorRun, fleet: dict[str, SendingGateway], collector_redis: RedisServer, start: int
) -> None:
    paths = ("/history", "/history?resolution=1h&applications=true", "/usage", "/usage?by=application")
    before = [get(collector, path) for path in paths]
    chunk = int(time.time()) // HOUR_S * HOUR_S
    record = encode(Record(start, Volume(1 << 40, 1 << 40)), chunk)
    keys = Keys("gw1")
    client = connect(collector_redis.url, None)
    client.append(keys.chunk((300, chunk), GATEWAY), record)
    client.zadd(keys.chunks(300), {str(chunk): chunk})
    collector.stop()
    collector.start()  # it has read nothing yet
    for path, had in zip(paths, before, strict=True):
        now = get(collector, path)
        assert now["gateways"] == had["gateways"], path
    assert "failed" not in collector.log.read_text()


def test_metrics_have_the_figures_of_the_list(
    collector: CollectorRun, fleet: dict[str, SendingGateway]
) -> None:
    found = parsed(collector.exchange("GET", "/metrics")[1].decode())

    def of(row: Any, name: str, **labels: str) -> float:
        return value(found, f"netify_gateway_{name}", gateway=row["gateway"], **labels)

    for row in get(collector, "/gateways")["gateways"]:
        assert of(row, "bytes_total", direction="down") == row["bytes_down"]
        assert of(row, "packets_total", direction="up") == row["packets_up"]
        assert of(row, "rate_bytes_per_second", direction="down") == row["rate_down"] / 8
        assert (of(row, "devices"), of(row, "devices_active")) == (row["devices"], row["active"])
        assert abs(of(row, "clock_skew_seconds")) <= 1
        assert of(row, "info", version=row["version"]) == 1


#: Everything that a reader may ask for about several gateways.
QUERIES = [
    *("/gateways", "/gateways?sort=bytes&limit=1", "/gateways?search=gw", "/gateways?format=csv", "/alerts"),
    *("/usage", "/usage?by=application", "/usage?by=category", "/usage?gateways=gw*", "/usage?format=csv"),
    *("/usage?gateways=*", "/usage?gateways=gw1", "/usage?by=application&gateways=gw?", "/usage?sort=name"),
    *("/history", "/history?applications=true", "/history?gateways=*", "/history?gateways=gw1"),
    *("/history?resolution=1d&format=csv", "/alerts?format=csv", "/metrics", "/usage?by=application&limit=1"),
]


def test_another_tenants_gateway_is_in_no_answer_no_sum_and_no_etag(
    collector: CollectorRun, fleet: dict[str, SendingGateway], collector_redis: RedisServer
) -> None:
    """What the tenant gets does not change with what happens at gw1, and is made of his gateways alone."""
    silence(collector_redis, "gw2")
    before = {path: collector.exchange("GET", path, TENANT) for path in QUERIES}
    whole = {path: collector.exchange("GET", path) for path in QUERIES}  # the administrator's, in the caches
    for path, (status, text, headers) in before.items():
        assert status == 200, path
        assert not re.search(rb"gw1\b|only-gw1", text), path
        assert "gw1" not in str(headers), path
        if "ETag" in headers:
            assert headers["ETag"] != whole[path][2]["ETag"], path
    assert json.loads(before["/usage"][1])["totals"]["bytes_down"] == sum(
        get(collector, f"/gateways/{name}/usage", TENANT)["totals"]["bytes_down"] for name in MINE
    )
    assert json.loads(before["/usage?gateways=gw1"][1])["usage"] == []
    assert json.loads(before["/history?gateways=gw1"][1])["buckets"] == []
    fleet["gw1"].alert("only-gw1", "critical", fleet["gw1"].at_s)
    fleet["gw1"].move(123_456_789, 987_654_321, PHONE, "netify.secret-gw1", after_s=15)
    fleet["gw1"].forward()
    silence(collector_redis, "gw1")
    for path, (_, text, headers) in before.items():
        status, again, now = collector.exchange("GET", path, TENANT)
        assert (again, now["ETag"]) == (text, headers["ETag"]), path
        if "ETag" in headers:
            assert collector.exchange("GET", path, TENANT, **{"If-None-Match": headers["ETag"]})[0] == 304
            stolen = whole[path][2]["ETag"]
            assert collector.exchange("GET", path, TENANT, **{"If-None-Match": stolen})[0] == 200


def test_nothing_is_answered_without_the_token_of_a_reader(collector: CollectorRun) -> None:
    for path in (*QUERIES, "/openapi.json", "/", "/nothing"):
        for token in ("", "nobody's", GATEWAYS["gw1"]):
            assert collector.exchange("GET", path, token)[0] == 401, path
        assert collector.exchange("POST", path)[0] in (404, 405), path


def test_the_openapi_document_is_what_is_answered(
    collector: CollectorRun, fleet: dict[str, SendingGateway], collector_redis: RedisServer
) -> None:
    silence(collector_redis, "gw2")
    document = get(collector, "/openapi.json")
    assert document["security"] == [{"token": []}]
    places = {"gateway": "gw1", "device": LAPTOP, "tag": NETFLIX, "plan": "all"}
    names = [path["get"]["operationId"] for path in document["paths"].values()]
    assert len(set(names)) == len(names)
    assert {"/gateways", "/usage", "/history", "/alerts", "/metrics"} <= document["paths"].keys()
    for path, operations in document["paths"].items():
        content = operations["get"]["responses"]["200"]["content"]
        method = "HEAD" if "text/event-stream" in content else "GET"  # a stream has no end
        status, text, headers = collector.exchange(method, path.format(**places))
        assert status == 200 and headers["Content-Type"].partition(";")[0] in content, path
        schema = content.get("application/json", {}).get("schema")
        if schema:
            Draft202012Validator({**schema, "components": document["components"]}).validate(json.loads(text))
