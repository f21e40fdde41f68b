"""A gateway for clients to ask: the real daemon, a real Redis, and a netifyd that has told of a network."""

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
PLUGINS = "/usr/lib/nagios/plugins"  # of Debian's monitoring-plugins-basic
HOURS = 0.25
_SPEAK_S = 5.0


class Gateway:
    """A daemon that has read a whole simulated stream and hears netifyd's status since.

    :ivar truth: what the simulator counted.
    """

    def __init__(self, directory: Path, redis: RedisServer, devices: int, **settings: Any) -> None:
        self.netifyd = StandIn(directory / "netifyd.sock")
        self.daemon = Daemon(directory, redis.url, f"unix://{self.netifyd.path}", **settings)
        start_ms = int((time.time() - HOURS * 3600) * 1000)
        self._simulation = Simulation(7, devices, HOURS, start_ms=start_ms)
        self._ending = threading.Event()
        self._speaker = threading.Thread(target=self._speak)

    @property
    def base(self) -> str:
        return self.daemon.base

    def start(self) -> None:
        """Start the daemon and wait until all that was told is in Redis."""
        self.daemon.start()
        self.netifyd.accept()
        payloads = [*self._simulation.opening(), *(payload for _, payload in self._simulation.records())]
        payloads.append(b'{"type":"flow_stats","flow":{}}\n')  # one that can't be used
        self.netifyd.send(framed(*payloads))
        eventually(lambda: self.daemon.records() == len(payloads), "every record is read")
        self.daemon.flushed()
        self.truth = self._simulation.truth.as_dict()
        self._speaker.start()

    def _speak(self) -> None:
        """netifyd reports each 15 s; a stream that says nothing for 60 s is not ready."""
        while not self._ending.wait(_SPEAK_S):
            self.netifyd.send(framed(*self._simulation.opening()[1:2]))

    def stop(self) -> None:
        self._ending.set()
        if self._speaker.ident is not None:
            self._speaker.join()
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            self.daemon.kill()
        self.netifyd.close()

    def get(self, path: str) -> Any:
        status, document = self.daemon.get(path)
        assert status == 200, document
        return document


def need(*programs: str) -> None:
    """Skip the test where one of ``programs`` is not installed; `make test-clients` says it aloud."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def run(
    *command: str | Path, input: str = "", directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a client to its end; what it prints comes as it is, line ends included."""
    words = [str(word) for word in command]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        words, input=input.encode(), capture_output=True, timeout=300, env=environment, cwd=directory
    )
    return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())


def output(*command: str | Path, input: str = "") -> str:
    """What a client prints; it must succeed."""
    done = run(*command, input=input)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def jq(expression: str, document: str) -> Any:
    """What jq makes of ``document``."""
    return json.loads(output("jq", "--compact-output", expression, input=document))
