"""Promises of ``/metrics``, read by Prometheus' own parser for Python from a real server and a real Redis."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from api_server import Scene, a_scene
from metric_samples import scrape, value, values
from real_store import LAPTOP, PHONE, TUNNEL
from support import RedisServer

from netify_agent.config.settings import MetricsSettings
from netify_agent.netifyd.health import InterfaceCounters, NetifydStatus
from netify_agent.store.layout import Keys
from netify_agent.store.metrics_reader import MetricsReader, Traffic

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
    said = own.store.netifyd
    now = int(time.time() * 1000)
    own.store.flush(said.flow("a"), said.stats("a", 1, 1), at_ms=now - 61_000)
    own.store.flush(said.flow("b", PHONE), said.stats("b", 1, 1), at_ms=now)
    samples = scrape(own)
    assert value(samples, "netify_devices") == 2
    assert value(samples, "netify_devices_active") == 1


def test_what_a_flush_changes_is_told_and_what_it_does_not_is_not_read_again(
    own: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = own.store.netifyd
    own.store.flush(said.flow("a"), said.stats("a", 10, 0))
    reads = 0
    traffic = MetricsReader.traffic

    def counted(*arguments: Any) -> Traffic:
        nonlocal reads
        reads += 1
        return traffic(*arguments)

    monkeypatch.setattr(MetricsReader, "traffic", counted)
    for amount, expected in ((0, 10), (5, 15)):
        own.store.flush(said.stats("a", amount, 0))
        own.get("/")
        own.directory.refresh()  # whoever is asked about for the first time is looked up
        reads = 0
        for _ in range(3):
            assert value(scrape(own), "netify_bytes_total", direction="up") == expected
        assert reads == 1


def test_a_device_whose_bytes_move_to_another_has_a_counter_that_waits_instead_of_going_back(
    own: Scene,
) -> None:
    said = own.store.netifyd
    own.store.flush(said.flow("a"), said.stats("a", 1000, 0), said.flow("b"), said.stats("b", 500, 0))
    told = {"device": LAPTOP, "direction": "up"}
    assert value(scrape(own), "netify_device_bytes_total", **told) == 1500
    own.store.flush(said.flow("a", PHONE))
    samples = scrape(own)
    assert own.get(f"/{LAPTOP}")["bytes_up"] == 500
    assert value(samples, "netify_device_bytes_total", **told) == 1500
    assert value(samples, "netify_device_bytes_total", device=PHONE, direction="up") == 1000
    assert value(samples, "netify_other_devices_bytes", direction="up") == 0
    own.store.flush(said.stats("b", 999, 0))
    assert value(scrape(own), "netify_device_bytes_total", **told) == 1500
    own.store.flush(said.stats("b", 2, 0))
    assert value(scrape(own), "netify_device_bytes_total", **told) == 1501


def test_two_entries_that_are_one_flow_take_no_flow_from_the_counter(own: Scene) -> None:
    """v5: a record under a new digest may come before the one that says whose digest it is."""
    said = own.store.netifyd
    own.store.flush(said.flow("old"), said.stats("old", 10, 0))
    own.store.flush(said.stats("new", 5, 0, total_bytes=15, total_packets=2))
    assert value(scrape(own), "netify_flows_total") == 2
    own.store.flush(said.flow("new", digest_prev=["old"]))
    assert own.get("/")["totals"]["flows"] == 1
    assert value(scrape(own), "netify_flows_total") == 2


def test_while_redis_is_given_back_what_it_lost_no_counter_is_told(own: Scene) -> None:
    """A counter that goes back and then forth again would be counted twice."""
    said = own.store.netifyd
    flush = own.store.flush(said.flow("a"), said.stats("a", 10, 0))
    own.flushes.applied(flush.sequence + 1, flush.at_ms, [], [])
    samples = scrape(own)
    assert not [name for name in samples if not name.startswith(("netify_agent_", "process_"))]
    assert value(samples, "netify_agent_redis_up") == 1
    own.store.flush(said.stats("a", 1, 0))
    assert value(scrape(own), "netify_bytes_total", direction="up") == 11


def test_a_store_that_lost_flushes_for_good_is_told_as_it_is(own: Scene) -> None:
    said = own.store.netifyd
    own.store.flush(said.flow("a"), said.stats("a", 10, 0))
    own.store.flush(said.stats("a", 10, 0))
    told = {"device": LAPTOP, "direction": "up"}
    assert value(scrape(own), "netify_device_bytes_total", **told) == 20
    keys = Keys(own.gateway)
    own.store.client.hset(keys.meta, "seq", 1)
    own.store.client.hset(keys.totals(LAPTOP), "bu", 10)
    own.flushes.applied(1, 1000, [], [])
    assert value(scrape(own), "netify_device_bytes_total", **told) == 10


HOSTILE = 'a "quoted\\" name\\\n with\r\x00 \x1b[31m<script>\ud800\u2028 ü\N{PILE OF POO}' + "x" * 65536


def test_hostile_names_come_out_as_valid_text(own: Scene) -> None:
    said = own.store.netifyd
    names = {"dhcp": {}, "host_server_name": HOSTILE, "local_port": 68}
    own.store.flush(
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
