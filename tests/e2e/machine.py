"""A Debian that systemd-nspawn boots, without network but its own loopback, and what tests ask of it.

It has a netifyd.service before anything else: our simulator, whose socket has the owner and mode that
netifyd 4.4.5 gives its own. The simulator is run from a copy of the checkout, so that it is there before and
after the package.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
PACKAGE = Path(os.environ.get("NETIFY_AGENT_PACKAGE", "missing"))
"""The package to be proven; ``run`` says which."""
UNIT = "netify-agent.service"
ROWS = ("bytes_up", "bytes_down", "packets_up", "packets_down")
WAIT_S = 60.0

_NETIFYD = """[Unit]
Description=Simulated netifyd
ConditionPathExists=/opt/netifyd/wanted

[Service]
Environment=SOCKET=/run/netifyd/netifyd.sock
EnvironmentFile=/opt/netifyd/options
WorkingDirectory=/opt/netifyd
ExecStart=/opt/netifyd/netifyd --listen unix://${SOCKET} --truth truth.json $OPTIONS
RuntimeDirectory=netifyd
Restart=on-failure
RestartSec=1

[Install]
WantedBy=multi-user.target
"""

_SIMULATOR = """#!/usr/bin/python3
import argparse
import sys

sys.path.insert(0, "/opt/netifyd")
sys.dont_write_bytecode = True
from netify_agent.simulator import command

