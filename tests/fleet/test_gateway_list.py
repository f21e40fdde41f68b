"""``GET /gateways``: what the list says of each gateway, and to whom."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from collector_run import GATEWAYS, TENANT, CollectorRun
from real_store import LAPTOP, NETFLIX, PHONE, YOUTUBE
from sending_gateway import SendingGateway, silence
from support import RedisServer

from netify_agent import __version__
from netify_agent.config.calendar import Calendar
from netify_agent.fleet import line
from netify_agent.store.client import connect
from netify_agent.store.summaries import DIGESTS, SUMMARIES

Sender = Callable[..., SendingGateway]


@pytest.fixture
def sender(directory: Path, redis_server: RedisServer, collector: CollectorRun) -> Sender:
    return lambda name, **options: SendingGateway(directory, redis_server.url, name, collector, **options)


def listed(collector: CollectorRun, query: str = "", token: str | None = None) -> Any:
    status, document = collector.get(f"/gateways{query}", *([token] if token else []))
    assert status == 200, document
    return document


def names(document: Any) -> list[str]:
    return [row["gateway"] for row in document["gateways"]]


def test_a_line_has_the_figures_of_the_gateway(
    collector: CollectorRun, sender: Sender, collector_redis: RedisServer
) -> None:
    gateway = sender("gw1")
    gateway.move(100, 2000)
    gateway.move(10, 300, PHONE, YOUTUBE, after_s=15)
    before_ms = int(time.time() * 1000)
    gateway.forward()
    document = listed(collector)
    row = document["gateways"][names(document).index("gw1")]
    own = collector.get("/gateways/gw1/")[1]
    for name, value in own["totals"].items():
        assert row[name] == value, name
    assert row["rate_down"] == 300 * 8 // 15
    assert (row["state"], row["version"], row["devices"]) == ("online", __version__, 2)
    assert row["active"] == own["active"] == 2
    assert row["generated_at"] == own["generated_at"]
    month = Calendar().month(gateway.at_s)
    assert row["month"] == {
        "start": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(month.start)),
        "end": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(month.end)),
        "bytes_up": 110,
        "bytes_down": 2300,
    }
    assert [(one["tag"], one["bytes_down"]) for one in row["applications"]] == [
        (NETFLIX, 2000),
        (YOUTUBE, 300),
    ]
    assert row["applications"][0]["name"] == "Netflix"
    received = json.loads(connect(collector_redis.url, None).hget(SUMMARIES, "gw1"))["received"]
    assert before_ms <= received
    assert abs(row["clock_skew"]) <= 1
    others = [one for one in document["gateways"] if one["gateway"] != "gw1"]
    assert {one["state"] for one in others} == {"new"}
    assert all(one["last_contact"] is None and one["bytes_up"] is None for one in others)
    assert document["totals"]["online"] == 1 and document["totals"]["new"] == 2
    assert document["totals"]["bytes_down"] == 2300


def test_the_month_is_that_of_the_gateways_calendar(collector: CollectorRun, sender: Sender) -> None:
    """What moved before the month began is in the totals alone."""
    begin = Calendar().month(int(time.time())).start
    gateway = sender("gw1", at_s=begin - 3600)
    gateway.move(1000, 1000)
    gateway.move(7, 9, after_s=2 * 3600)
    gateway.forward()
    (row,) = listed(collector, "?search=gw1")["gateways"]
    assert (row["month"]["bytes_up"], row["month"]["bytes_down"]) == (7, 9)
    assert (row["bytes_up"], row["bytes_down"]) == (1007, 1009)


@pytest.mark.parametrize("ahead_s", [-86_400, 7])
def test_a_clock_that_is_wrong_is_shown(
    collector: CollectorRun, sender: Sender, monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    monkeypatch.setattr(line, "formatdate", lambda usegmt: formatdate(time.time() + ahead_s, usegmt=usegmt))
    gateway = sender("gw1")
    gateway.move(1, 1)
    gateway.forward()
    (row,) = listed(collector, "?search=gw1")["gateways"]
    assert abs(row["clock_skew"] - ahead_s) <= 1


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 01 Jan 99999 00:00:00 GMT"])
def test_a_message_that_says_nothing_of_its_sender_is_taken(
    collector: CollectorRun, sender: Sender, monkeypatch: pytest.MonkeyPatch, date: str
) -> None:
    monkeypatch.setattr(line, "formatdate", lambda usegmt: date)
    monkeypatch.setattr(line, "__version__", "<script>")
    gateway = sender("gw1")
    gateway.move(1, 1)
    gateway.forward()
    (row,) = listed(collector, "?search=gw1")["gateways"]
    assert row["clock_skew"] is row["version"] is None
    assert row["state"] == "online"


def test_a_silent_gateway_is_told_and_has_no_rates(
    collector: CollectorRun, sender: Sender, collector_redis: RedisServer
) -> None:
    for name in ("gw1", "gw2"):
        gateway = sender(name)
        gateway.move(100, 2000)
        gateway.forward()
    before = collector.exchange("GET", "/gateways")[2]["ETag"]
    silence(collector_redis, "gw2")
    document = listed(collector, "?sort=state")
    assert [(row["gateway"], row["state"]) for row in document["gateways"]] == [
        ("gw2", "silent"),
        ("branch-1", "new"),
        ("gw1", "online"),
    ]
    silent = document["gateways"][0]
    assert silent["rate_down"] is silent["active"] is None
    assert silent["bytes_down"] == 2000
    assert (document["totals"]["silent"], document["totals"]["devices"]) == (1, 2)
    assert document["totals"]["active"] == 1
    assert collector.exchange("GET", "/gateways")[2]["ETag"] != before
    assert names(listed(collector, "?state=silent")) == ["gw2"]
    assert names(listed(collector, "?state=new")) == ["branch-1"]


def test_time_alone_makes_a_gateway_silent(
    directory: Path, redis_server: RedisServer, collector_redis: RedisServer
) -> None:
    """Nothing is stored when a gateway falls silent, and the client's ETag is no longer right."""
    collector = CollectorRun(directory, collector_redis.url)
    collector.settings["silent_after"] = "10s"
    collector.start()
    try:
        gateway = SendingGateway(directory, redis_server.url, "gw1", collector)
        gateway.move(1, 1)
        gateway.forward()
        etag = collector.exchange("GET", "/gateways?search=gw1")[2]["ETag"]
        end = time.monotonic() + 120
        while collector.exchange("GET", "/gateways?search=gw1", **{"If-None-Match": etag})[0] == 304:
            assert time.monotonic() < end
            time.sleep(0.2)
        assert listed(collector, "?search=gw1")["gateways"][0]["state"] == "silent"
    finally:
        collector.stop()


