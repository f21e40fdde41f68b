"""The package's life: upgrade, removal, another installation, purge.

The tests of this file share one machine and run in their order.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from machine import PACKAGE, UNIT, Machine, eventually

CONFIG = Path("etc/netify-agent.yaml")
PREVIOUS = Path(os.environ.get("NETIFY_AGENT_PREVIOUS", ""))  # 0.1.0, built from its own tree
_NEEDS_PREVIOUS = pytest.mark.skipif(not PREVIOUS.name, reason="version 0.1.0 could not be built")
META = "netify:{gateway}:meta"  # the host name is the gateway's name
# What every system writes of its own, and what netifyd, Redis and the tests write.
_LIVE = (
    *("/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/opt", "/var/tmp", "/var/log", "/var/cache"),
    *("/var/lib/redis", "/var/lib/apt", "/var/lib/systemd/timers", "/var/lib/systemd/random-seed"),
)
_STATE = "/var/lib/dpkg/(status|status-old|diversions-old|available|lock.*|triggers/.*|info)"


def repacked(package: Path, path: Path, name: str, pattern: str, text: str) -> Path:
    """A copy of ``package`` at ``path``, in which ``text`` replaces ``pattern`` in the file ``name``."""
    tree = path / "tree"
    subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True)
    file = tree / name
    changed, count = re.subn(f"(?m){pattern}", text, file.read_text())
    assert count == 1
    file.write_text(changed)
    copy = path / "netify-agent_repacked_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(copy)], check=True)
    return copy


def version_of(package: Path) -> str:
    """The version in a package's control data."""
    done = subprocess.run(["dpkg-deb", "-f", str(package), "Version"], check=True, capture_output=True)
    return done.stdout.decode().strip()


def installed(machine: Machine) -> str:
    """State and version of the package, as dpkg knows them."""
    return machine.out("dpkg-query", "-W", "-f", "${Status} ${Version}", "netify-agent")


def files(machine: Machine) -> set[str]:
    """Every path with type, mode and owner; what lies in /etc with its content too."""
    prune = " -o ".join(f"-path {path}" for path in _LIVE)
    listed = machine.sh(f"find / \\( {prune} \\) -prune -o -printf '%p %y %m %u %g %l\\n'")
    listed += machine.sh("find /etc -type f -exec sha256sum {} +")
    noise = re.compile(rf" ?{_STATE} |/__pycache__|/etc/(passwd|group|shadow|gshadow)-|/etc/\.pwd\.lock")
    return {line for line in listed.splitlines() if not noise.search(line)}


def test_purge_leaves_nothing_behind(machine: Machine) -> None:
    depends = machine.sh(
        f"dpkg-deb -f {machine.add(PACKAGE)} Depends Recommends | sed 's/^[A-Za-z]*://' | tr ',' '\\n' |"
        "sed 's/|.*//; s/(.*//; s/:any//' | xargs"
    )
    machine.apt("install", *depends.split())
    before = files(machine)
    socket = machine.out("getfacl", "-p", "/run/netifyd/netifyd.sock")
    machine.apt("install", machine.add(PACKAGE))
    eventually(machine.well, "it works")
    assert machine.out("getfacl", "-p", "/run/netifyd/netifyd.sock") != socket
    machine.apt("purge", "netify-agent")
    after = files(machine)
    assert after - before == set()
    assert before - after == set()
    assert machine.out("getfacl", "-p", "/run/netifyd/netifyd.sock") == socket
    assert machine.out("getent", "passwd", "netify-agent") == ""
    assert machine.out("getent", "group", "netify-agent") == ""
    for unit in (UNIT, "netify-agent-socket.service", "netify-agent-socket.path"):
        assert machine.show("LoadState", unit) == "not-found"


