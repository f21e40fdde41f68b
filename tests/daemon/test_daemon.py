"""Promises of the whole daemon: a real process, a real socket, a real Redis, a real HTTP client.

What no one could have seen is computed here, flow by flow, from the records that were delivered, by
logic that shares nothing with the accounting: a flow's bytes are its latest delivered ``total_bytes``.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from daemon_answers import both_directions
from real_store import check_entries
from records import flow_record, stats_record, status_record
from support import (
    CAPTURES,
    Daemon,
    RedisServer,
    StandIn,
    eventually,
    framed,
    of_single_devices,
    totals,
)

from netify_agent.accounting.batch import MAX_ENDED
from netify_agent.accounting.flow_id import digest_of
from netify_agent.store.client import connect
from netify_agent.store.layout import Keys

captures = pytest.mark.skipif(not CAPTURES.is_dir(), reason="no recorded streams beside this checkout")
RAW = sorted(CAPTURES.glob("*.raw"))
EACH_CAPTURE = pytest.mark.parametrize("raw", RAW, ids=[path.stem for path in RAW])


def truth_of(raw: Path) -> dict[str, Any]:
    """The recording's ground truth, in the shape of :func:`support.totals`."""
    truth = json.loads(raw.with_suffix(".truth.json").read_text())
    return {
        "gateway": truth["gateway"],
        **{
            kind: {name: row for name, row in of_single_devices(truth[kind]).items() if any(row.values())}
            for kind in ("devices", "applications")
        },
    }


def payloads_of(raw: Path) -> list[bytes]:
    """The recording's payload lines, without their headers."""
    lines = raw.read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n") or _is_json(line)]
    return [line for line in whole if not line.startswith(b'{"length"')]


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


class Delivered:
    """What the delivered records prove, flow by flow, both directions together."""

    def __init__(self, payloads: Iterable[bytes]) -> None:
        self.bytes: dict[str, int] = {}
        self.described: dict[str, dict[str, Any]] = {}
        for payload in payloads:
            record = json.loads(payload)
            if record["type"] == "flow":
                self.described[record["flow"]["digest"]] = record["flow"]
            elif record["type"] in ("flow_stats", "flow_purge"):
                self.bytes[record["flow"]["digest"]] = record["flow"]["total_bytes"]

    def devices(self) -> dict[str, int]:
        """Bytes of each device."""
        sums: dict[str, int] = defaultdict(int)
        for digest, amount in self.bytes.items():
            flow = self.described.get(digest)
            if flow is not None:
                for name in _owners(flow):
                    sums[name] += amount
        return of_single_devices({name: amount for name, amount in sums.items() if amount})


def _owners(flow: dict[str, Any]) -> list[str]:
    def name(side: str) -> str:
        mac, ip = flow[f"{side}_mac"], flow[f"{side}_ip"]
        return str(ip if mac in (None, "", "00:00:00:00:00:00") else mac).lower()

    return [name("local")] + ([name("other")] if flow["other_type"] == "local" else [])


@captures
@EACH_CAPTURE
def test_a_recorded_stream_is_accounted_to_the_byte(raw: Path, daemon: Daemon, netifyd: StandIn) -> None:
    daemon.start()
    netifyd.accept()
    netifyd.send(raw.read_bytes())
    eventually(lambda: daemon.records() == len(payloads_of(raw)), "every record is read")
    daemon.flushed()
    assert totals(daemon.get("/")[1]) == truth_of(raw)
    truth = json.loads(raw.with_suffix(".truth.json").read_text())
    network = daemon.get("/")[1]
    assert network["totals"]["flows"] == truth["flows"]
    unattributed = network["unattributed"]
    assert unattributed["bytes_up"] + unattributed["bytes_down"] == truth["bytes_of_flows_never_described"]
    assert daemon.stop() == 0


@captures
@EACH_CAPTURE
def test_flows_of_a_recorded_stream_are_shown_as_they_were_described_even_after_a_kill(
    raw: Path, daemon: Daemon, netifyd: StandIn
) -> None:
    payloads = payloads_of(raw)
    delivered = Delivered(payloads)
    purged = {
        record["flow"]["digest"] for record in map(json.loads, payloads) if record["type"] == "flow_purge"
    }
    daemon.start()
    netifyd.accept()
    netifyd.send(raw.read_bytes())
    eventually(lambda: daemon.records() == len(payloads), "every record is read")
    daemon.flushed()
    before = daemon.get("/flows?limit=10000")[1]
    shown = {flow["digest"]: flow for flow in before["flows"]}
    assert len(shown) == before["total"]
    assert shown.keys() == delivered.bytes.keys() | delivered.described.keys()
    for digest, flow in shown.items():
        told = delivered.described.get(digest)
        assert flow["active"] == (digest not in purged)
        if told is not None:
            assert flow["device"] == _owners(told)[0]
            for name in ("local_ip", "other_ip", "other_type", "local_origin", "ip_version"):
                assert flow[name] == (None if told[name] in ("0.0.0.0", "::") else told[name])
            assert (flow["local_port"] or 0, flow["other_port"] or 0) == (
                told["local_port"],
                told["other_port"],
            )
            assert flow["host"] == told.get("host_server_name")
            assert flow["application"] == told["detected_application_name"]
            assert flow["risk_score"] == told["risks"]["ndpi_risk_score"]
            assert [risk["id"] for risk in flow["risks"]] == told["risks"].get("risks", [])
    daemon.kill()
    daemon.start()
    after = daemon.get("/flows?limit=10000")[1]
    assert {**after, "generated_at": before["generated_at"]} == before


