"""`netify-agent forget`: a device leaves the store on request, exactly once, and all sums stay."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from flusher_rig import Rig
from real_store import (
    LAPTOP,
    NETFLIX,
    PHONE,
    TUNNEL,
    YOUTUBE,
    RealStore,
    check_entries,
    counts,
    device_counts,
    everything,
)
from support import RedisServer, eventually

from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.audit import SumAudit
from netify_agent.store.client import StoreError, connect
from netify_agent.store.forget_requests import ForgetRequests, NoWriter, UnknownDevice
from netify_agent.store.layout import Keys
from netify_agent.store.lease import Holder, Lease
from netify_agent.store.retention import Due, Retention, WallClock

KEYS = Keys("gw1")


@pytest.fixture
def requests(store: RealStore) -> ForgetRequests:
    return ForgetRequests(store.client, "gw1")


def agrees(store: RealStore) -> None:
    """Every sum of docs/store.md, that no counter is below zero, and that no flow is listed wrongly."""
    snapshot = store.snapshot()
    for counter, total in snapshot.gateway.counters.items():
        rows = [*(row.counters for row in snapshot.devices), snapshot.unattributed, snapshot.forgotten]
        assert sum(row[counter] for row in rows) - snapshot.mirrored[counter] == total
        for name in store.client.zrange(KEYS.devices, 0, -1):
            device = store.reader.device(name)
            if device is not None:
                row = device.device
                for parts in (row.applications, row.protocols):
                    assert sum(part.counters[counter] for part in parts.values()) == row.counters[counter]
                    assert all(part.counters[counter] >= 0 for part in parts.values())
    check_entries(store.client, "gw1")


def test_an_active_device_is_removed_with_what_the_same_flush_adds(
    store: RealStore, requests: ForgetRequests
) -> None:
    said = store.netifyd
    store.flush(said.flow("a"), said.stats("a", 10, 20), said.flow("b", PHONE), said.stats("b", 1, 2))
    assert requests.add(LAPTOP) == 75
    assert not requests.is_done(LAPTOP)
    flush = store.flush(said.stats("a", 5, 7), said.flow("c", application=YOUTUBE), said.stats("c", 100, 0))
    assert flush.forget == (LAPTOP,)
    assert requests.is_done(LAPTOP)
    snapshot = store.reader.snapshot()
    assert [row.name for row in snapshot.devices] == [PHONE]
    assert snapshot.forgotten == counts(115, 27, 3, 2, 2)
    assert not [
        key for key in everything(store.client) if f":device:{LAPTOP}" in key and ":index:" not in key
    ]
    assert all(LAPTOP not in dict(row.users) for row in (*store.applications(), *store.protocols()))
    assert store.writer.dropped_devices() == [LAPTOP]
    assert LAPTOP not in store.accountant.devices
    agrees(store)


def test_it_is_removed_once_whatever_happens_to_the_reply(store: RealStore, requests: ForgetRequests) -> None:
    said = store.netifyd
    store.flush(said.flow("a"), said.stats("a", 10, 20))
    requests.add(LAPTOP)
    flush = store.take()
    sent = store.writer.apply(flush)
    store.writer.apply(flush)
    store.writer.repeat(flush.sequence, sent)
    assert store.reader.snapshot().forgotten == counts(10, 20, 1, 1, 1)
    agrees(store)


def test_a_device_with_live_flows_comes_back_with_what_they_carry_from_then_on(
    store: RealStore, requests: ForgetRequests
) -> None:
    said = store.netifyd
    store.flush(said.flow("a"), said.stats("a", 10, 20))
    requests.add(LAPTOP)
    store.flush()
    store.flush(said.stats("a", 1, 2))
    assert device_counts(store) == {LAPTOP: counts(1, 2, 1, 1, 0)}
    assert store.reader.snapshot().forgotten == counts(10, 20, 1, 1, 1)
    assert LAPTOP in store.accountant.devices
    agrees(store)


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_forgotten_is_not_moved_by_a_reclassification(
    store: RealStore, requests: ForgetRequests, restarted: bool
) -> None:
    """Of no row anything is taken away that it does not have, also by the next run of the agent."""
    said = store.netifyd
    store.flush(said.flow("a"), said.stats("a", 10, 20))
    requests.add(LAPTOP)
    store.flush()
    if restarted:
        store = RealStore(store.url, "gw1")
        store.netifyd = said
    store.flush(said.stats("a", 1, 2))
    store.flush(said.flow("a", application=YOUTUBE, first_seen_at=1_700_000_001_000), said.stats("a", 3, 4))
    (device,) = store.snapshot().devices
    assert {tag: row.counters for tag, row in device.applications.items()} == {YOUTUBE: counts(4, 6, 2, 2, 0)}
    assert {row.name: row.counters for row in store.applications()} == {
        NETFLIX: counts(10, 20, 1, 1, 1),
        YOUTUBE: counts(4, 6, 2, 2, 0),
    }
    agrees(store)


def test_two_forgotten_entries_that_turn_out_to_be_one_flow_are_not_counted_again(
    store: RealStore, requests: ForgetRequests
) -> None:
    """A chain of digests (v5) that becomes known afterwards."""
    said = store.netifyd
    store.flush(*(said.flow(name) for name in "ab"), *(said.stats(name, 1, 1) for name in "ab"))
    requests.add(LAPTOP)
    store.flush()
    store.flush(said.stats("b", 1, 2, digest_prev=["a"]))
    assert device_counts(store) == {LAPTOP: counts(1, 2, 1, 1, 0)}
    assert store.reader.snapshot().gateway.counters["flows"] == 2
    agrees(store)


def test_changes_that_arrive_during_the_flush_are_the_new_device(
    store: RealStore, requests: ForgetRequests
) -> None:
    """They are in the next batch already, among them a flow that moves to another application."""
    said = store.netifyd
    store.flush(said.flow("a"), said.stats("a", 10, 20), said.flow("b", TUNNEL), said.stats("b", 5, 5))
    requests.add(LAPTOP)
    flush = store.take()
    store.feed(said.stats("a", 1, 2), said.flow("a", application=YOUTUBE))
    store.writer.apply(flush)
    store.accountant.flushed(flush.batch.changed_devices(), store.writer.dropped_devices())
    assert LAPTOP in store.accountant.devices, "the next flush writes it"
    store.flush()
    assert device_counts(store)[LAPTOP] == counts(1, 2, 1, 1, 0)
    agrees(store)


def test_the_other_side_of_its_flows_keeps_what_it_has(store: RealStore, requests: ForgetRequests) -> None:
    said = store.netifyd
    to_phone = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
    store.flush(said.flow("a", **to_phone), said.stats("a", 10, 20))
    requests.add(LAPTOP)
    store.flush()
    assert device_counts(store) == {PHONE: counts(20, 10, 1, 1, 1)}
    store.flush(said.stats("a", 1, 2), said.flow("a", application=YOUTUBE, **to_phone))
    assert device_counts(store) == {PHONE: counts(22, 11, 2, 2, 1), LAPTOP: counts(1, 2, 1, 1, 0)}
    agrees(store)


def test_ended_flows_of_the_device_are_removed_and_live_ones_stay(
    store: RealStore, requests: ForgetRequests
) -> None:
    said = store.netifyd
    store.flush(*(said.flow(name) for name in "ab"), *(said.stats(name, 1, 1) for name in "ab"))
    store.flush(said.purge("a"))
    requests.add(LAPTOP)
    store.flush()
    assert len(store.client.hgetall(KEYS.ended)) == 0
    assert [state.split(",")[-1] for state in store.client.hgetall(KEYS.flows).values()] == ["0]"]
    agrees(store)


def test_a_request_that_was_withdrawn_is_not_carried_out(store: RealStore, requests: ForgetRequests) -> None:
    said = store.netifyd
    store.flush(said.flow("a"), said.stats("a", 10, 20))
    requests.add(LAPTOP)
    flush = store.take()
    assert requests.withdraw(LAPTOP)
    store.writer.apply(flush)
    assert device_counts(store) == {LAPTOP: counts(10, 20, 1, 1, 1)}
    assert not requests.withdraw(LAPTOP), "there is none any more"
    agrees(store)


def test_a_request_withdrawn_during_the_flush_makes_it_fail_and_be_repeated_without_it(
    store: RealStore, requests: ForgetRequests
) -> None:
    said = store.netifyd
    store.flush(said.flow("a"), said.stats("a", 10, 20))

    class Withdrawn(Retention):
        def read(self, pipe: Any, clock: WallClock, requested: Iterable[str] = ()) -> Due:
            requests.withdraw(LAPTOP)
            return super().read(pipe, clock, requested)

    requests.add(LAPTOP)
    flush = store.take()
    retention = store.writer.retention
    store.writer.retention = Withdrawn(store.client, KEYS, 86400, 10_000)
    with pytest.raises(StoreError, match="the next attempt finds out"):
        store.writer.apply(flush)
    store.writer.retention = retention
    store.writer.apply(flush)
    assert device_counts(store) == {LAPTOP: counts(10, 20, 1, 1, 1)}


def test_a_request_past_its_deadline_is_not_carried_out(store: RealStore, requests: ForgetRequests) -> None:
    said = store.netifyd
    store.flush(said.flow("a"), said.stats("a", 10, 20))
    requests.add(LAPTOP)
    store.client.zadd(KEYS.forget, {LAPTOP: 1})
    store.flush()
    assert device_counts(store) == {LAPTOP: counts(10, 20, 1, 1, 1)}


def test_a_request_is_refused_while_nobody_would_see_it(store: RealStore, requests: ForgetRequests) -> None:
    said = store.netifyd
    with pytest.raises(UnknownDevice, match="no device"):
        requests.add(LAPTOP)
    store.flush(said.flow("a"), said.stats("a", 10, 20))
    meta = store.client.hgetall(KEYS.meta)
    holder = json.loads(meta["holder"])
    refusals = {
        "restart it first": {"schema": "2"},
        "has died": {"holder": json.dumps([*holder[:4], holder[4] + 1])},
        "start it first": {"renewed": "1"},
        "no netify-agent writes": {"lease": "0"},
    }
    for reason, fields in refusals.items():
        store.client.hset(KEYS.meta, mapping={**meta, **fields})
        with pytest.raises(NoWriter, match=reason):
            requests.add(LAPTOP)
    store.client.delete(KEYS.meta)
    with pytest.raises(NoWriter, match="start it first"):
        requests.add(LAPTOP)
    assert not store.client.exists(KEYS.forget)


def test_an_agent_elsewhere_gets_requests_as_long_as_its_lease_is_valid(
    store: RealStore, requests: ForgetRequests
) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    elsewhere = Lease(100, Holder("gw2", "f" * 32, "pid:[1]", 1, 1))
    store.client.hset(KEYS.meta, mapping=elsewhere.fields(int(store.client.time()[0]) * 1000))
    assert requests.add(LAPTOP) == 100


def test_the_row_of_all_other_devices_can_be_removed_too(shared_redis: RedisServer) -> None:
    connect(shared_redis.url, None).flushall()
    store = RealStore(shared_redis.url, "gw1", max_devices=1)
    said = store.netifyd
    store.flush(*(said.flow("a"), said.stats("a", 1, 1)), *(said.flow("b", PHONE), said.stats("b", 10, 20)))
    ForgetRequests(store.client, "gw1").add(OTHER_DEVICE)
    store.flush()
    assert set(device_counts(store)) == {LAPTOP}
    agrees(store)


@pytest.mark.parametrize("seed", range(20))
def test_sums_agree_whenever_devices_are_removed(
    store: RealStore, requests: ForgetRequests, seed: int
) -> None:
    """Random traffic, reclassifications, moves between devices, ends, restarts and removals."""
    chance = random.Random(seed)
    said = store.netifyd
    devices, digests = [LAPTOP, PHONE, TUNNEL], [f"f{number}" for number in range(8)]
    to_phone = {"other_type": "local", "other_mac": PHONE, "other_ip": "192.168.1.11"}
    audit = SumAudit(store.client, "gw1")
    for _ in range(40):
        for _ in range(chance.randrange(6)):
            digest = chance.choice(digests)
            more = to_phone if chance.random() < 0.3 else {}
            if chance.random() < 0.4:
                row = chance.choice(devices), chance.choice([NETFLIX, YOUTUBE])
                record = said.flow(digest, *row, **more)
            else:
                record = said.stats(digest, chance.randrange(100), chance.randrange(100))
            store.feed(record)
        if chance.random() < 0.3:
            device = chance.choice(devices)
            if store.reader.knows(device):
                requests.add(device)
        flush = store.take()
        for _ in range(chance.randrange(3)):
            store.feed(said.stats(chance.choice(digests), 1, 1))
            store.feed(said.flow(chance.choice(digests), chance.choice(devices), YOUTUBE))
        store.writer.apply(flush)
        store.accountant.flushed(flush.batch.changed_devices(), store.writer.dropped_devices())
        audit.grow(store.writer.growth)
        audit.step(flush.sequence)
        assert audit.breach is None
        store.bucket += 300 * chance.randrange(2)
        if chance.random() < 0.1:
            store = RealStore(store.url, "gw1")
            store.netifyd = said
    agrees(store)


def test_the_flusher_takes_requests_before_a_batch(shared_redis: RedisServer) -> None:
    connect(shared_redis.url, None).flushall()
    rig = Rig(shared_redis.url).start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 10, 20))
    rig.flush()
    requests = ForgetRequests(rig.client, "gw1")
    requests.add(LAPTOP)
    eventually(lambda: requests.is_done(LAPTOP), "the device is forgotten")
    snapshot = rig.snapshot()
    rig.stop()
    assert snapshot.devices == []
    assert snapshot.forgotten == counts(10, 20, 1, 1, 1)
