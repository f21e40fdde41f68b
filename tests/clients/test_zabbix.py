"""The Zabbix template: its metrics and paths exist, and a real Zabbix collects the right values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
import zabbix
from gateway import CONTRIB, PLANS, Gateway, output
from support import Daemon, RedisServer, StandIn, eventually, framed, short_directory
from zabbix import Zabbix

TEMPLATE = CONTRIB / "zabbix" / "netify-agent.yaml"
NAME = "netify-agent by HTTP"
GROUPS = {"createMissing": True}
KINDS = ("templates", "items", "triggers", "discoveryRules", "valueMaps")
RULES = {"groups": GROUPS, **{kind: {"createMissing": True, "updateExisting": True} for kind in KINDS}}


def template() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text())["zabbix_export"]["templates"][0]
    return found


def steps() -> list[tuple[str, str, list[str]]]:
    """Master item key, and type and parameters of the first preprocessing step, of each dependent item."""
    rules = template()["discovery_rules"]
    parts = [*template()["items"], *rules, *(item for rule in rules for item in rule["item_prototypes"])]
    return [
        (part["master_item"]["key"], part["preprocessing"][0]["type"], part["preprocessing"][0]["parameters"])
        for part in parts
        if part["type"] == "DEPENDENT"
    ]


def test_every_metric_and_path_of_the_template_exists(gateway: Gateway) -> None:
    metrics = output("curl", "-sS", "--fail", f"{gateway.base}/metrics")
    ready = json.loads(output("curl", "-sS", f"{gateway.base}/readyz"))
    assert len(steps()) > 20
    for master, kind, parameters in steps():
        if kind == "JSONPATH":
            assert master == "netify.readyz"
            value = ready
            for key in parameters[0].removeprefix("$.").split("."):
                value = value[key]
            continue
        assert master == "netify.metrics"
        name, labels = re.fullmatch(r"(\w+)(\{.*\})?", parameters[0]).groups()  # type: ignore[union-attr]
        wanted = [re.escape(label) for label in re.findall(r'\w+="[^"{]*"', labels or "")]
        lines = [line for line in metrics.splitlines() if re.match(rf"{name}[ {{]", line)]
        assert any(all(re.search(label, line) for label in wanted) for line in lines), parameters


@pytest.fixture(scope="module")
def server() -> Iterator[Zabbix]:
    if not zabbix.is_installed():
        pytest.skip("not installed: zabbix-server-pgsql, zabbix-frontend-php, postgresql, php-cli, php-pgsql")
    with short_directory() as path:
        server = Zabbix(path)
        try:
            server.start()
            if not server.version.startswith("6.0."):
                pytest.skip(f"Zabbix {server.version}: the template is tested with 6.0")
            yield server
        finally:
            server.stop()


def add_host(server: Zabbix, name: str, base: str) -> str:
    """Import the template and link it to a new host for the agent at ``base``. Returns the host's id."""
    for _ in range(2):  # the second import is an update
        source = {"format": "yaml", "source": TEMPLATE.read_text(), "rules": RULES}
        assert server.call("configuration.import", source) is True
    wanted = {"output": ["templateid"], "selectItems": ["key_"], "filter": {"host": [NAME]}}
    [imported] = server.call("template.get", wanted)
    assert {item["key_"] for item in imported["items"]} == {item["key"] for item in template()["items"]}
    macros = {"{$NETIFY.URL}": base, "{$NETIFY.INTERVAL}": "1s"}
    created = server.call(
        "host.create",
        {
            "host": name,
            "groups": [{"groupid": server.call("hostgroup.get", {"limit": 1})[0]["groupid"]}],
            "templates": [{"templateid": imported["templateid"]}],
            "macros": [{"macro": macro, "value": value} for macro, value in macros.items()],
        },
    )
    return str(created["hostids"][0])


