"""Rows that move between applications and devices, times, addresses, history and inactive devices."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis
from real_store import (
    LAPTOP,
    NETFLIX,
    PHONE,
    TUNNEL,
    YOUTUBE,
    RealStore,
    counts,
    device_counts,
    everything,
)
from support import RedisServer

from netify_agent.accounting.batch import MAX_IPV4, MAX_IPV6
from netify_agent.store.client import StoreError, connect
from netify_agent.store.flush import Rewound
from netify_agent.store.forget_requests import ForgetRequests
from netify_agent.store.layout import Keys
from netify_agent.store.transaction import Transaction

# -- rows that move, rates, retention --------------------------------------------------------------


def test_a_reclassification_moves_totals_and_users(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a", application="Unknown"), store.netifyd.stats("a", 10, 20))
    store.bucket += 300
    store.flush()  # the next bucket opens
    store.flush(
        store.netifyd.flow("a", application=YOUTUBE, detected_protocol_name="QUIC"), elapsed_ms=15_000
    )
    found = store.reader.device(LAPTOP)
    assert found is not None
    row = found.device
    assert {tag: one.counters for tag, one in row.applications.items()} == {YOUTUBE: counts(10, 20, 1, 1, 1)}
    assert {name: one.counters for name, one in row.protocols.items()} == {"QUIC": counts(10, 20, 1, 1, 1)}
    assert row.counters == counts(10, 20, 1, 1, 1)
    rows = store.applications(10)
    assert [(row.name, row.users) for row in rows] == [(YOUTUBE, [(LAPTOP, 30)])]
    assert not store.client.exists(Keys("gw1").users("Unknown"))
    # History stays what it was.
    closed = store.past(LAPTOP, 300, [store.bucket - 300])
    assert closed[0][1]["Unknown"] == {"bytes_up": 10, "bytes_down": 20}
    assert (store.reader.snapshot().gateway.rates, row.rates) == ((0, 0), (0, 0))


def test_moving_one_flow_leaves_the_rest_of_the_row(store: RealStore) -> None:
    store.flush(
        *(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20)),
        *(store.netifyd.flow("b"), store.netifyd.stats("b", 1, 2)),
        *(store.netifyd.flow("c", PHONE), store.netifyd.stats("c", 500, 500)),
    )
    store.flush(store.netifyd.flow("a", application=YOUTUBE))
    rows = store.applications(10)
    assert [(row.name, row.users) for row in rows] == [
        (NETFLIX, [(PHONE, 1000), (LAPTOP, 3)]),
        (YOUTUBE, [(LAPTOP, 30)]),
    ]
    assert store.applications(1)[0].users == [(PHONE, 1000)]


def test_a_flow_moved_to_another_device_leaves_no_empty_device(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a", TUNNEL), store.netifyd.stats("a", 10, 20))
    store.flush(store.netifyd.flow("a", LAPTOP))
    assert device_counts(store) == {LAPTOP: counts(10, 20, 1, 1, 1)}
    assert store.reader.device(TUNNEL) is None


def test_an_application_is_not_seen_by_what_moves_away_from_it(store: RealStore) -> None:
    early, late = 1_700_000_000_000, 1_700_000_900_000
    first = store.netifyd.flow("a", first_seen_at=early, last_seen_at=early)
    store.flush(first, store.netifyd.stats("a", 10, 20, last_seen_at=early))
    rest = store.netifyd.flow("b", first_seen_at=early, last_seen_at=early)
    store.flush(rest, store.netifyd.stats("b", 1, 2, last_seen_at=early))
    store.flush(store.netifyd.flow("a", application=YOUTUBE, first_seen_at=early, last_seen_at=late))
    found = store.reader.device(LAPTOP)
    assert found is not None
    seen = {tag: (one.first_seen, one.last_seen) for tag, one in found.device.applications.items()}
    assert seen == {NETFLIX: (early, early), YOUTUBE: (early, late)}


def test_first_and_last_seen_span_all_rows_in_any_order(store: RealStore) -> None:
    times = {"a": (2000, 9000, "HTTP/S"), "b": (1000, 5000, "QUIC")}
    for digest, (first, last, protocol) in times.items():
        fields: dict[str, Any] = {
            "first_seen_at": first,
            "last_seen_at": last,
            "detected_protocol_name": protocol,
        }
        store.feed(store.netifyd.flow(digest, **fields), store.netifyd.stats(digest, 1, 1, last_seen_at=last))
    store.flush()
    found = store.reader.device(LAPTOP)
    assert found is not None
    row = found.device
    assert (row.first_seen, row.last_seen) == (1000, 9000)
    assert (row.applications[NETFLIX].first_seen, row.applications[NETFLIX].last_seen) == (1000, 9000)


def times_written(store: RealStore) -> int:
    """How many times Redis was asked to store when something was first seen."""
    stats: dict[str, Any] = store.client.info("commandstats")
    return int(stats.get("cmdstat_hsetnx", {"calls": 0})["calls"])


def test_when_a_row_or_a_device_was_first_seen_is_not_sent_again_with_the_next_flush(
    store: RealStore,
) -> None:
    said, sent = store.netifyd, []
    for records in (
        (said.flow("a"), said.stats("a", 1, 2)),
        (said.stats("a", 1, 2),),
        (said.flow("b", application=YOUTUBE), said.stats("a", 1, 2), said.stats("b", 1, 2)),
    ):
        before = times_written(store)
        store.flush(*records)
        sent.append(times_written(store) - before)
    assert sent == [3, 0, 2]  # the device itself, Netflix at device and gateway; YouTube at both


@pytest.mark.parametrize("lost", ["device", "store"])
def test_rows_that_are_gone_get_the_time_of_what_comes_next(store: RealStore, lost: str) -> None:
    said = store.netifyd
    store.flush(said.flow("a"), said.stats("a", 1, 2))
    store.flush(said.stats("a", 1, 2))
    if lost == "device":
        ForgetRequests(store.client, "gw1").add(LAPTOP)
        store.flush(said.stats("a", 1, 2))
        store.flush(said.stats("a", 1, 2))
    else:
        store.client.flushall()
        with pytest.raises(Rewound):
            store.flush(said.stats("a", 1, 2))
        store.sequence = 0
        store.flush(said.stats("a", 1, 2))
    found = store.reader.device(LAPTOP)
    assert found is not None
    assert None not in (found.device.first_seen, found.device.applications[NETFLIX].first_seen)


def test_the_time_is_sent_again_if_the_reply_of_a_flush_was_lost(
    store: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = store.netifyd
    store.flush(said.flow("a"), said.stats("a", 1, 2))
    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit", lost_reply)
        with pytest.raises(StoreError):
            store.flush(said.stats("a", 1, 2))
    store.sequence -= 1
    before = times_written(store)
    store.flush(said.stats("a", 1, 2))
    assert times_written(store) - before == 3


def lost_reply(transaction: Transaction) -> None:
    raise redis.ConnectionError("nothing was sent")


def test_a_description_of_a_device_without_traffic_is_kept(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 1, 2), at_ms=1_800_000_000_000)
    refined = store.netifyd.flow("a", dhcp={}, host_server_name="laptop", local_port=68)
    store.flush(refined, at_ms=1_800_000_015_000)
    found = store.reader.device(LAPTOP)
    assert found is not None
    assert (found.device.hint, found.device.arrived) == ("laptop", 1_800_000_015_000)


def test_the_latest_addresses_of_each_family_stay(store: RealStore) -> None:
    """One IPv4 address, to which the name is bound, and twenty temporary IPv6 addresses after it."""
    addresses = [f"192.168.2.{number}" for number in range(MAX_IPV4 + 2)]
    addresses += [f"2001:db8::{number:x}" for number in range(1, 21)]
    for second, ip in enumerate(addresses):
        store.flush(store.netifyd.flow("a", local_ip=ip, last_seen_at=1_700_000_000_000 + second * 1000))
    store.flush({"type": "endpoints", LAPTOP: ["192.168.2.1", "192.168.2.9"]})  # not when they were seen
    found = store.reader.device(LAPTOP)
    assert found is not None
    latest = [ip for ip in reversed(addresses) if ":" in ip][:MAX_IPV6]
    assert found.device.addresses == latest + [f"192.168.2.{number}" for number in range(MAX_IPV4 + 1, 1, -1)]


def test_addresses_that_netifyd_lists_without_a_time_do_not_displace_the_latest(store: RealStore) -> None:
    listed: dict[str, Any] = {"type": "agent_status", "uptime": 15, "timestamp": 1_700_000_000}
    store.flush(store.netifyd.flow("a"))
    before = store.reader.device(LAPTOP)
    assert before is not None
    listed["devices"] = {LAPTOP: [*before.device.addresses, "fe80::1"]}
    store.flush(listed, store.netifyd.stats("a", 1, 1))
    after = store.reader.device(LAPTOP)
    assert after is not None
    assert after.device.addresses == [*before.device.addresses, "fe80::1"]


def test_history_is_read_by_resolution(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    for step in (300, 3600, 86400):
        start = store.bucket // step * step
        assert store.past(LAPTOP, step, [start - step, start]) == [
            (
                start,
                {
                    "": {"bytes_up": 10, "bytes_down": 20, "packets_up": 1, "packets_down": 1},
                    NETFLIX: {"bytes_up": 10, "bytes_down": 20},
                },
            )
        ]


def test_an_idle_flush_makes_no_history(store: RealStore) -> None:
    store.flush(store.netifyd.flow("a"))
    assert not [key for key in everything(store.client) if ":history:" in key]
    store.flush(store.netifyd.stats("a", 1, 2))
    assert [key for key in everything(store.client) if ":history:" in key]
    assert not [key for key in everything(store.client) if store.client.ttl(key) > 0]


def test_a_long_inactive_device_is_dropped_with_all_its_keys(
    shared_redis: RedisServer,
) -> None:
    connect(shared_redis.url, None).flushall()
    store = RealStore(shared_redis.url, "gw1", forget_after_s=86400)
    now = int(time.time() * 1000)
    store.flush(
        *(store.netifyd.flow("a", first_seen_at=0, last_seen_at=0), store.netifyd.stats("a", 10, 20)),
        *(store.netifyd.flow("b", PHONE), store.netifyd.stats("b", 1, 2)),
        at_ms=now,
    )
    store.flush(store.netifyd.stats("b", 1, 2), at_ms=now + 43_200_000)
    assert set(device_counts(store)) == {LAPTOP, PHONE}
    store.flush(at_ms=now + 86_400_000)
    assert set(device_counts(store)) == {PHONE}
    assert store.reader.device(LAPTOP) is None
    assert store.applications(5)[0].users == [(PHONE, 6)]
    assert not [key for key in everything(store.client) if LAPTOP in key and ":history:" not in key]
    assert store.reader.snapshot().gateway.counters == counts(12, 24, 3, 3, 2)  # that was, and stays
    assert store.reader.snapshot().forgotten == counts(10, 20, 1, 1, 1)


def test_a_device_active_in_the_flush_that_would_drop_it_stays(shared_redis: RedisServer) -> None:
    connect(shared_redis.url, None).flushall()
    store = RealStore(shared_redis.url, "gw1", forget_after_s=86400)
    now = int(time.time() * 1000)
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20), at_ms=now)
    store.flush(store.netifyd.stats("a", 1, 2), at_ms=now + 90_000_000)
    assert device_counts(store) == {LAPTOP: counts(11, 22, 2, 2, 1)}
