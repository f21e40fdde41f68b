"""Promises of ``/metrics``, read by Prometheus' own parser for Python from a real server and a real Redis."""

from __future__ import annotations

import gzip
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import Scene, a_scene, a_small_network, changed
from prometheus_client.parser import text_string_to_metric_families
from store_book import LAPTOP, PHONE, SOURCE, TUNNEL
from support import RedisServer

from netify_agent import __version__
from netify_agent.config.settings import MetricsSettings
from netify_agent.netifyd.health import InterfaceCounters, NetifydStatus
from netify_agent.store.layout import Keys
from netify_agent.store.metrics_reader import MetricsReader, Traffic

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]
CODE = Path(__file__).parents[2] / "netify_agent"
DOCS = Path(__file__).parents[2] / "docs/api.md"


def scrape(scene: Scene) -> Samples:
    """Samples by name and labels; what Prometheus would refuse fails the test."""
    answer = scene.ask("/metrics")
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: Samples = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        assert family.documentation, family.name
        assert family.type in ("counter", "gauge"), family.name
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), sample
            found[sample.name][labels] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name][tuple(sorted(labels.items()))]


def values(samples: Samples, name: str, label: str) -> set[str]:
    """The values of a label."""
    return {dict(labels)[label] for labels in samples.get(name, ())}


@pytest.fixture(scope="module")
def scene(shared_redis: RedisServer) -> Iterator[Scene]:
    with a_small_network(shared_redis.url) as scene:
        yield scene


@pytest.fixture
def own(shared_redis: RedisServer, tmp_path: Path) -> Iterator[Scene]:
    """A scene of the test's own, with nothing in its store."""
    scene = a_scene(shared_redis.url, tmp_path, gateway=f"gw-{tmp_path.name}")
    scene.start()
    yield scene
    scene.stop()


# -- the network -----------------------------------------------------------------------------------


def test_figures_are_those_of_the_other_answers(scene: Scene) -> None:
    network, samples = scene.get("/"), scrape(scene)
    applications = scene.get("/applications")["applications"]
    for direction in ("up", "down"):

        def agrees(
            name: str, counts: dict[str, Any], unit: str, direction: str = direction, **labels: str
        ) -> None:
            expected = counts[f"{unit}_{direction}"] / (8 if unit == "rate" else 1)
            assert value(samples, name, direction=direction, **labels) == expected

        agrees("netify_bytes_total", network["totals"], "bytes")
        agrees("netify_packets_total", network["totals"], "packets")
        agrees("netify_rate_bytes_per_second", network["totals"], "rate")
        for row in network["devices"]:
            device = row["mac"] or row["ip"]
            agrees("netify_device_bytes_total", row, "bytes", device=device)
            agrees("netify_device_packets_total", row, "packets", device=device)
            agrees("netify_device_rate_bytes_per_second", row, "rate", device=device)
        for row in applications:
            agrees("netify_application_bytes", row, "bytes", application=row["tag"])
            agrees("netify_application_rate_bytes_per_second", row, "rate", application=row["tag"])
    assert value(samples, "netify_flows_total") == network["totals"]["flows"]
    assert value(samples, "netify_devices") == value(samples, "netify_devices_active") == 3


def test_a_device_is_introduced_once(scene: Scene) -> None:
    introduced = [dict(labels) for labels in scrape(scene)["netify_device_info"]]
    assert introduced[0] == {"device": LAPTOP, "name": "laptop", "vendor": "", "ip": "192.168.1.10"}
    assert [one["device"] for one in introduced] == [LAPTOP, TUNNEL, PHONE]  # most bytes first
    assert introduced[1]["ip"] == TUNNEL


@pytest.mark.parametrize(("devices", "applications"), [(1, 2), (0, 0), (3, 3), (100, 100)])
def test_what_is_not_told_one_by_one_is_told_as_one(
    scene: Scene, devices: int, applications: int, shared_redis: RedisServer, tmp_path: Path
) -> None:
    """The sums are the same to the byte, however few are told one by one."""
    other = a_scene(shared_redis.url, tmp_path, gateway=scene.gateway)
    other.metrics = MetricsSettings(devices, applications)
    other.start()
    try:
        samples = scrape(other)
    finally:
        other.stop()
    assert len(values(samples, "netify_device_info", "device")) == min(devices, 3)
    assert len(values(samples, "netify_application_bytes", "application")) == min(applications, 3)
    network = scene.get("/")
    for direction in ("up", "down"):

        def total(name: str, others: str, direction: str = direction) -> float:
            listed = [n for labels, n in samples.get(name, {}).items() if ("direction", direction) in labels]
            return sum(listed) + value(samples, others, direction=direction)

        of_devices = sum(device[f"bytes_{direction}"] for device in network["devices"])
        assert total("netify_device_bytes_total", "netify_other_devices_bytes") == of_devices
        of_gateway = network["totals"][f"bytes_{direction}"]
        assert total("netify_application_bytes", "netify_other_applications_bytes") == of_gateway