@_NEEDS_PREVIOUS
def test_an_upgrade_from_0_1_0_keeps_the_counters_and_an_edited_configuration(
    machine: Machine, tmp_path: Path
) -> None:
    # With another comment in the file that 0.1.0 brings, dpkg has to choose between it and the edited one.
    previous = repacked(PREVIOUS, tmp_path, str(CONFIG), r"\A", "# As 0.1.0 brought it.\n")
    machine.run("redis-cli", "flushall")  # a purge keeps the counters, and 0.1.0 refuses their schema
    machine.apt("install", machine.add(previous))
    assert machine.out("netify-agent", "version").strip() == "netify-agent 0.1.0"
    config = machine.root / CONFIG
    config.write_text(re.sub("(?m)^interval: .*$", "interval: 2", config.read_text()))
    machine.run("chmod", "0644", "/" + str(CONFIG))
    machine.run("systemctl", "reload", UNIT)
    counted = eventually(lambda: (machine.get("/") or {}).get("totals", {}).get("bytes_down"), "it counts")
    assert machine.out("redis-cli", "hget", META, "schema").strip() == "2"
    pid, edited = machine.pid, config.read_text()
    upgrade = machine.apt("install", "-o", "Dpkg::Options::=--force-confold", machine.add(PACKAGE))
    assert "downgrad" not in upgrade
    assert machine.out("netify-agent", "version").strip() == f"netify-agent {version_of(PACKAGE)}"
    assert machine.pid not in (0, pid)
    eventually(machine.well, "the new version works")
    assert config.read_text() == edited
    assert "As 0.1.0" not in config.with_name(f"{config.name}.dpkg-dist").read_text()
    assert machine.out("stat", "-c", "%a", "/" + str(CONFIG)).strip() == "644"
    assert machine.get("/")["totals"]["bytes_down"] >= counted
    assert machine.get("/status")["interval"] == 2


@_NEEDS_PREVIOUS
def test_0_1_0_refuses_the_store_of_a_newer_schema(machine: Machine) -> None:
    # 0.1.0 has no preinst that could refuse it; its service does.
    machine.sh(f"systemctl stop {UNIT}; redis-cli hset '{META}' schema 99")
    before = machine.out("redis-cli", "hgetall", META)
    since = machine.cursor()
    machine.run("dpkg", "-i", "--force-confold", machine.add(PREVIOUS))
    eventually(lambda: machine.said(since, "is of schema 99", 3), "the journal says what is wrong")
    assert machine.out("redis-cli", "hgetall", META) == before
    machine.sh(f"systemctl stop {UNIT}; redis-cli hset '{META}' schema 2")
    machine.apt("install", "-o", "Dpkg::Options::=--force-confold", machine.add(PACKAGE))
    eventually(machine.well, "the new version works")


def test_an_older_version_is_refused_while_a_newer_one_is_installed(machine: Machine, tmp_path: Path) -> None:
    newer = repacked(PACKAGE, tmp_path, "DEBIAN/control", "^Version: .*$", "Version: 99.0")
    machine.apt("install", machine.add(newer))
    package = machine.add(PACKAGE)
    edited = (machine.root / CONFIG).read_text()
    counted = eventually(lambda: (machine.get("/") or {}).get("totals", {}).get("bytes_down"), "it counts")
    refusal = machine.out("dpkg", "-i", package)
    assert f"The installation of {version_of(PACKAGE)} is refused" in refusal
    assert installed(machine) == "install ok installed 99.0"
    eventually(machine.well, "the newer version still works")
    # The way back that the refusal names.
    assert "apt remove netify-agent" in refusal
    machine.apt("remove", "netify-agent")
    machine.run("dpkg", "-i", package)
    assert installed(machine) == f"install ok installed {version_of(PACKAGE)}"
    eventually(machine.well, "the older version works")
    assert (machine.root / CONFIG).read_text() == edited
    assert machine.get("/")["totals"]["bytes_down"] >= counted


