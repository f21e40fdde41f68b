"""The service on a running gateway: what its owner sees, does to it, and what befalls it.

The tests of this file share one machine and run in their order.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from machine import PACKAGE, UNIT, Machine, eventually, plus
from unit_files import documented_directives

SOCKET = "/run/netifyd/netifyd.sock"
CONFIG = Path("etc/netify-agent.yaml")
# A hook that exists in this test only: the listener never comes back from connecting.
_WEDGE = """
import os, time
from netify_agent.netifyd import listener

connect = listener._connect

def wedged(endpoint):
    while os.path.exists(f"/etc/wedge.{os.getpid()}"):
        time.sleep(0.1)
    return connect(endpoint)

listener._connect = wedged
"""


# A receiver of notifications on the gateway: it appends their headers and bodies to a file.
_RECEIVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open("/opt/told", "ab") as file:
            file.write(self.headers["Authorization"].encode() + b" " + body + b"\\n")
        self.send_response(200)
        self.end_headers()

HTTPServer(("127.0.0.1", 8099), Receiver).serve_forever()
"""


def resolve(machine: Machine) -> dict[str, dict[str, int]]:
    """The totals, once two flushes have gone by and they do not change."""
    before = machine.totals()
    while True:
        time.sleep(2.5)
        after = machine.totals()
        if after == before:
            return after
        before = after


def unknown_in(complaint: str) -> str:
    """What a line of ``systemd-analyze verify`` calls unknown; the line itself if it says something else."""
    if key := re.search(r"Unknown key(?: name)? '(\w+)' in section", complaint):
        return key[1]
    if family := re.search(r"Failed to parse address family, ignoring: (\w+)", complaint):
        return f"RestrictAddressFamilies={family[1]}"
    return complaint


def test_apt_install_gives_a_service_that_is_active_connected_and_answers(
    machine: Machine, figures: dict[str, str]
) -> None:
    socket = eventually(lambda: machine.run("stat", "-c", "%A %U %G", SOCKET, check=False), "a socket")
    assert socket.strip() == "srwxr-xr-x root root"
    machine.apt("install", machine.add(PACKAGE))
    eventually(machine.well, "the agent has a netifyd and a Redis")
    assert "Status:" in machine.out("systemctl", "status", UNIT)
    eventually(lambda: machine.get("/")["totals"]["bytes_down"], "/ fills")
    assert any(device["applications"] for device in machine.get("/")["devices"])
    assert machine.show("User") == "netify-agent"
    assert not re.search(
        "(?m)^Cap(Eff|Prm|Amb|Bnd):\t0*[1-9a-f]", machine.sh(f"cat /proc/{machine.pid}/status")
    )
    assert machine.out("systemctl", "--failed", "--no-legend").strip() == ""
    installed = machine.sh("dpkg-query -W -f '${Installed-Size}' netify-agent")
    figures["package"] = f"{PACKAGE.stat().st_size} bytes, installed {installed} KiB"


def test_the_configuration_is_not_for_everybody_and_the_service_can_read_it(machine: Machine) -> None:
    assert machine.out("stat", "-c", "%a %U %G", "/" + str(CONFIG)).strip() == "640 root netify-agent"


def test_manuals_are_there(machine: Machine) -> None:
    for page in ("man8/netify-agent.8.gz", "man5/netify-agent.yaml.5.gz", "man5/netify-collector.yaml.5.gz"):
        machine.run("gzip", "-t", f"/usr/share/man/{page}")


def test_the_exposure_is_low_and_the_units_are_right(machine: Machine, figures: dict[str, str]) -> None:
    for unit in (UNIT, "netify-agent-socket.service"):
        text = machine.out("systemd-analyze", "--no-pager", "security", unit)
        exposure = float(text.rpartition("level for")[2].split(":")[1].split()[0])
        figures[f"exposure of {unit}"] = str(exposure)
        assert exposure <= 1.2
    units = (
        *(UNIT, "netify-agent-socket.service", "netify-agent-socket.path"),
        "netify-collector.service",
    )
    said = [machine.out("systemd-analyze", "--man=no", "verify", unit) for unit in units]
    complaints = [line for line in "".join(said).splitlines() if "netify-" in line]
    # The table of docs/packaging.md is right for this version of systemd: all else is known to it.
    version = int(machine.out("systemctl", "--version").split()[1])
    newer = {name for name, since in documented_directives().items() if since > version}
    assert {unknown_in(line) for line in complaints} == newer


