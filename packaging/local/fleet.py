#!/usr/bin/env python3
"""Runs a fleet on this machine, to try one: three simulated gateways and two collectors on a Redis Cluster.

Everything listens on loopback and stops with this process. All data is in .run/fleet, new at each start.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / ".run/fleet"
BASE = int(os.environ.get("FLEET_PORT", "7100"))  # of the ports; those of the cluster's bus are 10,000 higher
COLLECTORS = [BASE + 1, BASE + 2]
GATEWAYS = {f"branch-{number}": BASE + 10 + number for number in (1, 2, 3)}
NODES = [BASE + 20 + number for number in range(1, 7)]
HOST, SLOTS, MASTERS, WAIT_S = "127.0.0.1", 16384, 3, 60.0

children: list[tuple[str, subprocess.Popen[bytes]]] = []


def say(text: str) -> None:
    """Print one line."""
    print(f"make fleet: {text}", flush=True)


def child(name: str, *command: object) -> None:
    """Start a process with its log in .run/fleet. It ends when this process does."""
    with (RUN / f"{name}.log").open("ab") as log:
        words = ["setpriv", "--pdeathsig", "TERM", *(str(word) for word in command)]
        children.append((name, subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)))


def eventually(condition: Callable[[], Any], what: str) -> None:
    """Wait until ``condition`` is true. Exits if that takes too long, or if a process has ended."""
    end = time.monotonic() + WAIT_S
    while not condition():
        fail_if_one_ended()
        if time.monotonic() > end:
            sys.exit(f"make fleet: not within {WAIT_S:.0f} s: {what}; the logs are in .run/fleet")
        time.sleep(0.1)


def fail_if_one_ended() -> None:
    """Exit if a process has ended."""
    for name, process in children:
        if process.poll() is not None:
            sys.exit(f"make fleet: {name} ended with status {process.returncode}, see .run/fleet/{name}.log")


def end_all() -> None:
    """Stop the processes, the youngest first: the last flush of an agent needs its Redis."""
    for name, process in reversed(children):
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            say(f"{name} did not end in 20 seconds, killing it")
            process.kill()
            process.wait()


def answers(client: redis.Redis) -> bool:
    """Whether a Redis answers."""
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def start_cluster() -> None:
    """Three masters with a replica each, on new data."""
    clients = [redis.Redis(HOST, port, decode_responses=True) for port in NODES]
    for port in NODES:
        (RUN / f"node-{port}").mkdir()
        options = ("--bind", HOST, "--cluster-enabled", "yes", "--save", "", "--dir", RUN / f"node-{port}")
        child(f"node-{port}", "redis-server", "--port", port, *options)
    for client in clients:
        eventually(lambda client=client: answers(client), "the nodes answer")
    for index, client in enumerate(clients[:MASTERS]):
        first, last = SLOTS * index // MASTERS, SLOTS * (index + 1) // MASTERS - 1
        client.execute_command("CLUSTER", "ADDSLOTS", *range(first, last + 1))
        client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
    for client in clients[1:]:
        client.execute_command("CLUSTER", "MEET", HOST, NODES[0])
    for client in clients:
        eventually(lambda client=client: info(client, "cluster_known_nodes") == str(len(NODES)), "they meet")
    for master, replica in zip(clients[:MASTERS], clients[MASTERS:], strict=True):
        replica.execute_command("CLUSTER", "REPLICATE", master.execute_command("CLUSTER", "MYID"))
    for client in clients:
        eventually(lambda client=client: info(client, "cluster_state") == "ok", "the cluster works")


def info(client: redis.Redis, name: str) -> str | None:
    """A field of CLUSTER INFO. Some versions of redis-py read it, others leave it a text."""
    reply = client.execute_command("CLUSTER", "INFO")
    if isinstance(reply, dict):
        return str(reply.get(name))
    return dict(line.split(":", 1) for line in reply.splitlines() if ":" in line).get(name)


def start_collectors(tokens: dict[str, str], reader: str) -> None:
    """Two collectors that share the cluster."""
    lines = [f"{name} {hashlib.sha256(token.encode()).hexdigest()}\n" for name, token in tokens.items()]
    (RUN / "gateways").write_text("".join(lines))
    (RUN / "readers").write_text(f"{hashlib.sha256(reader.encode()).hexdigest()}\n")
    places = ",".join(f"{HOST}:{port}" for port in NODES[:MASTERS])
    for port in COLLECTORS:
        settings = {
            "redis": {"url": f"redis+cluster://{places}"},
            "web": {"listen": f"{HOST}:{port}"},
            "gateways_file": str(RUN / "gateways"),
            "readers_file": str(RUN / "readers"),
        }
        run_agent(f"collector-{port}", "collect", settings)


def start_gateways(tokens: dict[str, str], sockets: Path) -> None:
    """For each gateway a simulated netifyd and an agent; the agents share a Redis."""
    store = sockets / "redis.sock"
    child("redis", "redis-server", "--port", 0, "--unixsocket", store, "--save", "", "--dir", RUN)
    for number, (name, port) in enumerate(GATEWAYS.items(), 1):
        endpoint = f"unix://{sockets}/{name}.sock"
        netify_agent = ROOT / ".venv/bin/netify-agent"
        options = ("--devices", 10 * number, "--seed", number)
        child(f"netifyd-of-{name}", netify_agent, "simulate", "--listen", endpoint, *options)
        token_file = RUN / f"token-of-{name}"
        token_file.write_text(tokens[name])
        token_file.chmod(0o600)
        collector = f"http://{HOST}:{COLLECTORS[number % len(COLLECTORS)]}"
        settings = {
            "gateway": name,
            "interval": 5,
            "netifyd": {"endpoints": [endpoint]},
            "redis": {"url": f"unix://{store}?db=0"},
            "web": {"listen": f"{HOST}:{port}"},
            "fleet": {"url": collector, "token_file": str(token_file), "interval": 10},
        }
        run_agent(name, "run", settings)


def run_agent(name: str, command: str, settings: dict[str, Any]) -> None:
    """Start netify-agent with ``settings``."""
    path = RUN / f"{name}.yaml"
    path.write_text(json.dumps(settings))  # JSON is YAML
    child(name, ROOT / ".venv/bin/netify-agent", command, "--config", path)


def copied(reader: str) -> set[str]:
    """The gateways that a collector has heard from."""
    try:
        connection = http.client.HTTPConnection(HOST, COLLECTORS[0], timeout=5)
        connection.request("GET", "/gateways", headers={"Authorization": f"Bearer {reader}"})
        rows = json.loads(connection.getresponse().read())["gateways"]
        connection.close()
    except (OSError, ValueError, KeyError):
        return set()
    return {row["gateway"] for row in rows if row["last_contact"] is not None}


def main() -> None:
    """Run until SIGINT or SIGTERM, or until a process ends."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    RUN.parent.mkdir(exist_ok=True)
    lock = (RUN.parent / "fleet.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("make fleet: already running in this checkout")
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(mode=0o700)
    tokens = {name: secrets.token_hex(32) for name in GATEWAYS}
    reader = secrets.token_hex(32)
    (RUN / "token").write_text(reader + "\n")
    sockets = Path(tempfile.mkdtemp(prefix="netify-agent."))  # their paths may have 107 bytes at most
    try:
        say("starting a Redis Cluster of three masters and three replicas")
        start_cluster()
        say("starting two collectors, and three simulated gateways that forward to them")
        start_collectors(tokens, reader)
        start_gateways(tokens, sockets)
        eventually(lambda: copied(reader) == set(GATEWAYS), "each gateway is at the collector")
        say("all three gateways have forwarded. Collectors (sign in with .run/fleet/token):")
        for port in COLLECTORS:
            say(f"  http://{HOST}:{port}/ui/")
            say(f'  curl -H "Authorization: Bearer $(cat .run/fleet/token)" http://{HOST}:{port}/gateways')
        places = ", ".join(f"http://{HOST}:{port}/" for port in GATEWAYS.values())
        say(f"the gateways themselves: {places}")
        say("Ctrl-C stops everything")
        while True:
            fail_if_one_ended()
            time.sleep(1)
    except KeyboardInterrupt:
        pass
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        end_all()
        shutil.rmtree(sockets)
        say("stopped")


if __name__ == "__main__":
    main()