@captures
@EACH_CAPTURE
@pytest.mark.parametrize("seed", range(2))
def test_splitting_the_stream_anywhere_changes_nothing(
    raw: Path, seed: int, daemon: Daemon, netifyd: StandIn
) -> None:
    chance = random.Random(seed)
    data = raw.read_bytes()
    daemon.start()
    netifyd.accept()
    position = 0
    while position < len(data):
        size = chance.choice((1, 2, 13, chance.randint(1, 2000), chance.randint(1, 200_000)))
        netifyd.send(data[position : position + size])
        position += size
    eventually(lambda: daemon.records() == len(payloads_of(raw)), "every record is read")
    daemon.flushed()
    assert totals(daemon.get("/")[1]) == truth_of(raw)


@captures
@EACH_CAPTURE
@pytest.mark.parametrize("seed", range(3))
def test_a_dropped_connection_loses_only_what_netifyd_never_reported(
    raw: Path, seed: int, daemon: Daemon, netifyd: StandIn
) -> None:
    chance = random.Random(seed)
    payloads = payloads_of(raw)
    lost = set(chance.sample(range(10, len(payloads)), 12))  # each cut at a random byte
    daemon.start()
    netifyd.accept()
    for index, payload in enumerate(payloads):
        frame = framed(payload)
        if index in lost:
            netifyd.send(frame[: chance.randrange(len(frame))])
            netifyd.accept()
        else:
            netifyd.send(frame)
    delivered = [payload for index, payload in enumerate(payloads) if index not in lost]
    eventually(lambda: daemon.records() == len(delivered), "every delivered record is read")
    daemon.flushed()

    seen = Delivered(delivered)
    gateway, devices = both_directions(daemon.get("/")[1])
    assert gateway == sum(seen.bytes.values())
    assert devices == seen.devices()
    # What no one could have seen: the last counters of flows that never spoke again.
    everything = Delivered(payloads)
    unseen = {
        digest: amount - seen.bytes.get(digest, 0)
        for digest, amount in everything.bytes.items()
        if amount != seen.bytes.get(digest, 0)
    }
    last_words = {
        json.loads(payloads[index])["flow"]["digest"] for index in lost if b"total_bytes" in payloads[index]
    }
    assert unseen.keys() <= last_words
    counted = truth_of(raw)["gateway"]
    assert gateway + sum(unseen.values()) == counted["bytes_up"] + counted["bytes_down"]