def test_a_device_that_was_silent_for_long_is_known_but_not_active(own: Scene) -> None:
    said = own.book.netifyd
    now = int(time.time() * 1000)
    own.book.flush(said.flow("a"), said.stats("a", 1, 1), at_ms=now - 61_000)
    own.book.flush(said.flow("b", PHONE), said.stats("b", 1, 1), at_ms=now)
    samples = scrape(own)
    assert value(samples, "netify_devices") == 2
    assert value(samples, "netify_devices_active") == 1


def test_what_a_flush_changes_is_told_and_what_it_does_not_is_not_read_again(
    own: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = own.book.netifyd
    own.book.flush(said.flow("a"), said.stats("a", 10, 0))
    reads = 0
    traffic = MetricsReader.traffic

    def counted(*arguments: Any) -> Traffic:
        nonlocal reads
        reads += 1
        return traffic(*arguments)

    monkeypatch.setattr(MetricsReader, "traffic", counted)
    for amount, expected in ((0, 10), (5, 15)):
        own.book.flush(said.stats("a", amount, 0))
        own.get("/")
        own.directory.refresh()  # whoever is asked about for the first time is looked up
        reads = 0
        for _ in range(3):
            assert value(scrape(own), "netify_bytes_total", direction="up") == expected
        assert reads == 1


def test_a_device_whose_bytes_move_to_another_has_a_counter_that_waits_instead_of_going_back(
    own: Scene,
) -> None:
    said = own.book.netifyd
    own.book.flush(said.flow("a"), said.stats("a", 1000, 0), said.flow("b"), said.stats("b", 500, 0))
    told = {"device": LAPTOP, "direction": "up"}
    assert value(scrape(own), "netify_device_bytes_total", **told) == 1500
    own.book.flush(said.flow("a", PHONE))
    samples = scrape(own)
    assert own.get(f"/{LAPTOP}")["bytes_up"] == 500
    assert value(samples, "netify_device_bytes_total", **told) == 1500
    assert value(samples, "netify_device_bytes_total", device=PHONE, direction="up") == 1000
    assert value(samples, "netify_other_devices_bytes", direction="up") == 0
    own.book.flush(said.stats("b", 999, 0))
    assert value(scrape(own), "netify_device_bytes_total", **told) == 1500
    own.book.flush(said.stats("b", 2, 0))
    assert value(scrape(own), "netify_device_bytes_total", **told) == 1501


def test_two_entries_that_are_one_flow_take_no_flow_from_the_counter(own: Scene) -> None:
    """v5: a record under a new digest may come before the one that says whose digest it is."""
    said = own.book.netifyd
    own.book.flush(said.flow("old"), said.stats("old", 10, 0))
    own.book.flush(said.stats("new", 5, 0, total_bytes=15, total_packets=2))
    assert value(scrape(own), "netify_flows_total") == 2
    own.book.flush(said.flow("new", digest_prev=["old"]))
    assert own.get("/")["totals"]["flows"] == 1
    assert value(scrape(own), "netify_flows_total") == 2


def test_while_redis_is_given_back_what_it_lost_no_counter_is_told(own: Scene) -> None:
    """A counter that goes back and then forth again would be counted twice."""
    said = own.book.netifyd
    flush = own.book.flush(said.flow("a"), said.stats("a", 10, 0))
    own.flushes.applied(flush.sequence + 1, flush.at_ms, [], [])
    samples = scrape(own)
    assert not [name for name in samples if not name.startswith(("netify_agent_", "process_"))]
    assert value(samples, "netify_agent_redis_up") == 1
    own.book.flush(said.stats("a", 1, 0))
    assert value(scrape(own), "netify_bytes_total", direction="up") == 11


def test_a_store_that_lost_flushes_for_good_is_told_as_it_is(own: Scene) -> None:
    said = own.book.netifyd
    own.book.flush(said.flow("a"), said.stats("a", 10, 0))
    own.book.flush(said.stats("a", 10, 0))
    told = {"device": LAPTOP, "direction": "up"}
    assert value(scrape(own), "netify_device_bytes_total", **told) == 20
    keys = Keys(own.gateway)
    own.book.client.hset(keys.meta, "seq", 1)
    own.book.client.hset(keys.totals(LAPTOP), "bu", 10)
    own.flushes.applied(1, 1000, [], [])
    assert value(scrape(own), "netify_device_bytes_total", **told) == 10


HOSTILE = 'a "quoted\\" name\\\n with\r\x00 \x1b[31m<script>\ud800\u2028 ü\N{PILE OF POO}' + "x" * 65536


def test_hostile_names_come_out_as_valid_text(own: Scene) -> None:
    said = own.book.netifyd
    names = {"dhcp": {}, "host_server_name": HOSTILE, "local_port": 68}
    own.book.flush(
        said.flow("a", application=HOSTILE, detected_protocol_name=HOSTILE, **names),
        said.stats("a", 10, 20),
        {**said.flow("b", PHONE, application="\\"), "interface": HOSTILE},
        said.stats("b", 1, 2),
    )
    own.listener.connected, own.listener.agent = True, HOSTILE[:60].replace("\ud800", "")
    own.listener.netifyd = NetifydStatus(interfaces={HOSTILE: InterfaceCounters(1, {"queue": 2})})
    samples = scrape(own)
    assert value(samples, "netify_application_bytes", application="\\", direction="down") == 2
    assert len(values(samples, "netify_application_bytes", "application")) == 2
    assert any(
        '"quoted\\" name\\' in tag for tag in values(samples, "netify_application_bytes", "application")
    )
    assert values(samples, "netify_device_info", "device") == {LAPTOP, PHONE}
    assert values(samples, "netifyd_interface_packets_total", "interface") == {HOSTILE.replace("\ud800", "?")}
    assert value(samples, "netify_bytes_total", direction="up") == 11


# -- the agent and netifyd -------------------------------------------------------------------------


def test_the_agent_and_netifyd_are_told(scene: Scene) -> None:
    interfaces = {"br0": InterfaceCounters(100, {"queue": 3, "pcap": 0})}
    netifyd = NetifydStatus(90, 12, 4096, 1.5, 0.25, interfaces)
    stream = {"connections": 3, "bytes": 12_345, "records": 67, "repaired": 8, "drops": {"oversize": 2}}
    flushes = {"flushes": 9, "failures": 8, "repeated": 7, "lost": 6, "pending": 5, "sequence": 1}
    with (
        changed(scene.listener, agent="4.4.5", netifyd=netifyd, **stream),
        changed(scene.writing, flush_ms=12.5, last_flush=1.25, **flushes),
        changed(scene.status, web_queue=lambda: 4),
    ):
        samples = scrape(scene)
    expected = {
        "netify_agent_ready": 1,
        "netify_agent_redis_up": 1,
        "netify_agent_flushes_total": 9,
        "netify_agent_flush_failures_total": 8,
        "netify_agent_flushes_repeated_total": 7,
        "netify_agent_flushes_lost_total": 6,
        "netify_agent_pending_changes": 5,
        "netify_agent_flush_duration_seconds": 0.0125,
        "netify_agent_last_flush_timestamp_seconds": 1.25,
        "netify_agent_flush_interval_seconds": 15,
        "netify_agent_live_flows": 6,
        "netify_agent_max_flows": 200_000,
        "netify_agent_max_devices": 10_000,
        "netify_agent_devices_full": 0,
        "netify_agent_folded_flows_total": 0,
        "netify_agent_web_queue_length": 4,
        "netify_agent_event_clients": 0,
        "netify_agent_missed_bytes_total": 0,
    }
    assert {name: value(samples, name) for name in expected} == expected
    expected = {
        "netify_agent_connected": 1,
        "netify_agent_connections_total": 3,
        "netify_agent_stream_bytes_total": 12_345,
        "netify_agent_stream_records_total": 67,
        "netify_agent_stream_repaired_records_total": 8,
        "netify_agent_last_record_timestamp_seconds": scene.listener.last_record,
        "netifyd_uptime_seconds": 90,
        "netifyd_flows": 12,
        "netifyd_memory_bytes": 4096,
    }
    assert {name: value(samples, name, endpoint=SOURCE) for name in expected} == expected
    assert value(samples, "netify_agent_stream_drops_total", endpoint=SOURCE, reason="oversize") == 2
    assert value(samples, "netify_agent_stream_drops_total", endpoint=SOURCE, reason="malformed") == 0
    assert value(samples, "netifyd_info", endpoint=SOURCE, version="4.4.5") == 1
    assert value(samples, "netifyd_cpu_seconds_total", endpoint=SOURCE, mode="user") == 1.5
    assert value(samples, "netifyd_cpu_seconds_total", endpoint=SOURCE, mode="system") == 0.25
    br0 = {"endpoint": SOURCE, "interface": "br0"}
    assert value(samples, "netifyd_interface_packets_total", **br0) == 100
    assert samples["netifyd_interface_dropped_packets_total"] == {
        tuple(sorted({**br0, "reason": "queue"}.items())): 3,
        tuple(sorted({**br0, "reason": "pcap"}.items())): 0,
    }
    assert value(samples, "netify_agent_records_total", type="flow") == 5
    assert value(samples, "netify_agent_start_time_seconds") == pytest.approx(time.time(), abs=600)
    assert value(samples, "netify_agent_redis_ping_seconds") > 0
    assert value(samples, "process_resident_memory_bytes") > 1 << 20
    assert value(samples, "process_cpu_seconds_total") > 0
    assert values(samples, "netify_agent_build_info", "version") == {__version__}


def test_the_reference_names_every_metric(scene: Scene) -> None:
    section = DOCS.read_text().partition("## `/metrics`\n")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`((?:netify|process)\w*_\w+)`", section))
    netifyd = NetifydStatus(1, 1, 1, 1.0, 1.0, {"br0": InterfaceCounters(1, {"queue": 1})})
    scene.book.accountant.rejected["counters out of range"] = 1
    with changed(scene.listener, netifyd=netifyd), changed(scene.writing, flushes=1):
        assert set(scrape(scene)) == documented
    scene.book.accountant.rejected.clear()


def test_records_that_could_not_be_used_are_told_by_reason(own: Scene) -> None:
    own.book.feed({"type": "flow"}, {"type": "flow_stats", "flow": {"digest": "a"}}, {"type": "\ud800odd"})
    samples = scrape(own)
    assert value(samples, "netify_agent_records_rejected_total", reason="flow without digest") == 1
    assert value(samples, "netify_agent_records_total", type="unknown") == 1


def test_every_counter_of_the_accounting_is_told(own: Scene) -> None:
    """A counter that the accounting writes must be in /metrics, also one that is added later."""
    code = "".join(path.read_text() for path in CODE.rglob("*.py"))
    names = set(re.findall(r'batch\.counters\["(\w+)"\]', code)) | set(re.findall(r'"(flows_e\w+)"', code))
    for number, name in enumerate(sorted(names), 1_000_001):
        own.book.client.hset(Keys(own.gateway).counters, name, number)
    told = {amount for samples in scrape(own).values() for amount in samples.values()}
    assert told >= set(range(1_000_001, 1_000_001 + len(names)))


def test_the_accounting_s_own_counters_are_those_of_the_store(own: Scene) -> None:
    said = own.book.netifyd
    repeated = said.stats("a", 10, 0)
    own.book.flush(said.flow("a"), repeated)
    own.book.flush({**repeated, "flow": {**repeated["flow"], "total_bytes": 5}})
    assert own.get("/status")["accounting"]["counters"] == {"records_repeated": 1}
    assert value(scrape(own), "netify_agent_repeated_records_total") == 1


def test_a_netifyd_that_is_gone_is_told_as_gone(own: Scene) -> None:
    samples = scrape(own)
    assert value(samples, "netify_agent_connected", endpoint=SOURCE) == 0
    assert value(samples, "netify_agent_ready") == 0
    assert not {"netifyd_info", "netifyd_uptime_seconds", "netifyd_flows"} & set(samples)
    assert "netify_agent_last_record_timestamp_seconds" not in samples  # there never was one
    assert "netify_agent_flush_duration_seconds" not in samples


def test_a_redis_that_is_away_or_stuck_costs_only_what_it_holds(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    scene = a_scene(redis_server.url, tmp_path)
    said = scene.book.netifyd
    scene.book.flush(said.flow("a"), said.stats("a", 10, 0))
    scene.writing.error = None
    scene.listener.connected = True
    scene.listener.connected_since = scene.listener.last_record = time.time()
    scene.start()
    try:
        assert value(scrape(scene), "netify_agent_ready") == 1
        redis_server.signal(signal.SIGSTOP)
        samples = scrape(scene)
        redis_server.signal(signal.SIGCONT)
        assert value(samples, "netify_agent_redis_up") == value(samples, "netify_agent_ready") == 0
        assert value(scrape(scene), "netify_agent_redis_up") == 1
        redis_server.kill()
        samples = scrape(scene)
        assert value(samples, "netify_agent_redis_up") == 0
        assert value(samples, "netify_agent_live_flows") == 1
        assert not {"netify_bytes_total", "netify_device_info", "netify_agent_redis_ping_seconds"} & set(
            samples
        )
        redis_server.start()
        assert value(scrape(scene), "netify_bytes_total", direction="up") == 10
    finally:
        scene.stop()


def test_an_empty_store_is_told_as_such(own: Scene) -> None:
    samples = scrape(own)
    assert value(samples, "netify_bytes_total", direction="up") == 0
    assert value(samples, "netify_devices") == 0
    assert "netify_device_info" not in samples


@pytest.mark.parametrize(
    ("accept", "status"), [("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", 200), ("application/json", 406)]
)
def test_it_is_text_and_nothing_else(scene: Scene, accept: str, status: int) -> None:
    assert scene.ask("/metrics", Accept=accept).status == status


def test_it_is_compressed_for_who_takes_that(scene: Scene) -> None:
    answer = scene.ask("/metrics", Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert gzip.decompress(answer.body).startswith(b"# HELP netify_bytes_total ")