def test_remove_keeps_the_configuration_and_a_reinstallation_works(machine: Machine) -> None:
    edited = (machine.root / CONFIG).read_text()
    machine.apt("remove", "netify-agent")
    assert (machine.root / CONFIG).read_text() == edited
    assert machine.get("/healthz") is None
    assert machine.out("getfacl", "-pc", "/run/netifyd/netifyd.sock").count("user:") == 1
    machine.apt("install", machine.add(PACKAGE))
    eventually(machine.well, "it works again")
    assert (machine.root / CONFIG).read_text() == edited
    assert machine.get("/status")["interval"] == 2


def test_a_socket_elsewhere_is_opened_as_the_manual_says(machine: Machine) -> None:
    machine.drop_in("netifyd.service", "[Service]\nEnvironment=SOCKET=/run/netifyd/other.sock")
    machine.drop_in("netify-agent-socket.path", "[Path]\nPathChanged=\nPathChanged=/run/netifyd/other.sock")
    machine.drop_in(
        "netify-agent-socket.service", "[Service]\nEnvironment=NETIFYD_SOCKET=/run/netifyd/other.sock"
    )
    machine.run("systemctl", "restart", "netify-agent-socket.path")
    config = machine.root / CONFIG
    config.write_text(config.read_text().replace("/var/run/netifyd/netifyd.sock", "/run/netifyd/other.sock"))
    machine.run("systemctl", "reload", UNIT)
    machine.run("systemctl", "restart", "netifyd")
    eventually(machine.well, "connected to the other socket")
    assert machine.get("/status")["listeners"][0]["endpoint"] == "unix:///run/netifyd/other.sock"


def test_a_password_of_redis_can_be_a_credential(machine: Machine) -> None:
    machine.sh("redis-cli config set requirepass 'open sesame'; systemctl restart netify-agent")
    eventually(lambda: "requires a password" in machine.status, "the status says what is missing")
    machine.sh("echo 'open sesame' >/etc/redis-password; chmod 600 /etc/redis-password")
    machine.drop_in(UNIT, "[Service]\nLoadCredential=redis-password:/etc/redis-password")
    config = machine.root / CONFIG
    credential = "/run/credentials/netify-agent.service/redis-password"
    config.write_text(config.read_text().replace("password_file: null", f"password_file: {credential}"))
    machine.run("systemctl", "restart", UNIT)
    eventually(machine.well, "Redis takes the password")
    assert "sesame" not in machine.out("journalctl", "--no-pager", "-u", UNIT)


def test_tokens_and_a_certificate_can_be_credentials(machine: Machine) -> None:
    machine.sh(
        "cd /etc; umask 077; openssl rand -hex 32 >tokens; openssl req -x509 -newkey rsa:2048 -nodes -days 2"
        " -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout gw.key -out gw.pem"
    )
    machine.drop_in(
        UNIT,
        "[Service]\nLoadCredential=redis-password:/etc/redis-password\nLoadCredential=tokens:/etc/tokens\n"
        "LoadCredential=tls-certificate:/etc/gw.pem\nLoadCredential=tls-key:/etc/gw.key",
    )
    config = machine.root / CONFIG
    text = config.read_text()
    for key in ("certificate", "key"):
        path = f"/run/credentials/netify-agent.service/tls-{key}"
        rest, web, section = text.partition("\nweb:\n")  # redis.tls has the same keys
        text = rest + web + section.replace(f"    {key}: null", f"    {key}: {path}", 1)
    config.write_text(text)
    machine.run("systemctl", "restart", UNIT)
    ask = "curl -s --cacert /etc/gw.pem -o /dev/null -w '%{http_code}' https://localhost:7000/status"
    eventually(lambda: machine.sh(f"{ask} || true") == "401", "it speaks HTTPS and asks for a token")
    assert machine.sh(f'{ask} -H "Authorization: Bearer $(cat /etc/tokens)"') == "200"
    credentials = "CREDENTIALS_DIRECTORY=/run/credentials/netify-agent.service"
    assert "HTTPS, 1 token from" in machine.sh(f"{credentials} netify-agent check")
    token = (machine.root / "etc/tokens").read_text().strip()
    assert token not in machine.out("journalctl", "--no-pager", "-u", UNIT)