def test_start_stop_restart_reload(machine: Machine, figures: dict[str, str]) -> None:
    machine.run("systemctl", "stop", UNIT)
    assert machine.show("Result") == "success"
    assert machine.get("/healthz") is None
    started = time.monotonic()
    machine.run("systemctl", "start", UNIT)
    figures["start to READY"] = f"{time.monotonic() - started:.2f} s"
    assert machine.active
    machine.run("systemctl", "restart", UNIT)
    assert machine.active
    config = machine.root / CONFIG
    config.write_text(re.sub("(?m)^interval: .*$", "interval: 1", config.read_text()))
    pid = machine.pid
    machine.run("systemctl", "reload", UNIT)
    eventually(lambda: machine.get("/status")["interval"] == 1, "the reload is done")
    assert machine.pid == pid
    eventually(machine.well, "all is well after a reload")


def test_the_hardened_service_reaches_its_receivers(machine: Machine, figures: dict[str, str]) -> None:
    config = machine.root / CONFIG
    right = config.read_text()
    (machine.root / "opt/receiver.py").write_text(_RECEIVER)
    hosts = machine.root / "etc/hosts"  # the machine has no DNS, so this also shows that names are looked up
    hosts.write_text((hosts.read_text() if hosts.exists() else "") + "127.0.0.1 receiver.example\n")
    (machine.root / "opt/token").write_text("t0k3n\n")
    (machine.root / "opt/token").chmod(0o600)  # systemd alone reads it
    rule = "gone: {kind: silent, device: '02:00:00:00:00:99', for: 1m}"
    hook = "hook: {type: webhook, url: 'http://receiver.example:8099/'}"
    alerts = re.sub("(?m)^alerts: .*$", f"alerts: {{{rule}}}", right)
    config.write_text(re.sub("(?m)^notify: .*$", f"notify: {{{hook}}}", alerts))
    try:
        machine.sh("systemd-run --quiet --unit=receiver /usr/bin/python3 /opt/receiver.py")
        machine.drop_in(UNIT, "[Service]\nLoadCredential=notify-hook-token:/opt/token")
        machine.run("systemctl", "restart", UNIT)
        told = machine.root / "opt/told"
        eventually(lambda: told.exists() and '"gone"' in told.read_text(), "the receiver is told", 120)
        assert told.read_text().startswith("Bearer t0k3n {")
        text = machine.out("systemd-analyze", "--no-pager", "security", UNIT)
        exposure = float(text.rpartition("level for")[2].split(":")[1].split()[0])
        figures[f"exposure of {UNIT} with receivers"] = str(exposure)
        assert exposure <= 1.2
    finally:
        config.write_text(right)
        machine.sh(f"rm -rf /run/systemd/system/{UNIT}.d; systemctl daemon-reload; systemctl restart {UNIT}")
        machine.sh("systemctl stop receiver")
    eventually(machine.well, "all is well without them")


