"""Who may what at a collector, and requests that nobody should send."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from collector_run import ADMIN, GATEWAYS, TENANT, CollectorRun, digest
from real_store import HISTORY, everything
from support import RedisServer, eventually

from netify_agent.config.settings import Settings
from netify_agent.fleet import gateway_settings
from netify_agent.store.client import connect
from netify_agent.store.layout import Keys
from netify_agent.store.replica import HEAD, Content, places
from netify_agent.store.replica_coder import Names
from netify_agent.store.replica_message import Header, encode
from netify_agent.store.replica_rows import Rows

_PLACES = places(Keys("gw1"), HEAD)
assert _PLACES is not None
NAMES = (*_PLACES.counters, *_PLACES.numbers, *_PLACES.scores, *_PLACES.sets)
HEADER = Header("", "1" * 32, 1_790_000_000_000, 15_000)


def message(base: str = "", position: str = "1" * 32, **settings: Any) -> bytes:
    """A message with nothing but a head."""
    rows: dict[str, Rows] = {name: {} for name in NAMES}
    rows["totals"] = {"": {"bu": 5, "bd": 6}}
    texts = {
        "settings": {**gateway_settings.encode(Settings()), **settings},
        **{name: {} for name in ("history", "names", "plans", "alerts")},
    }
    contents = {HEAD: Content(rows, texts)}
    header = HEADER._replace(base=base, position=position)
    return encode(header, [], Names({HEAD}, blind={HEAD}), {}, contents, HISTORY)


def stored(redis: RedisServer) -> dict[str, Any]:
    return everything(connect(redis.url, None))


def test_a_gateway_writes_and_a_reader_reads(collector: CollectorRun) -> None:
    assert collector.ask("GET", "/ingest/gw1", GATEWAYS["gw1"]) == (200, {"position": "", "items": {}})
    assert collector.post("gw1", message()) == (200, {"position": "1" * 32})
    assert collector.get("/gateways/gw1/")[1]["totals"]["bytes_up"] == 5
    assert collector.get("/gateways/gw2/")[0] == 404  # it has sent nothing
    token = GATEWAYS["gw1"]
    assert collector.ask("GET", "/ingest/gw1", token)[1] == {"position": "1" * 32, "items": {}}
    known = f"/ingest/gw1?known={'2' * 32}&known={'1' * 32}"
    assert collector.ask("GET", known, token)[1] == {"position": "1" * 32, "items": None}


def test_a_token_writes_its_own_gateway_only(collector: CollectorRun, collector_redis: RedisServer) -> None:
    for gateway, token in (
        *(
            ("gw1", GATEWAYS["gw2"]),
            ("gw1", ADMIN),
            ("gw1", TENANT),
            ("gw1", ""),
            ("gw1", digest(GATEWAYS["gw1"])),
        ),
        *(
            ("gw9", GATEWAYS["gw1"]),
            ("gw1/../gw2", GATEWAYS["gw1"]),
            ("gw1%7D:x", GATEWAYS["gw1"]),
            ("", GATEWAYS["gw1"]),
        ),
    ):
        body = message()
        assert collector.ask("POST", f"/ingest/{gateway}", token, body)[0] == 401, (gateway, token)
        assert collector.ask("GET", f"/ingest/{gateway}", token)[0] == 401
    assert stored(collector_redis) == {}


def test_a_token_of_a_gateway_reads_nothing(collector: CollectorRun) -> None:
    collector.post("gw1", message())
    for path in ("/gateways", "/gateways/gw1/", "/gateways/gw1/history"):
        assert collector.get(path, GATEWAYS["gw1"])[0] == 401
        assert collector.get(path, "")[0] == 401


def test_a_reader_bound_to_patterns_sees_nothing_else(collector: CollectorRun) -> None:
    for gateway in GATEWAYS:
        assert collector.post(gateway, message())[0] == 200
    assert [row["gateway"] for row in collector.get("/gateways")[1]["gateways"]] == ["branch-1", "gw1", "gw2"]
    assert [row["gateway"] for row in collector.get("/gateways", TENANT)[1]["gateways"]] == [
        "branch-1",
        "gw2",
    ]
    assert collector.get("/gateways/branch-1/", TENANT)[0] == 200
    unknown = collector.get("/gateways/gw9/", TENANT)
    for path in (
        "gw1/",
        "gw1/history",
        "gw1",
        "branch-1/../gw1/",
        "branch-1%2F..%2Fgw1/",
        "GW1/",
        "branch-*/",
    ):
        assert collector.get(f"/gateways/{path}", TENANT) == unknown, path
    # One who has an answer of gw1 in the cache of the collector does not pass it on.
    assert collector.get("/gateways/gw1/")[0] == 200
    assert collector.get("/gateways/gw1/", TENANT) == unknown


def test_a_message_is_applied_once_and_in_order(
    collector: CollectorRun, collector_redis: RedisServer
) -> None:
    first, second = message(), message("1" * 32, "2" * 32)
    assert collector.post("gw1", second)[0] == 409
    assert stored(collector_redis) == {}
    assert collector.post("gw1", first)[0] == 200
    after = stored(collector_redis)
    assert collector.post("gw1", first)[0] == 200  # its answer was lost
    assert stored(collector_redis) == after
    assert collector.post("gw1", second)[0] == 200
    latest = stored(collector_redis)
    assert collector.post("gw1", first)[0] == 409
    assert stored(collector_redis) == latest


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (message()[:-5], {}, 400),
        (message() * 2, {}, 400),
        (b"", {}, 400),
        (b"[]", {}, 400),
        (message(), {"Content-Encoding": "gzip"}, 415),
        (message(timezone="Mars/Olympus"), {}, 400),
        (message(history='{"7s": "1d"}'), {}, 400),
        (message(interval="x"), {}, 400),
    ],
    ids=[
        *("cut", "two messages", "empty", "a list", "packed twice"),
        *("unknown zone", "unknown step", "no interval"),
    ],
)
def test_what_is_no_message_is_refused(
    collector: CollectorRun, collector_redis: RedisServer, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert collector.ask("POST", "/ingest/gw1", GATEWAYS["gw1"], body, **headers)[0] == status
    assert stored(collector_redis) == {}


def test_other_methods_are_refused(collector: CollectorRun) -> None:
    assert collector.ask("DELETE", "/ingest/gw1", GATEWAYS["gw1"])[0] == 405
    assert collector.ask("POST", "/gateways", ADMIN)[0] == 405
    collector.post("gw1", message())
    assert collector.ask("POST", "/gateways/gw1/", ADMIN)[0] == 405


def test_tokens_are_read_again_at_sighup(collector: CollectorRun) -> None:
    assert collector.process is not None
    collector.readers.write_text(f"{digest('another-token-of-a-reader')}\n")
    collector.process.send_signal(signal.SIGHUP)
    eventually(lambda: collector.get("/gateways", "another-token-of-a-reader")[0] == 200, "the new token")
    assert collector.get("/gateways")[0] == 401
    collector.readers.write_text("a-token-in-the-clear\n")
    collector.process.send_signal(signal.SIGHUP)
    eventually(lambda: "reload refused" in collector.log.read_text(), "a refusal")
    assert "a-token-in-the-clear" not in collector.log.read_text()
    assert collector.get("/gateways", "another-token-of-a-reader")[0] == 200


def test_redis_away_is_503_and_no_answer_is_invented(
    collector: CollectorRun, collector_redis: RedisServer
) -> None:
    collector.post("gw1", message())
    collector_redis.kill()
    assert collector.get("/gateways/gw1/")[0] == 503
    assert collector.post("gw1", message("1" * 32, "2" * 32))[0] == 503
    collector_redis.start()
    assert collector.get("/gateways/gw1/")[0] == 200
    assert collector.stop() == 0
