"""The faults: each strikes a running world, lets records go by, and heals what it broke.

What no one can see is decided here: records that are made while nobody is connected, or cut, are not
delivered; everything else is, and must be counted.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support import RedisServer, eventually
from world import World

from netify_agent.simulator.wire import frame
from netify_agent.store.client import connect

TEN_YEARS_MS = 10 * 365 * 86_400_000
LONG = os.environ.get("CHAOS_LONG") == "1"  # the longest forms: a line of 1 GiB, a Redis that hangs for 30 s
_TICK_S = 0.3

Fault = Callable[[World], None]
FAULTS: dict[str, Fault] = {}


class NotHere(Exception):
    """This machine can't do that to anyone; says why."""


def fault(name: str) -> Callable[[Fault], Fault]:
    """Register a fault under its name."""

    def add(function: Fault) -> Fault:
        FAULTS[name] = function
        return function

    return add


def traffic(world: World, seconds: float, most: int = 40) -> None:
    """Records go by, up to ``most`` at a time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        world.deliver(world.chance.randint(1, most))
        time.sleep(_TICK_S * world.chance.random())


# -- netifyd -----------------------------------------------------------------------------------------


@fault("netifyd drops the connection in the middle of a record")
def drop(world: World) -> None:
    for _ in range(3):
        world.deliver(world.chance.randint(1, 60))
        data = frame(world.next(), world.version)
        world.send(data[: world.chance.randrange(len(data))])
        world.drop()
        world.unseen(world.chance.randint(0, 60))
        world.connect()


@fault("netifyd sends garbage")
def garbage(world: World) -> None:
    for _ in range(5):
        world.deliver(world.chance.randint(1, 20))
        noise = world.chance.randbytes(world.chance.randint(1, 5000)).replace(b"{", b"")
        world.send(noise + b"\n")


@fault("netifyd sends a line without an end")
def long_line(world: World) -> None:
    piece = b"x" * (1 << 20)
    for _ in range(1024 if LONG else 16):
        world.send(piece)
        world.measure()
    world.send(b"\n")


@fault("netifyd restarts")
def restart(world: World) -> None:
    world.deliver(30)
    world.restart_netifyd()


@fault("netifyd repeats counters")
def replay(world: World) -> None:
    reached = world.deliver(150)
    for payload in world.chance.sample(reached, min(40, len(reached))):
        if b'"type":"flow_stats"' in payload or b'"type":"flow_purge"' in payload:
            world.send(frame(payload, world.version))


@fault("netifyd falls silent")
def silence(world: World) -> None:
    time.sleep(130 if LONG else 2)
    if LONG:  # the agent gave the connection up after 120 s
        world.connect()


@fault("netifyd floods")
def flood(world: World) -> None:
    world.deliver(4000)


@fault("netifyd's clock jumps ten years ahead")
def clock_ahead(world: World) -> None:
    world.shift_netifyd_clock(TEN_YEARS_MS)
    world.deliver(200)
    world.delivered.backward = True  # it may come back: what was born in between is from before then
    world.shift_netifyd_clock(-TEN_YEARS_MS)


@fault("netifyd's clock jumps ten years back")
def clock_back(world: World) -> None:
    world.shift_netifyd_clock(-TEN_YEARS_MS)


# -- Redis -------------------------------------------------------------------------------------------


@fault("Redis is killed")
def redis_killed(world: World) -> None:
    server = _redis(world)
    for _ in range(3):
        traffic(world, world.chance.random() * 1.5)
        server.kill()
        traffic(world, world.chance.random())
        server.start()


@fault("Redis hangs")
def redis_hangs(world: World) -> None:
    server = _redis(world)
    server.signal(signal.SIGSTOP)
    try:
        traffic(world, 30 if LONG else 2 + 5 * world.chance.random())
    finally:
        server.signal(signal.SIGCONT)


@fault("Redis' reply to EXEC is lost")
def reply_lost(world: World) -> None:
    _breaks(world, "swallow")


@fault("a flush is cut on its way to Redis")
def flush_cut(world: World) -> None:
    _breaks(world, "cut")


def _breaks(world: World, how: str) -> None:
    broken = world.proxy.broken
    for _ in range(2):
        world.proxy.break_next(how)
    end = time.monotonic() + 60
    while world.proxy.broken < broken + 2 and time.monotonic() < end:
        traffic(world, 0.3)
        world.revive()


@fault("Redis is out of memory")
def redis_full(world: World) -> None:
    with _configured(world, "maxmemory", "100kb", "0"):
        traffic(world, 2.5)


@fault("Redis is a read-only replica of nobody")
def redis_read_only(world: World) -> None:
    client = connect(_redis(world).url, None)
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        traffic(world, 2.5)
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")


@fault("Redis wants a password that the agent does not have")
def redis_password(world: World) -> None:
    client = connect(_redis(world).url, None)
    client.config_set("requirepass", "another")
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    try:
        traffic(world, 2.5)
    finally:
        client.config_set("requirepass", "")


@fault("Redis forgets everything")
def flush_all(world: World) -> None:
    traffic(world, 1)
    connect(_redis(world).url, None).flushall()
    world.delivered.forgetful = True  # unless all flushes were still at hand
    traffic(world, 1.5)


@fault("Redis closes its connections")
def client_kill(world: World) -> None:
    client = connect(_redis(world).url, None)
    for _ in range(10):
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        traffic(world, 0.3)


@fault("the disk of Redis' append-only file is full")
def redis_disk_full(world: World) -> None:
    if not world.own_disk or world.replica is not None:
        raise NotHere("it takes root, and a kernel that lets it mount a tmpfs")
    filler = world.redis.socket.parent / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        traffic(world, 3)
    finally:
        filler.unlink()


@fault("Redis fails over to its replica")
def failover(world: World) -> None:
    """The replica takes over behind the same address; what had not reached it yet is gone from the store."""
    if world.replica is not None:
        return
    old = world.redis
    port = _free_port()
    connect(old.url, None).config_set("port", str(port))
    folder = world.directory / "replica"
    folder.mkdir()
    replica = RedisServer(folder)
    replica.start()
    client = connect(replica.url, None)
    # Not as an option: when it is killed later it must come back as what it became.
    client.execute_command("REPLICAOF", "127.0.0.1", str(port))
    eventually(lambda: client.info("replication")["master_link_status"] == "up", "the replica is in step")
    traffic(world, 1.5)
    old.kill()
    traffic(world, 0.5)
    client.execute_command("REPLICAOF", "NO", "ONE")
    world.proxy.target = replica.socket
    world.replica = replica


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _redis(world: World) -> RedisServer:
    return world.replica or world.redis


@contextmanager
def _configured(world: World, name: str, value: str, back: str) -> Iterator[None]:
    client = connect(_redis(world).url, None)
    client.config_set(name, value)
    try:
        yield
    finally:
        client.config_set(name, back)


# -- the agent ---------------------------------------------------------------------------------------


@fault("the agent is killed")
def agent_killed(world: World) -> None:
    for _ in range(3):
        traffic(world, 1.5 * world.chance.random())
        world.daemon.signal(signal.SIGKILL)
        world.after_death()


@fault("the agent is stopped and goes on")
def agent_stopped(world: World) -> None:
    world.daemon.signal(signal.SIGSTOP)
    try:
        traffic(world, 1 + 2 * world.chance.random(), most=4)  # the socket's buffer must do
    finally:
        world.daemon.signal(signal.SIGCONT)


@fault("the agent is told to end during a flush")
def agent_ended(world: World) -> None:
    for _ in range(2):
        traffic(world, 1 + world.chance.random())
        world.daemon.signal(signal.SIGTERM)
        code = world.after_death()
        assert code == 0, f"SIGTERM ended with exit code {code}"


@fault("the agent runs out of file descriptors")
def no_files(world: World) -> None:
    assert world.daemon.process is not None
    pid = world.daemon.process.pid
    used = len(os.listdir(f"/proc/{pid}/fd"))
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 2, before[1]))
    try:
        with _connections(world, 30):
            connect(_redis(world).url, None).execute_command(
                "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"
            )
            traffic(world, 2)
    finally:
        if world.daemon.exited() is None:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    world.noisy = True  # waitress tells of connections that it can't accept


@fault("the agent gets no more memory")
def no_memory(world: World) -> None:
    assert world.daemon.process is not None
    pid = world.daemon.process.pid
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (size + (1 << 20), before[1]))
    world.noisy = True
    try:
        world.deliver(3000)
        traffic(world, 2)
    finally:
        if world.daemon.exited() is None:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_AS, before)
    world.revive()


@fault("the disk of the agent's log is full")
def log_full(world: World) -> None:
    traffic(world, 1.5)
    log = world.daemon.log
    world.daemon.log = Path("/dev/full")
    world.daemon.signal(signal.SIGKILL)
    world.after_death()
    _redis(world).kill()
    traffic(world, 1.5)
    _redis(world).start()
    world.daemon.signal(signal.SIGKILL)
    world.daemon.log = log
    world.after_death()


@fault("the agent's clock is stepped")
def wall_clock(world: World) -> None:
    # By less than an hour: later than that a flow that is over leaves Redis, and nobody can check it.
    for seconds in (3_000, -6_000, 3_000):
        if not world.step_clock(seconds):
            raise NotHere("it takes libfaketime")
        traffic(world, 1)


# -- clients -----------------------------------------------------------------------------------------


@contextmanager
def _connections(world: World, count: int) -> Iterator[list[socket.socket]]:
    made = []
    try:
        for _ in range(count):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", world.daemon.port))
            made.append(client)
        yield made
    finally:
        for client in made:
            client.close()


@fault("clients send their requests a byte at a time")
def slow_loris(world: World) -> None:
    with _connections(world, 200) as clients:
        for letter in b"GET / HTTP/1.1\r\n":
            for client in clients:
                with suppress(OSError):
                    client.send(bytes([letter]))
            world.deliver(10)
            time.sleep(0.05)
        assert world.daemon.get("/healthz")[0] == 200, "the API no longer answers others"


@fault("ten thousand clients connect and say nothing")
def crowd(world: World) -> None:
    limit = min(10_000 if LONG else 1_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    with _connections(world, limit):
        traffic(world, 2)
    eventually(lambda: world.daemon.get("/healthz")[0] == 200, "the API answers others again")


@fault("clients ask and take no answer")
def takers_of_nothing(world: World) -> None:
    with _connections(world, 50) as clients:
        time.sleep(0.2)
        for client in clients:
            with suppress(OSError):
                client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
        traffic(world, 2)
