"""A gateway with simulated traffic, and helpers that run clients against it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support import Daemon, RedisServer, StandIn, eventually, framed

from netify_agent.simulator import Simulation

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib"
CHECK = CONTRIB / "nagios" / "check_netify_agent"
PLUGINS = "/usr/lib/nagios/plugins"  # Debian's monitoring-plugins-basic
HOURS = 0.25
_STATUS_S = 5.0

#: Conformance needs a group: without one, OpenAPI says that `group` has no valid value.
ALERTS = {"busy": {"kind": "rate", "above": "900 Gbit/s"}}  # has a metric, but never fires
PLANS = {  # they are never used up; one of them has a forecast at any time but for an hour on some Mondays
    "today": {"limit": "900 PB", "per": "day", "warn_at": []},
    "uplink": {"limit": "900 PB", "per": "month"},
    "each": {"limit": "900 PB", "per": "week", "device": "each", "warn_at": {"90%": "info"}},
}
GROUPS = {"guests": ["guest-*"]}


class Gateway:
    """A running agent that has counted a simulated stream and receives netifyd's status records.

    :ivar truth: totals counted by the simulator.
    """

    def __init__(self, directory: Path, redis: RedisServer, devices: int, **settings: Any) -> None:
        self.netifyd = StandIn(directory / "netifyd.sock")
        self.daemon = Daemon(directory, redis.url, f"unix://{self.netifyd.path}", **settings)
        start_ms = int((time.time() - HOURS * 3600) * 1000)
        self._simulation = Simulation(7, devices, HOURS, start_ms=start_ms)
        self._stopping = threading.Event()
        self._sender = threading.Thread(target=self._send_status)

    @property
    def base(self) -> str:
        return self.daemon.base

    def start(self) -> None:
        """Start the agent and wait until the whole stream is in Redis."""
        self.daemon.start()
        self.netifyd.accept()
        payloads = [*self._simulation.opening(), *(payload for _, payload in self._simulation.records())]
        payloads.append(b'{"type":"flow_stats","flow":{}}\n')  # rejected: it has no digest
        self.netifyd.send(framed(*payloads))
        eventually(lambda: self.daemon.records() == len(payloads), "every record is read")
        self.daemon.flushed()
        self.truth = self._simulation.truth.as_dict()
        self._sender.start()

    def _send_status(self) -> None:
        """Keep the agent ready: after 60 s without a record it is not."""
        while not self._stopping.wait(_STATUS_S):
            self.netifyd.send(framed(*self._simulation.opening()[1:2]))

    def stop(self) -> None:
        self._stopping.set()
        if self._sender.ident is not None:
            self._sender.join()
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            self.daemon.kill()
        self.netifyd.close()

    def get(self, path: str) -> Any:
        status, document = self.daemon.get(path)
        assert status == 200, document
        return document


def need(*programs: str) -> None:
    """Skip the test if a program is not installed; `make test-clients` lists what is missing."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def run(
    *command: str | Path, input: str = "", directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a client and wait for it. Line ends of its output are kept."""
    words = [str(word) for word in command]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        words, input=input.encode(), capture_output=True, timeout=300, env=environment, cwd=directory
    )
    return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())


def output(*command: str | Path, input: str = "") -> str:
    """The output of a client, which must succeed."""
    done = run(*command, input=input)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def jq(expression: str, document: str) -> Any:
    """The result of a jq expression."""
    return json.loads(output("jq", "--compact-output", expression, input=document))
