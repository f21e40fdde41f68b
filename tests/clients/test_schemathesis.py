"""schemathesis holds the server to its OpenAPI document, with every check that it has."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import hostile
import pytest
from gateway import Gateway, output, run
from support import Daemon, StandIn, eventually, framed

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="not installed: schemathesis"
)

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
EXAMPLES = "50"  # requests a path and phase
SEED = "7"


def hold(base: str, directory: Path, certificate: str = "", token: str = "") -> None:
    """Run schemathesis; whatever it finds fails the test."""
    trusting = ("--cacert", certificate, "--oauth2-bearer", token) if token else ()
    network = json.loads(output("curl", "-sS", "--fail", *trusting, f"{base}/"))
    devices = [device["mac"] or device["ip"] for device in network["devices"]] or ["02:00:00:00:00:01"]
    tags = {application["tag"] for device in network["devices"] for application in device["applications"]}
    settings = directory / "schemathesis.toml"
    settings.write_text(
        f"""
        max-stream-events = 1
        hooks = {json.dumps(str(HOOKS))}
        [dictionaries.devices]
        values = {_toml(devices)}
        [dictionaries.tags]
        values = {_toml(sorted(tags) or ["netify.netflix"])}
        [parameters]
        "path.device" = {{ dictionary = "devices", probability = 0.7 }}
        "path.tag" = {{ dictionary = "tags", probability = 0.7 }}
        # Too long is refused as such.
        [checks]
        negative_data_rejection.expected-statuses = [400, 403, 404, 405, 406, 414, 431]
        # That `from` may not come after `to`, nor ask for too many steps, is beyond what OpenAPI can say.
        [[operations]]
        include-path-regex = "/history$"
        checks.positive_data_acceptance.expected-statuses = ["2xx", 304, 400, 404]
        """
    )
    done = run(
        *("schemathesis", "--config-file", settings, "run", f"{base}/openapi.json", "--checks", "all"),
        *("--seed", SEED, "--generation-deterministic", "--max-examples", EXAMPLES, "--workers", "2"),
        *("--suppress-health-check", "all", "--request-timeout", "30", "--warnings", "off"),
        "--continue-on-failure",
        *(("--tls-verify", certificate, "--header", f"Authorization: Bearer {token}") if token else ()),
        directory=directory,
    )
    told = "\n".join(line[:300] for line in (done.stdout + done.stderr).splitlines())
    assert done.returncode == 0, told


def _toml(values: list[str]) -> str:
    """A list of TOML strings, which are JSON's."""
    return json.dumps([value for value in values if value], ensure_ascii=False)


def test_an_empty_store(daemon: Daemon, netifyd: StandIn, directory: Path) -> None:
    daemon.start()
    netifyd.accept()
    daemon.flushed()
    assert daemon.get("/")[1]["devices"] == []
    hold(daemon.base, directory)


def test_a_small_store(gateway: Gateway, tmp_path: Path) -> None:
    hold(gateway.base, tmp_path)


def test_names_that_attackers_would_choose(daemon: Daemon, netifyd: StandIn, directory: Path) -> None:
    daemon.start()
    netifyd.accept()
    told = hostile.payloads()
    netifyd.send(framed(*told))
    eventually(lambda: daemon.records() == len(told), "every record is read")
    daemon.flushed()
    devices: list[dict[str, Any]] = daemon.get("/")[1]["devices"]
    assert {device["mac"] for device in devices} == {hostile.device(n) for n in range(len(hostile.NAMES))}
    hold(daemon.base, directory)
