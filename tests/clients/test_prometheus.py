"""Prometheus: metrics and rules pass promtool, and a real server scrapes and evaluates them."""

from __future__ import annotations

from pathlib import Path

import prometheus
import pytest
from gateway import Gateway, need, output, run
from prometheus import Prometheus
from support import Daemon, RedisServer, StandIn, eventually

WAYS = ("up", "down")


@pytest.fixture(autouse=True)
def programs() -> None:
    need("curl", "promtool", "prometheus")


def check_metrics(base: str) -> str:
    """The metrics. promtool must accept their format, names, units and HELP texts."""
    metrics = output("curl", "-sS", "--fail", f"{base}/metrics")
    done = run("promtool", "check", "metrics", input=metrics)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return metrics


# --- promtool -------------------------------------------------------------------------------------------


def test_promtool_accepts_the_metrics(gateway: Gateway) -> None:
    assert "netify_bytes_total" in check_metrics(gateway.base)


def test_promtool_accepts_the_metrics_of_an_empty_store_and_without_redis(
    daemon: Daemon, netifyd: StandIn, redis_server: RedisServer
) -> None:
    daemon.start()
    assert "netify_agent_redis_up 1\n" in check_metrics(daemon.base)
    redis_server.kill()
    eventually(
        lambda: "netify_agent_redis_up 0\n" in check_metrics(daemon.base), "the outage of Redis is reported"
    )


def test_hostile_names_forge_no_metrics(hostile_daemon: Daemon) -> None:
    metrics = check_metrics(hostile_daemon.base)
    assert "netify_agent_redis_up 1\n" in metrics
    assert not any(line.startswith("netify_agent_redis_up{") for line in metrics.splitlines())


def test_promtool_accepts_the_rules_their_tests_and_the_configuration() -> None:
    output("promtool", "check", "rules", "--lint-fatal", prometheus.RULES)
    output("promtool", "test", "rules", *sorted(prometheus.HERE.glob("*.rules_test.yml")))
    output("promtool", "check", "config", "--lint-fatal", prometheus.CONFIG)


# --- a real server --------------------------------------------------------------------------------------


def test_scraped_values_equal_the_api(gateway: Gateway, scraper: Prometheus) -> None:
    network = gateway.get("/")
    for way in WAYS:
        for counter in ("bytes", "packets"):
            name = f"{counter}_{way}"
            [(_, value)] = scraper.query(f'netify_{counter}_total{{direction="{way}"}}')
            assert value == network["totals"][name] == gateway.truth["gateway"][name]
            devices = scraper.query(f'netify_device_{counter}_total{{direction="{way}"}}')
            scraped = {labels["device"]: value for labels, value in devices}
            first = network["devices"][: gateway.daemon.settings["metrics"]["devices"]]
            assert scraped == {device["mac"] or device["ip"]: device[name] for device in first}
        applications = scraper.query(f'netify_application_bytes{{direction="{way}"}}')
        first = gateway.get("/applications")["applications"]
        first = first[: gateway.daemon.settings["metrics"]["applications"]]
        assert {labels["application"]: value for labels, value in applications} == {
            application["tag"]: application[f"bytes_{way}"] for application in first
        }
    assert scraper.query("netify_devices")[0][1] == len(network["devices"])
    assert scraper.query("netify_flows_total")[0][1] == network["totals"]["flows"]
    for name, value in (("ready", 1), ("redis_up", 1), ("connected", 1), ("flushes_lost_total", 0)):
        assert [found for _, found in scraper.query(f"netify_agent_{name}")] == [value]


def test_devices_have_their_names(gateway: Gateway, scraper: Prometheus) -> None:
    scraped = {labels["device"]: labels for labels, _ in scraper.query("netify_device_info")}
    devices = {device["mac"] or device["ip"]: device for device in gateway.get("/")["devices"]}
    assert scraped
    for name, labels in scraped.items():
        for key in ("name", "ip", "vendor"):
            assert labels.get(key) == devices[name][key]


def test_a_healthy_gateway_raises_no_alert(scraper: Prometheus) -> None:
    def rules() -> list[dict[str, str]]:
        return [rule for group in scraper.get("rules")["groups"] for rule in group["rules"]]

    eventually(lambda: all(rule["health"] == "ok" for rule in rules()), "every rule is evaluated")
    assert len(rules()) == prometheus.RULES.read_text().count("- alert: ")
    assert [alert["labels"] for alert in scraper.get("alerts")["alerts"]] == []


def test_a_stopped_agent_raises_an_alert(daemon: Daemon, netifyd: StandIn, directory: Path) -> None:
    daemon.start()
    scraper = Prometheus(directory, prometheus.config_for(daemon.port))
    try:
        scraper.start()
        daemon.stop()

        def alerts() -> set[str]:
            return {alert["labels"]["alertname"] for alert in scraper.get("alerts")["alerts"]}

        eventually(lambda: "NetifyAgentDown" in alerts(), "the alert is pending")
    finally:
        scraper.stop()
