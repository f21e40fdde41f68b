"""/metrics of the agent and of netifyd, and its HTTP."""

from __future__ import annotations

import gzip
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from api_server import STANDINGS, Scene, a_scene, changed
from metric_samples import CODE, DOCS, scrape, value, values
from real_store import LAPTOP, SOURCE
from support import RedisServer

from netify_agent import __version__
from netify_agent.api.exposition import Exposition
from netify_agent.config.settings import parse
from netify_agent.daemon.alerting import Alerting
from netify_agent.daemon.plan_metrics import expose_plans
from netify_agent.fleet.forwarder import ForwarderStatus
from netify_agent.netifyd.health import InterfaceCounters, NetifydStatus
from netify_agent.store.layout import Keys

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


def metrics_of_alerts(scene: Scene) -> set[str]:
    """Names of the metrics that a daemon with an alert, a receiver and plans adds."""
    settings = parse(
        "alerts: {new: {kind: new_device}}\nnotify: {hook: {type: webhook, url: http://127.0.0.1:1/}}",
        "f.yaml",
    )
    no_thread: Any = lambda name, body: None  # noqa: E731
    out = Exposition()
    with changed(scene.status, settings=settings):
        Alerting(
            *(settings, scene.store.client, scene.parts.reader, scene.status),
            directory=lambda: scene.directory,
            start=no_thread,
            announce=lambda alerts: None,
        ).expose(out)
        expose_plans(out, STANDINGS, 1)
    return set(re.findall("(?m)^# TYPE ([^ ]+)", out.body().decode()))


def test_the_reference_names_every_metric(scene: Scene) -> None:
    section = DOCS.read_text().partition("## `/metrics`\n")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`((?:netify|process)\w*_\w+)`", section))
    netifyd = NetifydStatus(1, 1, 1, 1.0, 1.0, {"br0": InterfaceCounters(1, {"queue": 1})})
    scene.store.accountant.rejected["counters out of range"] = 1
    scene.directory.configure({}, {"lan": ["192.168.0.0/16"]})
    forwarder = ForwarderStatus(last_sent=1.5, max_rate=64_000)
    with (
        changed(scene.listener, netifyd=netifyd),
        changed(scene.writing, flushes=1),
        changed(scene.status, forwarder=forwarder),
    ):
        assert set(scrape(scene)) | metrics_of_alerts(scene) == documented
    scene.store.accountant.rejected.clear()
    scene.directory.configure({}, {})


def test_the_forwarder_is_told(scene: Scene) -> None:
    forwarder = ForwarderStatus(3, 2, 1000, 500, 64_000, 1.5, complete=True, bytes_left=70)
    with changed(scene.status, forwarder=forwarder):
        samples = scrape(scene)
    expected = {
        "netify_agent_fleet_messages_total": 3,
        "netify_agent_fleet_failures_total": 2,
        "netify_agent_fleet_sent_bytes_total": 1000,
        "netify_agent_fleet_left_bytes": 70,
        "netify_agent_fleet_message_bytes": 500,
        "netify_agent_fleet_max_bits_per_second": 64_000,
        "netify_agent_fleet_complete": 1,
        "netify_agent_fleet_last_sent_timestamp_seconds": 1.5,
    }
    assert {name: value(samples, name) for name in expected} == expected
    assert "netify_agent_fleet_complete" not in scrape(scene)


def test_metrics_of_plans_are_bounded() -> None:
    out = Exposition()
    expose_plans(out, STANDINGS, 1)
    text = out.body().decode()
    used = re.findall("(?m)^netify_plan_used_bytes(.*)", text)
    assert used == [
        '{plan="uplink",device=""} 9501',
        '{plan="kids",device=""} 0',
        f'{{plan="each",device="{LAPTOP}"}} 1200',
    ]
    assert 'netify_plan_limit_bytes{plan="uplink"} 10000' in text
    assert 'netify_plan_period_end_timestamp_seconds{plan="uplink"} 1796083200' in text
    assert 'netify_plan_forecast_bytes{plan="kids",device=""} 0' in text
    nothing = Exposition()
    expose_plans(nothing, None, 1)
    assert nothing.body() == b""


def test_records_that_could_not_be_used_are_told_by_reason(own: Scene) -> None:
    own.store.feed({"type": "flow"}, {"type": "flow_stats", "flow": {"digest": "a"}}, {"type": "\ud800odd"})
    samples = scrape(own)
    assert value(samples, "netify_agent_records_rejected_total", reason="flow without digest") == 1
    assert value(samples, "netify_agent_records_total", type="unknown") == 1


def test_every_counter_of_the_accounting_is_told(own: Scene) -> None:
    """A counter that the accounting writes must be in /metrics, also one that is added later."""
    code = "".join(path.read_text() for path in CODE.rglob("*.py"))
    names = set(re.findall(r'batch\.counters\["(\w+)"\]', code)) | set(re.findall(r'"(flows_e\w+)"', code))
    for number, name in enumerate(sorted(names), 1_000_001):
        own.store.client.hset(Keys(own.gateway).counters, name, number)
    told = {amount for samples in scrape(own).values() for amount in samples.values()}
    assert told >= set(range(1_000_001, 1_000_001 + len(names)))


def test_the_accounting_s_own_counters_are_those_of_the_store(own: Scene) -> None:
    said = own.store.netifyd
    repeated = said.stats("a", 10, 0)
    own.store.flush(said.flow("a"), repeated)
    own.store.flush({**repeated, "flow": {**repeated["flow"], "total_bytes": 5}})
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
    said = scene.store.netifyd
    scene.store.flush(said.flow("a"), said.stats("a", 10, 0))
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