def test_sort_search_pages_fields_and_csv(collector: CollectorRun, sender: Sender) -> None:
    for index, name in enumerate(GATEWAYS):
        gateway = sender(name)
        gateway.move(100 * index, 2000 - index)
        gateway.forward()
    assert names(listed(collector)) == ["branch-1", "gw1", "gw2"]
    assert names(listed(collector, "?sort=bytes")) == ["branch-1", "gw2", "gw1"]
    assert names(listed(collector, "?search=BRANCH")) == ["branch-1"]
    first = listed(collector, "?sort=bytes&limit=2")
    assert names(first) == ["branch-1", "gw2"] and first["total"] == 3
    assert names(listed(collector, f"?sort=bytes&limit=2&cursor={first['next']}")) == ["gw1"]
    assert listed(collector, "?fields=gateway,state&limit=1")["gateways"] == [
        {"gateway": "branch-1", "state": "online"}
    ]
    status, text, headers = collector.exchange("GET", "/gateways?format=csv")
    assert status == 200 and headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    assert [row["gateway"] for row in rows] == ["branch-1", "gw1", "gw2"]
    assert rows[0]["month.bytes_up"] == "200"
    status, text, _ = collector.exchange("GET", "/gateways?format=csv&rows=applications")
    assert text.decode().splitlines()[1].startswith("branch-1,netify.netflix,Netflix,")
    assert collector.get("/gateways?sort=color")[0] == 400
    assert collector.get("/gateways?cursor=x")[0] == 400


