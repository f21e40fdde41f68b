"""The API conforms to its OpenAPI document: all checks of schemathesis."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import hostile
import pytest
from gateway import GROUPS, PLANS, Gateway, output, run
from support import Daemon, StandIn, framed

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="not installed: schemathesis"
)

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
EXAMPLES = "50"  # requests per path and phase
SEED = "7"


def check_conformance(base: str, directory: Path, certificate: str = "", token: str = "") -> None:
    """Run schemathesis. Any finding fails the test."""
    access = ("--cacert", certificate, "--oauth2-bearer", token) if token else ()
    network = json.loads(output("curl", "-sS", "--fail", *access, f"{base}/"))
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
        [dictionaries.plans]
        values = {_toml(sorted(PLANS))}
        [parameters]
        "path.device" = {{ dictionary = "devices", probability = 0.7 }}
        "path.tag" = {{ dictionary = "tags", probability = 0.7 }}
        "path.plan" = {{ dictionary = "plans", probability = 0.7 }}
        # Requests that are too long have their own statuses.
        [checks]
        negative_data_rejection.expected-statuses = [400, 403, 404, 405, 406, 414, 431]
        # OpenAPI cannot express that `from` comes before `to`, nor the maximum number of steps, nor which
        # parameters exclude each other or need one another (`since` of `/` a `limit`).
        [[operations]]
        include-path-regex = "^/$|/(history|usage)$"
        checks.positive_data_acceptance.expected-statuses = ["2xx", 304, 400, 404]
        """
    )
    # One worker: in CPython 3.11, ast.parse fails in two threads at once (python/cpython issue 106905).
    done = run(
        *("schemathesis", "--config-file", settings, "run", f"{base}/openapi.json", "--checks", "all"),
        *("--seed", SEED, "--generation-deterministic", "--max-examples", EXAMPLES),
        *("--suppress-health-check", "all", "--request-timeout", "30", "--warnings", "off"),
        "--continue-on-failure",
        *(("--tls-verify", certificate, "--header", f"Authorization: Bearer {token}") if token else ()),
        directory=directory,
    )
    assert done.returncode == 0, "\n".join(line[:300] for line in (done.stdout + done.stderr).splitlines())


def _toml(values: list[str]) -> str:
    """A list of TOML strings, which have the same syntax as in JSON."""
    return json.dumps([value for value in values if value], ensure_ascii=False)


def test_an_empty_store_conforms(daemon: Daemon, netifyd: StandIn, directory: Path) -> None:
    daemon.settings["groups"] = GROUPS
    daemon.write_config()
    daemon.start()
    netifyd.accept()
    netifyd.send(framed(b'{"type":"agent_status"}\n'))  # without a record, /readyz would soon answer 503
    daemon.flushed()
    assert daemon.get("/")[1]["devices"] == []
    check_conformance(daemon.base, directory)


def test_a_small_store_conforms(gateway: Gateway, tmp_path: Path) -> None:
    check_conformance(gateway.base, tmp_path)


def test_hostile_names_conform(hostile_daemon: Daemon, directory: Path) -> None:
    devices: list[dict[str, Any]] = hostile_daemon.get("/")[1]["devices"]
    assert {device["mac"] for device in devices} == {hostile.device(n) for n in range(len(hostile.NAMES))}
    check_conformance(hostile_daemon.base, directory)