def test_a_broken_configuration_keeps_the_old_at_reload_and_fails_clearly_at_start(machine: Machine) -> None:
    config = machine.root / CONFIG
    right = config.read_text()
    try:
        config.write_text(right + "\nintervall: 5\n")
        cursor = machine.cursor()
        machine.run("systemctl", "reload", UNIT)
        eventually(lambda: machine.said(cursor, "reload refused", 3), "the reload is refused")
        assert machine.said(cursor, "intervall", 3)
        assert machine.active and machine.get("/status")["interval"] == 1
        cursor = machine.cursor()
        machine.run("systemctl", "restart", UNIT, check=False)
        eventually(lambda: machine.show("ActiveState") == "failed", "the unit has failed")
        time.sleep(7)  # longer than RestartSec
        assert machine.show("ActiveState") == "failed"
        assert machine.show("ExecMainStatus") == "78"
        assert [line for line in machine.journal(cursor) if "intervall" in str(line["MESSAGE"])]
        assert machine.said(cursor, "/etc/netify-agent.yaml:", 3)
    finally:
        config.write_text(right)
    machine.run("systemctl", "start", UNIT)
    eventually(machine.well, "all is well with the right configuration")


def test_a_steady_state_logs_nothing_and_takes_little(machine: Machine, figures: dict[str, str]) -> None:
    time.sleep(3)
    cursor, pid = machine.cursor(), machine.pid

    def cpu_s() -> float:
        fields = machine.sh(f"cat /proc/{pid}/stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu_s()
    time.sleep(60)
    figures["CPU in a minute (20 simulated devices, interval 1 s)"] = f"{cpu_s() - before:.2f} s"
    memory = re.search(r"VmRSS:\s*(\d+) kB", machine.sh(f"cat /proc/{pid}/status"))
    assert memory
    figures["resident memory"] = f"{int(memory[1]) / 1024:.1f} MiB"
    assert [line["MESSAGE"] for line in machine.journal(cursor)] == []


def test_a_reboot_brings_all_of_it_back_with_the_counters(machine: Machine) -> None:
    machine.silence()
    before = resolve(machine)
    machine.reboot()
    eventually(lambda: machine.totals() == before, "the counters are back")
    machine.stream("--seed 1")
    eventually(machine.well, "all is well after a reboot")
    eventually(lambda: machine.totals() != before, "it counts on")
    after = machine.totals()
    assert all(after[key]["bytes_down"] >= row["bytes_down"] for key, row in before.items())


def test_the_agent_connects_to_each_new_netifyd(machine: Machine) -> None:
    for disturb in ("systemctl restart netifyd", "systemctl kill -s KILL netifyd"):
        cursor, restarts = machine.cursor(), machine.show("ExecMainStartTimestampMonotonic", "netifyd")
        machine.sh(disturb)
        eventually(
            lambda restarts=restarts: machine.show("ExecMainStartTimestampMonotonic", "netifyd") != restarts,
            "a new netifyd",
        )
        eventually(lambda cursor=cursor: machine.said(cursor, "connected to netifyd", 6), disturb)
        eventually(machine.well, disturb)
    assert machine.show("NRestarts") == "0"


def test_a_netifyd_that_comes_long_after_boot_is_found(machine: Machine) -> None:
    machine.silence()
    machine.reboot()
    assert machine.active
    eventually(lambda: "no such socket: is netifyd running?" in machine.status, "the status says so")
    time.sleep(20)  # past the longest wait between attempts
    cursor = machine.cursor()
    machine.stream("--seed 1")
    eventually(lambda: machine.said(cursor, "connected to netifyd", 6), "connected")
    eventually(machine.well, "all is well")


@pytest.fixture(scope="module")
def truth(machine: Machine) -> dict[str, dict[str, int]]:
    """What the agent must have counted: everything so far, then each finite stream in full."""
    machine.silence()
    # As docs/operations.md asks: without it a killed Redis falls back by minutes.
    machine.sh("redis-cli config set appendonly yes; redis-cli config rewrite")
    return resolve(machine)


def check(machine: Machine, truth: dict[str, dict[str, int]]) -> None:
    """The totals are right, to the byte."""
    eventually(lambda: machine.totals() == truth, "the totals are the truth", 30)


def test_a_whole_stream_is_counted_to_the_byte(machine: Machine, truth: dict[str, dict[str, int]]) -> None:
    truth.update(plus(truth, machine.finite_stream(11)))
    check(machine, truth)


def test_a_killed_agent_is_back_with_the_right_totals(
    machine: Machine, truth: dict[str, dict[str, int]]
) -> None:
    pid = machine.pid
    machine.run("systemctl", "kill", "-s", "KILL", UNIT)
    eventually(lambda: machine.active and machine.pid not in (0, pid), "a new agent")
    truth.update(plus(truth, machine.finite_stream(12)))
    check(machine, truth)


def test_a_stopped_agent_is_replaced_by_the_watchdog(
    machine: Machine, truth: dict[str, dict[str, int]]
) -> None:
    pid = machine.pid
    machine.sh(f"kill -STOP {pid}")
    eventually(lambda: machine.active and machine.pid not in (0, pid), "a new agent", 90)
    check(machine, truth)


def test_a_wedged_thread_is_replaced_by_the_watchdog(
    machine: Machine, truth: dict[str, dict[str, int]]
) -> None:
    (machine.root / "opt/hook").mkdir()
    (machine.root / "opt/hook/sitecustomize.py").write_text(_WEDGE)
    machine.drop_in(UNIT, "[Service]\nEnvironment=PYTHONPATH=/opt/hook")
    machine.run("systemctl", "restart", UNIT)
    pid, cursor = machine.pid, machine.cursor()
    machine.run("touch", f"/etc/wedge.{pid}")
    eventually(lambda: machine.active and machine.pid not in (0, pid), "a new agent", 240)
    assert machine.said(cursor, "no progress: listener", 3)
    assert any("in wedged" in str(line["MESSAGE"]) for line in machine.journal(cursor)), "where it was stuck"
    machine.sh(
        f"rm -r /etc/wedge.* /run/systemd/system/{UNIT}.d; systemctl daemon-reload; systemctl restart {UNIT}"
    )
    check(machine, truth)
    truth.update(plus(truth, machine.finite_stream(13)))
    check(machine, truth)


# How to take Redis away, what the status says then, how to give it back.
AWAY = {
    "stopped": ("systemctl stop redis-server", "refused", "systemctl start redis-server"),
    "full": (
        "redis-cli config set maxmemory 100kb; redis-cli config set maxmemory-policy noeviction",
        "maxmemory",
        "redis-cli config set maxmemory 0",
    ),
    "a read-only replica": (
        "redis-cli replicaof 127.0.0.1 6390",
        "read-only replica",
        "redis-cli replicaof no one",
    ),
}


@pytest.mark.parametrize("state", AWAY)
def test_nothing_is_lost_while_redis_is(
    machine: Machine, truth: dict[str, dict[str, int]], state: str
) -> None:
    take, says, give = AWAY[state]
    pid = machine.pid
    machine.sh(take)
    sent = machine.finite_stream(20 + list(AWAY).index(state))
    eventually(lambda: says in machine.status, f"the status says {says!r}: {machine.status}")
    assert machine.active
    machine.sh(give)
    truth.update(plus(truth, sent))
    check(machine, truth)
    assert machine.pid == pid


def test_a_restarted_and_a_killed_redis_change_nothing(
    machine: Machine, truth: dict[str, dict[str, int]]
) -> None:
    pid = machine.pid
    for seed, disturb in enumerate(("restart redis-server", "kill -s KILL redis-server"), 31):
        machine.sh(f"systemctl {disturb}")
        eventually(lambda: machine.out("redis-cli", "ping").strip() == "PONG", "Redis is back")
        truth.update(plus(truth, machine.finite_stream(seed)))
        check(machine, truth)
    assert machine.pid == pid


def test_a_redis_that_is_absent_at_boot_is_found(machine: Machine, truth: dict[str, dict[str, int]]) -> None:
    machine.run("systemctl", "mask", "redis-server")
    machine.reboot()
    assert machine.active
    eventually(lambda: "refused" in machine.status, "the status says so")
    machine.run("systemctl", "unmask", "redis-server")
    sent = machine.finite_stream(40)
    machine.run("systemctl", "start", "redis-server")
    truth.update(plus(truth, sent))
    check(machine, truth)
