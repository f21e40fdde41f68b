"""compose.yaml: what Docker's own client says of it, where there is one, and what must never change in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

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


@pytest.mark.parametrize("profile", [[], ["--profile", "valkey"]])
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
    assert services.keys() == {"redis", "valkey"}
    for name, service in services.items():
        assert service["ports"] == ["127.0.0.1:6379:6379"]
        assert service["volumes"] == [f"{name}:/data"]
        assert service["command"][1:] == ["--appendonly", "yes", "--maxmemory-policy", "noeviction"]
        assert f"{name}-cli ping" in service["healthcheck"]["test"][1]
