"""Promises of the store, kept by a real Redis: what was fed is what is read, once, whole, and bounded."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis
from real_store import (
    LAPTOP,
    NO_COUNTS,
    PHONE,
    SOURCE,
    TUNNEL,
    YOUTUBE,
    RealStore,
    counts,
    device_counts,
    digests,
    everything,
    flow_id,
)
from support import RedisServer

from netify_agent.simulator.simulation import Simulation
from netify_agent.store.acl import COMMANDS
from netify_agent.store.alert_store import AlertStore
from netify_agent.store.audit import SumAudit
from netify_agent.store.changes_reader import ChangesReader
from netify_agent.store.client import connect
from netify_agent.store.flow_reader import FlowFilter
from netify_agent.store.forget_requests import ForgetRequests
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import Keys
from netify_agent.store.metrics_reader import MetricsReader
from netify_agent.store.writer import StoreWriter

HOSTILE = [
    "colon:bu:in:it",
    "{brace}",
    "new\nline\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "nul\x00 esc\x1b[2J del\x7f",
    "x" * 253,
    '"quote\'s" \\ <script>',
    "日本語 \U0001f4a9",
    "ls:",
    " ",
]


# -- what was fed is what is read ------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
def test_a_simulated_network_is_read_back_to_the_byte(shared_redis: RedisServer, version: int) -> None:
    connect(shared_redis.url, None).flushall()
    start_s = int(time.time()) - 5400
    simulation = Simulation(5, 15, 0.5, version=version, profile="office", start_ms=start_s * 1000)
    store = RealStore(shared_redis.url, "gw1")
    store.accountant.feed([json.loads(payload) for payload in simulation.opening()], SOURCE)
    store.bucket = start_s // 300 * 300
    store.take()
    store.sequence -= 1
    for index, (at_ms, payload) in enumerate(simulation.records()):
        store.feed(json.loads(payload))
        if index % 500 == 499:
            store.bucket = at_ms // 300_000 * 300
            store.flush(at_ms=at_ms)
    store.flush()
    truth: dict[str, Any] = simulation.truth.as_dict()
    snapshot = store.snapshot()
    assert snapshot.gateway.counters == truth["gateway"]
    assert snapshot.unattributed == truth["unattributed"]
    assert {row.name: row.counters for row in snapshot.devices} == truth["devices"]
    assert len(snapshot.devices) > 5
    applications = {
        f"{row.name} {tag}": counted.counters
        for row in snapshot.devices
        for tag, counted in row.applications.items()
    }
    assert applications == truth["applications"]
    protocols: dict[str, dict[str, int]] = {}
    for row in snapshot.devices:
        found = store.reader.device(row.name)
        assert found is not None
        assert found.device.applications == row.applications
        protocols |= {
            f"{row.name} {name}": counted.counters for name, counted in found.device.protocols.items()
        }
    assert protocols == truth["protocols"]
    rows = store.applications(100)
    for counter, count in truth["unattributed"].items():  # whose application netifyd never told
        truth["gateway_applications"]["Unknown"][counter] += count
    assert {row.name: row.counters for row in rows} == truth["gateway_applications"]
    used = {f"{device} {row.name}": amount for row in rows for device, amount in row.users}
    assert used == {
        name: row["bytes_up"] + row["bytes_down"]
        for name, row in truth["applications"].items()
        if row["bytes_up"] + row["bytes_down"]
    }
    for step in (300, 3600, 86400):
        starts = range(start_s // step * step, start_s + 7200, step)
        buckets = store.past("", step, starts)
        for counter in ("bytes_up", "bytes_down", "packets_up", "packets_down"):
            assert sum(rows[""].get(counter, 0) for _, rows in buckets) == truth["gateway"][counter]


def test_a_local_flow_counts_at_both_devices_and_once_at_the_gateway(store: RealStore) -> None:
    local = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
    store.flush(store.netifyd.flow("a", **local), store.netifyd.stats("a", 10, 300))
    assert device_counts(store) == {LAPTOP: counts(10, 300, 1, 1, 1), PHONE: counts(300, 10, 1, 1, 1)}
    snapshot = store.reader.snapshot()
    assert snapshot.gateway.counters == counts(10, 300, 1, 1, 1)
    assert snapshot.mirrored == counts(300, 10, 1, 1, 1)


def test_bytes_of_an_undescribed_flow_count_for_the_gateway_alone(store: RealStore) -> None:
    store.flush(store.netifyd.stats("a", 10, 300))
    snapshot = store.reader.snapshot()
    assert snapshot.gateway.counters == snapshot.unattributed == counts(10, 300, 1, 1, 1)
    assert snapshot.devices == []


def test_a_device_without_a_mac_is_named_by_its_address(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a", TUNNEL), store.netifyd.stats("a", 1, 2))
    found = store.reader.device(TUNNEL)
    assert found is not None
    assert (found.device.name, found.device.addresses, found.device.interface) == (TUNNEL, [TUNNEL], "br0")


def test_a_new_store_is_empty(store: RealStore) -> None:
    snapshot = store.reader.snapshot()
    assert (snapshot.flush, snapshot.devices) == ((0, 0), [])
    assert snapshot.gateway.counters == NO_COUNTS
    assert store.reader.device(LAPTOP) is None
    assert not store.reader.knows(LAPTOP)
    assert store.applications(10) == []
    assert store.past(LAPTOP, 300, []) == []
    assert store.past(LAPTOP, 300, [store.bucket]) == []


def test_counters_of_the_accounting_add_up(store: RealStore) -> None:
    for total in (5000, 9000):  # 2 x 2000 bytes that no interval told of
        store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 1000, 1000, total_bytes=total))
    assert store.reader.counters()["bytes_missed"] == 2000
    assert store.reader.meta()["seq"] == "2"


def test_gateways_in_one_redis_are_separate(store: RealStore, shared_redis: RedisServer) -> None:
    other = RealStore(shared_redis.url, "gw2")
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 1, 2))
    other.flush(other.netifyd.flow("a", PHONE), other.netifyd.stats("a", 3, 4))
    assert set(device_counts(store)) == {LAPTOP}
    assert set(device_counts(other)) == {PHONE}


def test_every_key_of_a_gateway_has_its_hash_tag(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 1, 2))
    assert all(key.startswith("netify:{gw1}:") for key in everything(store.client))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_stored_unchanged(store: RealStore, text: str) -> None:
    flush = store.take()
    store.sequence -= 1
    # Past the accounting, which would have cleaned them: the store must not rely on it.
    store.feed(store.netifyd.flow("a"), store.netifyd.stats("a", 7, 9))
    flush = store.take()
    for key in list(flush.batch.counted):
        flush.batch.counted[key._replace(application=text, protocol=text)] = flush.batch.counted.pop(key)
    flush.batch.devices[LAPTOP].hint = text
    flush.batch.categories[text] = 9
    flush.batch.flows[flow_id("a")] = flush.batch.flows[flow_id("a")]._replace(  # type: ignore[union-attr]
        source=text,
        key=flush.batch.flows[flow_id("a")].key._replace(application=text),  # type: ignore[union-attr]
    )
    store.writer.apply(flush)
    found = store.reader.device(LAPTOP)
    assert found is not None
    row = found.device
    assert row.hint == text
    assert {name: counted.counters for name, counted in row.applications.items()} == {
        text: counts(7, 9, 1, 1, 1)
    }
    assert row.applications[text].rates == (56, 72)
    assert {name: counted.counters for name, counted in row.protocols.items()} == {
        text: counts(7, 9, 1, 1, 1)
    }
    assert found.categories[text] == 9
    rows = store.applications(3)
    assert [(row.name, row.category, row.users) for row in rows] == [(text, 9, [(LAPTOP, 16)])]
    assert store.past(LAPTOP, 300, [store.bucket])[0][1][text] == {"bytes_up": 7, "bytes_down": 9}
    assert store.writer.claim().flows[flow_id("a")].key.application == text


def test_lone_surrogates_are_replaced(store: RealStore) -> None:
    store.client.connection_pool.connection_kwargs["decode_responses"] = False
    store.flush(store.netifyd.flow("a", application="cut\ud800off"), store.netifyd.stats("a", 7, 9))
    raw = redis.Redis(unix_socket_path=store.client.connection_pool.connection_kwargs["path"])
    raw.hset(Keys("gw1").totals(LAPTOP), "hint", b"\xff\xfe")
    found = store.reader.device(LAPTOP)
    assert found is not None
    assert found.device.hint == "\ufffd\ufffd"
    assert len(found.device.applications) == 1


# -- what a restart finds --------------------------------------------------------------------------


def test_a_claim_returns_every_live_flow_unchanged(store: RealStore, shared_redis: RedisServer) -> None:
    local = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
    status = {"type": "agent_status", "uptime": 50, "timestamp": 1_700_000_000, "flow_count": 0}
    flush = store.flush(
        status,
        store.netifyd.flow("a"),
        store.netifyd.stats("a", 10, 20),
        store.netifyd.flow("b", **local),
        store.netifyd.stats("c", 5, 6),
        store.netifyd.flow("d"),
        store.netifyd.stats("e", 7, 8, total_bytes=1000),
    )
    restored = StoreWriter(store.client, "gw1", HistorySteps({300: 600}), 86400).claim()
    assert restored.flows == flush.batch.flows
    assert digests(restored.flows) == set("abcde")
    start = 1_699_999_950_000
    assert restored.sources == flush.batch.sources == {SOURCE: (start, 0, start, 50)}
    assert restored.sequence == 1
    again = RealStore(shared_redis.url, "gw1")
    again.flush(store.netifyd.purge("a"))
    assert digests(again.writer.claim().flows) == set("bcde")


def test_a_store_restored_to_before_the_claim_is_accepted(
    store: RealStore, shared_redis: RedisServer
) -> None:
    """Redis loses a second or so of commands when its machine dies: perhaps our claim among them."""
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    before = store.client.hgetall(Keys("gw1").meta)
    restarted = RealStore(shared_redis.url, "gw1")
    restarted.writer.claim()  # as after a reply that was lost
    store.client.hset(Keys("gw1").meta, mapping=before)
    restarted.flush(store.netifyd.stats("a", 10, 20))
    assert device_counts(restarted) == {LAPTOP: counts(20, 40, 2, 2, 1)}


# -- what it costs ---------------------------------------------------------------------------------


def test_only_commands_of_redis_6_0_are_used_and_none_that_walks_the_keys(
    redis_server: RedisServer,
) -> None:
    store = RealStore(redis_server.url, "gw1", forget_after_s=86400)
    before = store.client.info("commandstats")
    store.flush(store.netifyd.flow("a", PHONE), store.netifyd.stats("a", 1, 2), at_ms=1_000)
    risks = {"risks": {"ndpi_risk_score": 10, "risks": [46]}}
    now = int(time.time() * 1000)
    store.flush(store.netifyd.flow("b", **risks), store.netifyd.stats("b", 1, 2), at_ms=now)
    for _ in range(13):
        store.bucket += 300
        store.flush(store.netifyd.stats("b", 1, 2), at_ms=now)
    store.writer.apply(
        store.flush(store.netifyd.flow("b", application=YOUTUBE, **risks), store.netifyd.purge("a"))
    )
    store.flush(store.netifyd.flow("c", PHONE), store.netifyd.stats("c", 1, 2))
    requests = ForgetRequests(store.client, "gw1")
    requests.add(PHONE)
    assert requests.withdraw(PHONE) and requests.is_done(PHONE)
    requests.add(PHONE)
    store.flush()
    assert AlertStore(store.client, "gw1").read()["state"] == {}
    store.writer.claim()
    assert SumAudit(store.client, "gw1").step(store.sequence)
    store.writer.release()
    reader = store.reader
    reader.ping()
    assert all((reader.meta(), reader.counters() == {}, store.snapshot(), reader.knows(LAPTOP)))
    assert all(
        (
            reader.device(LAPTOP),
            reader.last_flush(),
            store.applications(10),
            store.usage.application(YOUTUBE),
            store.protocols(10),
            store.past(LAPTOP, 300, [store.bucket - 300]),
            store.flows.page(FlowFilter(min_risk=1), 10).rows,
            store.risks(LAPTOP),
            MetricsReader(reader).traffic(10, 60_000).devices,
            ChangesReader(reader).changes([LAPTOP], 1, 2, 60_000).devices,
        )
    )
    after = store.client.info("commandstats")
    used = {name for name in after if after[name]["calls"] > before.get(name, {"calls": 0})["calls"]}
    # Redis 7.0 counts each sub-command in a row of its own ("client|id"), older versions do not ("client").
    names = {name.removeprefix("cmdstat_").partition("|")[0] for name in used}
    assert names - {"info", "exists"} == COMMANDS - {"info", "exists"}  # INFO is also this test's own


def test_what_a_flush_sends_does_not_depend_on_what_is_stored(redis_server: RedisServer) -> None:
    store = RealStore(redis_server.url, "gw1")

    def commands(*records: dict[str, Any]) -> int:
        before = store.client.info("stats")["total_commands_processed"]
        store.flush(*records)
        return int(store.client.info("stats")["total_commands_processed"]) - int(before)

    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 1, 2))
    alone = commands(store.netifyd.stats("a", 1, 2))
    for number in range(300):
        digest, mac = f"d{number}", f"02:00:00:00:{number // 256 + 1:02x}:{number % 256:02x}"
        store.feed(store.netifyd.flow(digest, mac), store.netifyd.stats(digest, 1, 2))
    store.flush(store.netifyd.stats("a", 1, 2))  # what a row has in the flush before it does count
    assert commands(store.netifyd.stats("a", 1, 2)) == alone
