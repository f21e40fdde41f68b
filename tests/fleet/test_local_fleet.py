"""`make fleet`: two collectors on a Redis Cluster, and three gateways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from support import WAIT_S, eventually, free_port

CHECKOUT = Path(__file__).parents[2]
SIZE = 30  # ports


def test_both_collectors_answer_for_all_gateways_and_nothing_is_left(tmp_path: Path) -> None:
    script = tmp_path / "packaging/local/fleet.py"  # its data is in .run of its checkout
    script.parent.mkdir(parents=True)
    script.write_text((CHECKOUT / "packaging/local/fleet.py").read_text())
    (tmp_path / ".venv").symlink_to(CHECKOUT / ".venv")
    base = free_port()
    while free_port() < base or base % 500 > 500 - SIZE:
        base = free_port()
    log = tmp_path / "log"
    with log.open("wb") as out:
        environment = {**os.environ, "FLEET_PORT": str(base)}
        fleet = subprocess.Popen([sys.executable, str(script)], env=environment, stdout=out, stderr=out)
    try:
        eventually(lambda: "Ctrl-C stops" in log.read_text() or fleet.poll() is not None, "it has started")
        token = (tmp_path / ".run/fleet/token").read_text().strip()
        for port in (base + 1, base + 2):
            assert f"http://127.0.0.1:{port}/gateways" in log.read_text()
            names = [row["gateway"] for row in ask(f"http://127.0.0.1:{port}/gateways", token)["gateways"]]
            assert names == ["branch-1", "branch-2", "branch-3"]
            for number, name in enumerate(names, 1):
                here = ask(f"http://127.0.0.1:{base + 10 + number}/")
                there = ask(f"http://127.0.0.1:{port}/gateways/{name}/", token)
                assert there["gateway"] == here["gateway"] == name
        fleet.terminate()
        assert fleet.wait(WAIT_S) == 0
        assert log.read_text().endswith("stopped\n")
    finally:
        fleet.kill()
        fleet.wait()


def ask(url: str, token: str = "") -> Any:
    """The answer of a collector, or of a gateway."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