def test_the_etag_is_kept_until_something_visible_changes(collector: CollectorRun, sender: Sender) -> None:
    """Nothing that a reader gets says that a gateway of somebody else has sent something."""
    mine, others = sender("gw2"), sender("gw1")
    mine.move(1, 1)
    mine.forward()
    others.move(5, 5)
    others.forward()
    paths = ("/gateways", "/gateways?format=csv", "/gateways?sort=bytes&limit=1", "/gateways/gw2/")
    before = {path: collector.exchange("GET", path, TENANT) for path in paths}
    others.move(7, 7, PHONE, YOUTUBE)
    others.forward()
    for path, (_, body, headers) in before.items():
        status, text, again = collector.exchange("GET", path, TENANT, **{"If-None-Match": headers["ETag"]})
        assert (status, text) == (304, b""), path
        status, text, again = collector.exchange("GET", path, TENANT)
        assert text == body and again["ETag"] == headers["ETag"]
    mine.move(1, 1)
    mine.forward()
    for path, (_, _, headers) in before.items():
        assert collector.exchange("GET", path, TENANT, **{"If-None-Match": headers["ETag"]})[0] == 200, path


def test_a_reader_bound_to_patterns_learns_nothing_of_others(collector: CollectorRun, sender: Sender) -> None:
    secret = sender("gw1")
    secret.move(123_456_789, 987_654_321, LAPTOP, "netify.secret-application")
    secret.forward()
    mine = sender("gw2")
    mine.move(1, 2)
    mine.forward()
    document = listed(collector, "", TENANT)
    assert names(document) == ["branch-1", "gw2"]
    assert (document["totals"]["gateways"], document["totals"]["bytes_up"]) == (2, 1)
    assert document["total"] == 2
    # An answer that the administrator got before is not the tenant's, nor is his ETag.
    whole = collector.exchange("GET", "/gateways")
    status, text, headers = collector.exchange(
        "GET", "/gateways", TENANT, **{"If-None-Match": whole[2]["ETag"]}
    )
    assert status == 200 and headers["ETag"] != whole[2]["ETag"]
    for query in (
        *("", "?search=gw1", "?state=online", "?sort=last_contact", "?format=csv", "?sort=bytes&limit=1"),
        *(
            "?fields=gateway",
            f"?cursor={listed(collector, '?limit=1&sort=bytes')['next']}&limit=1&sort=bytes",
        ),
    ):
        status, text, headers = collector.exchange("GET", f"/gateways{query}", TENANT)
        assert b"gw1" not in text and b"123456789" not in text and b"secret" not in text, query
        assert "gw1" not in str(headers)


def test_a_summary_that_is_lost_comes_back_with_the_next_message(
    collector: CollectorRun, sender: Sender, collector_redis: RedisServer
) -> None:
    gateway = sender("gw1")
    gateway.move(1, 1)
    gateway.forward()
    client = connect(collector_redis.url, None)
    client.delete(SUMMARIES, DIGESTS)
    assert listed(collector, "?search=gw1")["gateways"][0]["state"] == "new"
    gateway.move(1, 1)
    gateway.forward()
    assert listed(collector, "?search=gw1")["gateways"][0]["bytes_up"] == 2
    client.hset(SUMMARIES, "gw1", '{"of": "another version"}')
    client.hset(DIGESTS, "gw1", "0" * 16)
    assert listed(collector, "?search=gw1")["gateways"][0]["state"] == "new"


def test_the_list_is_refused_without_redis(collector: CollectorRun, collector_redis: RedisServer) -> None:
    assert listed(collector)["generated_at"] is None
    collector_redis.kill()
    status, _text, headers = collector.exchange("GET", "/gateways")
    assert status == 503 and re.fullmatch("[0-9]+", headers["Retry-After"])
