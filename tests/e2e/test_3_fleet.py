"""A gateway and a collector on two machines, installed from the package and joined by a cable.

The tests of this file share the machines and run in their order.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from conftest import ADDRESSES
from machine import PACKAGE, UNIT, Machine, eventually, totals_of

COLLECTOR = "netify-collector.service"
TOKENS = {"gateway": "7a" * 32, "reader": "5e" * 32, "other": "c0" * 32}


def ask(collector: Machine, path: str, token: str = TOKENS["reader"]) -> Any:
    """The collector's answer; None where there is none."""
    body = collector.run(
        *("curl", "-sf", "--max-time", "10", "--cacert", "/etc/netify-collector/cert.pem"),
        *("-H", f"Authorization: Bearer {token}", f"https://localhost:7443{path}"),
        check=False,
    )
    return None if body is None else json.loads(body)


def test_the_collector_is_installed_and_not_enabled(collector: Machine) -> None:
    collector.apt("install", collector.add(PACKAGE))
    assert collector.show("UnitFileState", COLLECTOR) == "disabled"
    assert collector.show("ActiveState", COLLECTOR) == "inactive"
    for path, found in {"/etc/netify-collector": "750", "/etc/netify-collector.yaml": "640"}.items():
        assert collector.out("stat", "-c", "%a %U %G", path).strip() == f"{found} root netify-collector"
    assert collector.show("ActiveState", UNIT) == "active"
    # This machine is no gateway.
    collector.sh(f"systemctl disable --now {UNIT} netify-agent-socket.path netifyd; redis-cli flushall")


def test_a_collector_without_its_files_says_what_is_missing_and_is_not_restarted(collector: Machine) -> None:
    collector.sh(f"systemctl start {COLLECTOR} || true")
    eventually(lambda: collector.show("ActiveState", COLLECTOR) == "failed", "it has failed")
    assert collector.show("ExecMainStatus", COLLECTOR) == "78"
    assert collector.show("NRestarts", COLLECTOR) == "0"
    assert "/etc/netify-collector/gateways" in collector.out("journalctl", "--no-pager", "-u", COLLECTOR)


def test_a_collector_with_its_files_starts(collector: Machine, figures: dict[str, str]) -> None:
    collector.sh(
        "cd /etc/netify-collector; umask 027; openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=c"
        " -addext subjectAltName=DNS:localhost,DNS:collector.example -keyout key.pem -out cert.pem;"
        f"echo gateway $(printf %s {TOKENS['gateway']} | sha256sum | cut -d' ' -f1) >gateways;"
        f"echo $(printf %s {TOKENS['reader']} | sha256sum | cut -d' ' -f1) >readers;"
        "chgrp netify-collector *; chmod 640 *"
    )
    config = collector.root / "etc/netify-collector.yaml"
    text = config.read_text().replace("listen: 127.0.0.1:7001", "listen: 0.0.0.0:7443")
    rest, web, section = text.partition("\nweb:\n")  # redis.tls has the same keys
    for key, file in {"certificate": "cert.pem", "key": "key.pem"}.items():
        section = section.replace(f"{key}: null", f"{key}: /etc/netify-collector/{file}")
    config.write_text(rest + web + section.replace("hosts: []", "hosts: [collector.example]"))
    collector.run("systemctl", "enable", "--now", COLLECTOR)
    assert collector.show("User", COLLECTOR) == "netify-collector"
    assert ask(collector, "/healthz") == {"status": "ok"}
    text = collector.out("systemd-analyze", "--no-pager", "security", COLLECTOR)
    exposure = float(text.rpartition("level for")[2].split(":")[1].split()[0])
    figures[f"exposure of {COLLECTOR}"] = str(exposure)
    assert exposure <= 1.2


@pytest.fixture(scope="module")
def forwarding(gateway: Machine, collector: Machine) -> Machine:
    """The gateway, which forwards to the collector."""
    gateway.apt("install", gateway.add(PACKAGE))
    hosts = gateway.root / "etc/hosts"  # the machine has no DNS
    known = hosts.read_text() if hosts.exists() else ""
    hosts.write_text(f"{known}{ADDRESSES['collector']} collector.example\n")
    certificate = gateway.root / "etc/fleet-ca.pem"
    certificate.write_text((collector.root / "etc/netify-collector/cert.pem").read_text())
    gateway.sh(f"umask 027; echo {TOKENS['gateway']} >/etc/fleet-token; chgrp netify-agent /etc/fleet-token")
    config = gateway.root / "etc/netify-agent.yaml"
    fleet = (
        "{url: 'https://collector.example:7443', token_file: /etc/fleet-token,"
        " ca_file: /etc/fleet-ca.pem, interval: 10}"
    )
    text = re.sub(r"(?ms)^fleet:.*?(?=^\S|\Z)", f"fleet: {fleet}\n", config.read_text())
    config.write_text(re.sub("(?m)^interval: .*$", "interval: 1", text))
    gateway.run("systemctl", "restart", UNIT)
    eventually(gateway.well, "the agent has a netifyd and a Redis")
    return gateway


def same(gateway: Machine, collector: Machine) -> bool:
    """Whether the collector has each row as the gateway does, and there are any."""
    copied = ask(collector, "/gateways/gateway/")
    return copied is not None and totals_of(copied) == gateway.totals() != {}


def test_the_collector_has_the_rows_of_the_gateway(forwarding: Machine, collector: Machine) -> None:
    eventually(lambda: forwarding.get("/status")["fleet"]["error"] is None, "messages arrive")
    forwarding.finite_stream(3)
    eventually(lambda: same(forwarding, collector), "the rows are equal")
    assert [row["gateway"] for row in ask(collector, "/gateways")["gateways"]] == ["gateway"]
    assert ask(collector, "/gateways", TOKENS["other"]) is None
    assert ask(collector, "/gateways/gateway/", TOKENS["gateway"]) is None


def test_the_rows_are_equal_again_after_the_collector_was_away(
    forwarding: Machine, collector: Machine
) -> None:
    collector.run("systemctl", "stop", COLLECTOR)
    before = forwarding.totals()
    forwarding.finite_stream(4)
    eventually(lambda: forwarding.get("/status")["fleet"]["error"], "the gateway says that it is away")
    assert forwarding.totals() != before
    assert forwarding.active
    collector.reboot()
    assert collector.show("ActiveState", COLLECTOR) == "active"
    eventually(lambda: same(forwarding, collector), "the rows are equal")


def test_a_collector_that_lost_its_store_gets_it_again(forwarding: Machine, collector: Machine) -> None:
    collector.run("redis-cli", "flushall")
    eventually(lambda: same(forwarding, collector), "the rows are equal")


def test_a_reload_takes_a_token_away(forwarding: Machine, collector: Machine) -> None:
    collector.sh(f"echo >/etc/netify-collector/readers; systemctl reload {COLLECTOR}")
    eventually(lambda: ask(collector, "/gateways") is None, "the token opens nothing")


def test_purge_leaves_no_user_and_no_unit(collector: Machine) -> None:
    collector.apt("purge", "netify-agent")
    assert collector.out("getent", "passwd", "netify-collector") == ""
    assert collector.show("LoadState", COLLECTOR) == "not-found"