@captures
@EACH_CAPTURE
@pytest.mark.parametrize("seed", range(3))
def test_a_killed_agent_recovers_every_flow_that_is_reported_again(
    raw: Path, seed: int, daemon: Daemon, netifyd: StandIn, redis_server: RedisServer
) -> None:
    chance = random.Random(seed)
    payloads = payloads_of(raw)
    half = chance.randrange(len(payloads) // 3, 2 * len(payloads) // 3)
    flushed = half - chance.randrange(0, 400)
    daemon.start()
    netifyd.accept()
    netifyd.send(framed(*payloads[:flushed]))
    eventually(lambda: daemon.records() == flushed, "the first part is read")
    daemon.flushed()
    netifyd.send(framed(*payloads[flushed:half]))
    eventually(lambda: daemon.records() == half, "the second part is read")
    daemon.kill()
    client, keys = connect(redis_server.url, None), Keys("gw1")
    held = {digest_of(name): json.loads(state) for name, state in client.hgetall(keys.flows).items()}
    unclaimed_bytes = {digest: max(state[5], 0) for digest, state in held.items()}
    row = client.hgetall(keys.totals(""))
    at_the_kill = int(row["bu"]) + int(row["bd"])

    daemon.start()
    netifyd.accept()
    netifyd.send(framed(*payloads[half:]))
    eventually(lambda: daemon.records() == len(payloads) - half, "the rest is read")
    daemon.flushed()

    again = Delivered(payloads[half:]).bytes
    everything = Delivered(payloads).bytes
    recovered = sum(everything[digest] - unclaimed_bytes.get(digest, 0) for digest in again)
    gateway, _ = both_directions(daemon.get("/")[1])
    assert gateway == at_the_kill + recovered
    # What no one could have seen: flows that fell silent between the last flush and the kill.
    silent = Delivered(payloads[:half]).bytes.keys() - again.keys()
    before = Delivered(payloads[:flushed]).bytes
    unseen = sum(everything.values()) - gateway
    assert 0 <= unseen <= sum(everything[digest] - before.get(digest, 0) for digest in silent)
    # Every flow that spoke again and still lives is whole in the store.
    live = {digest_of(name): json.loads(state) for name, state in client.hgetall(keys.flows).items()}
    spoke = [digest for digest in live if digest in again]
    assert spoke
    assert {digest: sum(live[digest][7:9]) for digest in spoke} == {
        digest: everything[digest] for digest in spoke
    }


@pytest.mark.parametrize("protocol", ["v4", "v5"])
def test_two_simulated_hours_of_200_devices_end_equal_to_the_truth(
    protocol: str, directory: Path, daemon: Daemon, netifyd: StandIn, redis_server: RedisServer
) -> None:
    netifyd.close()
    truth_file = directory / "truth.json"
    arguments = ["--devices", "200", "--hours", "2", "--speed", "max", "--seed", "7", "--profile", "office"]
    arguments += ["--protocol", protocol, "--truth", str(truth_file)]
    daemon.start()
    simulator = subprocess.Popen(
        [sys.executable, "-m", "netify_agent", "simulate", "--listen", f"unix://{netifyd.path}", *arguments]
    )
    try:
        assert simulator.wait(300) == 0
        daemon.flushed()
    finally:
        simulator.kill()
    truth = json.loads(truth_file.read_text())
    network = daemon.get("/")[1]
    counted = totals(network)
    names = ("bytes_up", "bytes_down", "packets_up", "packets_down")

    def rows(table: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        picked = {name: {field: row[field] for field in names} for name, row in table.items()}
        return {name: row for name, row in picked.items() if any(row.values())}

    assert counted["gateway"] == {field: truth["gateway"][field] for field in names}
    assert counted["devices"] == rows(truth["devices"])
    assert counted["applications"] == rows(truth["applications"])
    # What was never described has no known application: it stands with the Unknown, so that sums agree.
    unknown = truth["gateway_applications"]["Unknown"]
    for field in names:
        unknown[field] += truth["unattributed"][field]
    applications = daemon.get("/applications")[1]["applications"]
    assert rows({row["tag"]: row for row in applications}) == rows(truth["gateway_applications"])
    assert {field: sum(row[field] for row in applications) for field in names} == counted["gateway"]
    assert len(counted["devices"]) > 100
    assert daemon.stop() == 0
    client = connect(redis_server.url, None)
    check_entries(client, "gw1")
    assert client.hlen(Keys("gw1").ended) == MAX_ENDED


def test_a_restarted_agent_continues_and_counts_the_gap(daemon: Daemon, netifyd: StandIn) -> None:
    daemon.start()
    netifyd.accept()
    netifyd.send(framed(status_record(), flow_record("a" * 40), stats_record("a" * 40, 1000, 1000)))
    eventually(lambda: daemon.records() == 3, "the first part is read")
    assert daemon.stop() == 0
    daemon.start()
    netifyd.accept()
    netifyd.send(framed(stats_record("a" * 40, 500, 4500, "flow_purge")))  # 3,000 bytes went by unseen
    eventually(lambda: daemon.records() == 1, "the purge is read")
    daemon.flushed()
    device = daemon.get("/02-00-00-00-00-01")[1]
    assert (device["bytes_up"], device["bytes_down"], device["flows"]) == (0, 4500, 1)
    assert device["applications"][0]["tag"] == "netify.netflix"
    assert daemon.get("/status")[1]["accounting"]["counters"]["bytes_missed"] == 3000


def test_a_restarted_agent_knows_the_announced_names_of_devices(daemon: Daemon, netifyd: StandIn) -> None:
    def name() -> str | None:
        applications = daemon.get("/applications")[1]["applications"]
        return str(applications[0]["devices"][0]["name"]) if applications else None

    daemon.start()
    netifyd.accept()
    said = flow_record("a" * 40, dhcp={}, host_server_name="laptop", local_port=68)
    netifyd.send(framed(status_record(), said, stats_record("a" * 40, 1000, 1000)))
    eventually(lambda: name() == "laptop", "who uses what is told by name")
    assert daemon.stop() == 0
    daemon.start()
    eventually(lambda: name() == "laptop", "the same after a restart, without another word of the device")
