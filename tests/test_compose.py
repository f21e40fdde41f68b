"""compose.yaml: what Docker's own client says of it, where there is one, and what must never change in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

NODES = {f"node{number}": str(7000 + number) for number in range(1, 7)}
FILE = Path(__file__).parents[1] / "compose.yaml"


def _clients() -> list[list[str]]:
    """Each client of Compose that this machine has."""
    found = [["docker-compose"]] if shutil.which("docker-compose") else []
    if (
        shutil.which("docker")
        and not subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        found.append(["docker", "compose"])
    return found


@pytest.mark.parametrize("profile", [[], ["--profile", "valkey"], ["--profile", "cluster"]])
def test_the_client_takes_it(profile: list[str]) -> None:
    clients = _clients()
    if not clients:
        pytest.skip("no client of Docker Compose here")
    for client in clients:
        done = subprocess.run(
            [*client, "-f", str(FILE), *profile, "config", "-q"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_each_store_listens_on_loopback_alone_and_persists_and_evicts_nothing() -> None:
    services = yaml.safe_load(FILE.read_text())["services"]
    assert services.keys() == {"redis", "valkey", "cluster", *NODES}
    for name in ("redis", "valkey"):
        service = services[name]
        assert service["ports"] == ["127.0.0.1:6379:6379"]
        assert service["volumes"] == [f"{name}:/data"]
        assert service["command"][1:] == ["--appendonly", "yes", "--maxmemory-policy", "noeviction"]
        assert f"{name}-cli ping" in service["healthcheck"]["test"][1]


def test_the_nodes_of_the_cluster_listen_on_loopback_alone_and_persist_and_evict_nothing() -> None:
    services = yaml.safe_load(FILE.read_text())["services"]
    for name, port in NODES.items():
        node = services[name]
        assert node["profiles"] == ["cluster"]
        assert node["environment"] == {"PORT": port}
        assert node["volumes"] == [f"{name}:/data"]
        options = node["command"][-1]
        assert "--port $$PORT --bind 127.0.0.1 --cluster-enabled yes" in options
        assert "--appendonly yes --maxmemory-policy noeviction" in options
    cluster = services["cluster"]
    assert cluster["depends_on"] == {name: {"condition": "service_healthy"} for name in NODES}
    assert all(f"127.0.0.1:{port}" in cluster["command"][-1] for port in NODES.values())