def triggers(server: Zabbix, host: str) -> dict[str, str]:
    """State of each trigger of a host by name, 1 for a problem. Waits until each has data."""

    def errors() -> dict[str, str]:
        found[:] = server.call("trigger.get", {"hostids": host, "output": ["description", "value", "error"]})
        return {trigger["description"]: trigger["error"] for trigger in found if trigger["error"]}

    found: list[dict[str, str]] = []
    eventually(lambda: not errors(), "no trigger has an error")
    return {trigger["description"]: trigger["value"] for trigger in found}


def test_zabbix_collects_the_values_of_the_api(gateway: Gateway, server: Zabbix) -> None:
    host = add_host(server, "gateway", gateway.base)

    def items() -> dict[str, dict[str, str]]:
        asked = {"hostids": host, "output": ["key_", "lastvalue", "lastclock", "state", "error", "history"]}
        return {item["key_"]: item for item in server.call("item.get", asked)}

    discovered = gateway.get("/")["devices"][: gateway.daemon.settings["metrics"]["devices"]]
    devices = {device["mac"] or device["ip"]: device for device in discovered}
    severities = {"busy": "2", "each 90%": "1", "uplink 75%": "2", "uplink 90%": "2", "uplink 100%": "4"}
    count = len(template()["items"]) + 4 * len(devices) + 3 * len(PLANS) + len(severities)

    def waiting() -> list[str]:
        """Keys of items without a value, or a note that not all are discovered yet."""
        found = items()
        if len(found) < count:
            return ["discovery"]
        return [
            key
            for key, item in found.items()
            if item["history"] != "0" and item["lastclock"] == "0" and "forecast" not in key
        ]

    try:
        eventually(lambda: not waiting(), "every item has a value")
    except AssertionError:
        pytest.fail(f"no value: {waiting()}\n{items()}\n{server.log()[-3000:]}")
    found = items()
    assert {key: item["error"] for key, item in found.items() if item["error"] or item["state"] != "0"} == {}
    assert found["netify.ready"]["lastvalue"] == "ready"
    assert found["netify.check[redis]"]["lastvalue"] == "ok"
    assert float(found["netify.silence"]["lastvalue"]) < 60
    for way in ("up", "down"):
        counted = gateway.get("/")["totals"][f"bytes_{way}"]
        assert int(found[f"netify.bytes[{way}]"]["lastvalue"]) == counted
        for name, device in devices.items():
            value = int(found[f"netify.device.bytes[{name},{way}]"]["lastvalue"])
            assert value == device[f"bytes_{way}"]
    assert len(found) == count
    plans = gateway.get("/plans")["plans"]
    for name in PLANS:
        used = max(row["used"] for row in plans if row["plan"] == name)
        assert int(found[f"netify.plan.used[{name}]"]["lastvalue"]) == used
        assert int(found[f"netify.plan.limit[{name}]"]["lastvalue"]) == 9 * 10**17
    assert any(int(item["lastvalue"]) for key, item in found.items() if "plan.forecast" in key)
    assert set(triggers(server, host).values()) == {"0"}
    asked = {"hostids": host, "output": ["description", "priority"]}
    priorities = {one["description"]: one["priority"] for one in server.call("trigger.get", asked)}
    assert {name: priorities[f"Alert {name} of netify-agent"] for name in severities} == severities


def test_outages_of_netifyd_and_redis_are_problems(
    daemon: Daemon, netifyd: StandIn, redis_server: RedisServer, server: Zabbix
) -> None:
    daemon.start()
    netifyd.accept()
    netifyd.send(framed(b'{"type":"agent_status"}\n'))
    host = add_host(server, "outage", daemon.base)
    netifyd_down, redis_down = "No data from netifyd", "Redis is unavailable"
    netifyd.close()
    eventually(lambda: triggers(server, host)[netifyd_down] == "1", "the outage of netifyd is reported")
    assert triggers(server, host)[redis_down] == "0"
    redis_server.kill()
    eventually(lambda: triggers(server, host)[redis_down] == "1", "the outage of Redis is reported")