parser = argparse.ArgumentParser()
command.add_arguments(parser)
sys.exit(command.run(parser.parse_args()))
"""


class Machine:
    """One machine. Commands run inside, as root."""

    def __init__(
        self, image: Path, root: Path, hostname: str = "gateway", network: Path | None = None
    ) -> None:
        """Lay what is written over ``image`` at ``root``, and enable the simulated netifyd.

        :param network: its network namespace; None: one with nothing but loopback.
        """
        self.root = root
        self._hostname = hostname
        self._network = f"--network-namespace-path={network}" if network else "--private-network"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._group = _control_groups() / f"netify-agent-e2e.{os.getpid()}.{hostname}"
        for name in ("upper", "work", "root"):
            (root.parent / name).mkdir()
        layers = f"lowerdir={image},upperdir={root.parent}/upper,workdir={root.parent}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(root)], check=True)
        home = root / "opt/netifyd"
        shutil.copytree(
            CHECKOUT / "netify_agent/simulator",
            home / "netify_agent/simulator",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        (home / "netify_agent/__init__.py").touch()
        (home / "netifyd").write_text(_SIMULATOR)
        (home / "netifyd").chmod(0o755)
        (home / "options").write_text("OPTIONS=--seed 1\n")
        (home / "wanted").touch()
        (root / "etc/systemd/system/netifyd.service").write_text(_NETIFYD)
        wants = root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / "netifyd.service").symlink_to("/etc/systemd/system/netifyd.service")

    # -- power -------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Boot, and wait until all units have started."""
        # Two systems must not share a control group, and --keep-unit takes the caller's.
        self._group.mkdir(exist_ok=True)
        self._nspawn = subprocess.Popen(
            [
                *("sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(self._group)),
                *("setpriv", "--pdeathsig", "KILL"),
                *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", self._network),
                *(f"--hostname={self._hostname}", "--console=pipe", "--directory", str(self.root), "--boot"),
            ],
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=(self.root.parent / "console").open("ab"),
            stderr=subprocess.STDOUT,
        )
        self._booted()

    def _booted(self) -> None:
        eventually(lambda: self._init() and self._state() in ("running", "degraded"), "a boot")
        eventually(lambda: not self.out("systemctl", "list-jobs", "--no-legend").strip(), "no job is left")

    def _state(self) -> str:
        return (self.run("sh", "-c", "systemctl is-system-running; true", check=False) or "").strip()

    def _init(self) -> int | None:
        """The container's first process, as seen from here."""
        assert self._nspawn is not None
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def reboot(self) -> None:
        """An orderly reboot. With --keep-unit, systemd-nspawn ends and leaves the rest to its caller."""
        assert self._nspawn is not None
        self.run("systemctl", "reboot", "--no-block", check=False)
        self._nspawn.wait(WAIT_S)
        self.boot()

    def power_off(self) -> None:
        """End it, at once if need be."""
        if self._nspawn is None:
            return
        init = self._init()
        if init is not None:
            os.kill(init, signal.SIGRTMIN + 4)
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()

    def remove(self) -> None:
        """Power off and leave nothing."""
        self.power_off()
        subprocess.run(["umount", "--lazy", str(self.root)], check=True)
        shutil.rmtree(self.root.parent)
        for group, _, _ in os.walk(self._group, topdown=False):
            os.rmdir(group)

    # -- commands ----------------------------------------------------------------------------------

    def run(self, *command: str, check: bool = True) -> str | None:
        """The output of a command; None if it failed and that is no failure of the test."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._init()), "-m", "-u", "-i", "-n", "-p", "-C", *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if check and done.returncode:
            raise AssertionError(f"{shlex.join(command)}: status {done.returncode}\n{done.stdout}")
        return done.stdout if check or not done.returncode else None

    def out(self, *command: str) -> str:
        """What a command prints, whatever its status is."""
        return self.run("sh", "-c", f"{shlex.join(command)}; true") or ""

    def sh(self, script: str) -> str:
        """The output of a shell script that must succeed."""
        return self.run("sh", "-ec", script) or ""

    def apt(self, *arguments: str) -> str:
        """apt-get, without questions."""
        return self.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", *arguments) or ""

    def add(self, package: Path) -> str:
        """Copy a package into the machine; its path there."""
        shutil.copy(package, self.root / "root")
        return f"/root/{package.name}"

    def drop_in(self, unit: str, text: str) -> None:
        """What ``systemctl edit`` would leave, until the next boot."""
        folder = f"/run/systemd/system/{unit}.d"
        self.sh(f"mkdir -p {folder}; cat >{folder}/test.conf <<'EOF'\n{text}\nEOF\nsystemctl daemon-reload")

    # -- the agent ---------------------------------------------------------------------------------

    def show(self, name: str, unit: str = UNIT) -> str:
        """One property of a unit."""
        return self.out("systemctl", "show", "--value", "-p", name, unit).strip()

    @property
    def active(self) -> bool:
        """Whether the service has said READY and still runs."""
        return self.show("ActiveState") == "active"

    @property
    def pid(self) -> int:
        """The main process, as seen inside; 0 if there is none."""
        return int(self.show("MainPID") or 0)

    @property
    def status(self) -> str:
        """What the agent says of itself in ``systemctl status``."""
        return self.show("StatusText")

    def well(self) -> bool:
        """Whether the agent has a netifyd and a Redis."""
        return self.active and self.status.startswith("netifyd connected")

    def get(self, path: str) -> Any:
        """The API's answer; None where there is none."""
        body = self.run("curl", "-sf", "--max-time", "10", f"http://127.0.0.1:7000{path}", check=False)
        return None if body is None else json.loads(body)

    def journal(self, since: str, unit: str = UNIT) -> list[dict[str, Any]]:
        """The unit's own lines since a cursor."""
        # Not filtered by journalctl: that of Debian 12 then skips the first line after a cursor.
        lines = self.out("journalctl", "-o", "json", "-q", "--after-cursor", since)
        entries = [json.loads(line) for line in lines.splitlines()]
        return [entry for entry in entries if entry.get("_SYSTEMD_UNIT") == unit]

    def cursor(self) -> str:
        """The journal's end."""
        lines = self.out("journalctl", "-q", "-n", "0", "--show-cursor")
        return lines.rpartition("-- cursor: ")[2].strip()

    def said(self, since: str, text: str, priority: int) -> bool:
        """Whether a line of the agent since a cursor holds ``text``, at ``priority``."""
        return any(
            text in str(line["MESSAGE"]) and int(line["PRIORITY"]) == priority for line in self.journal(since)
        )

    # -- netifyd -----------------------------------------------------------------------------------

    def stream(self, options: str) -> None:
        """(Re)start netifyd with these options of the simulator."""
        (self.root / "opt/netifyd/options").write_text(f"OPTIONS={options}\n")
        (self.root / "opt/netifyd/wanted").touch()
        self.run("systemctl", "restart", "netifyd")

    def silence(self) -> None:
        """Stop netifyd, and keep it from being started: the agent's unit wants it."""
        (self.root / "opt/netifyd/wanted").unlink(missing_ok=True)
        self.run("systemctl", "stop", "netifyd")

    def finite_stream(self, seed: int) -> dict[str, Any]:
        """Half an hour of a network, as fast as the agent reads; its truth once all is sent."""
        truth = self.root / "opt/netifyd/truth.json"
        truth.unlink(missing_ok=True)
        self.stream(f"--seed {seed} --hours 0.5 --speed max")
        eventually(lambda: self.show("ActiveState", "netifyd") == "inactive", "the stream ends", 120)
        self.silence()
        return totals_of_truth(json.loads(truth.read_text()))

    def totals(self) -> dict[str, dict[str, int]]:
        """The rows of ``GET /``, see :func:`totals_of`."""
        network = self.get("/")
        assert network is not None
        return totals_of(network)


def _control_groups() -> Path:
    """Where the unified hierarchy is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise AssertionError("this system has no cgroup2 mounted")


def totals_of(network: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Each row of an answer to ``GET /``, named as :func:`totals_of_truth` names them."""
    rows = {"": network["totals"]}
    for device in network["devices"]:
        name = device["mac"] or device["ip"]
        rows[name] = device
        for application in device["applications"]:
            rows[f"{name} {application['tag']}"] = application
    return _counted(rows)


def totals_of_truth(truth: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The gateway's row as '', each device's, each application's of a device; without those of nothing."""
    return _counted({"": truth["gateway"], **truth["devices"], **truth["applications"]})


def plus(one: dict[str, dict[str, int]], other: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """The sum of two streams."""
    return {
        key: {name: one.get(key, {}).get(name, 0) + other.get(key, {}).get(name, 0) for name in ROWS}
        for key in one.keys() | other.keys()
    }


def _counted(rows: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    counted = {key: {name: row[name] for name in ROWS} for key, row in rows.items()}
    return {key: row for key, row in counted.items() if any(row.values())}


def eventually(condition: Callable[[], Any], what: str, patience_s: float = WAIT_S) -> Any:
    """The first true value of ``condition``; an assertion error if there is none in time."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"never happened: {what}")
