"""Faults of Redis: it is gone, silent, full, forgetful, or another one."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faults import LONG, NotHere, fault, lasting, traffic
from support import RedisServer, eventually, free_port
from world import World

from netify_agent.store.client import Client, connect

_SILENCE_MS = 500  # so long Sentinel lets a master be silent


@contextmanager
def _down(world: World) -> Iterator[None]:
    server = world.server
    server.kill()
    try:
        yield
    finally:
        server.start()


@fault("Redis", "Redis is killed", _down)
def redis_killed(world: World) -> None:
    for _ in range(3):
        traffic(world, world.chance.random() * 1.5)
        with _down(world):
            traffic(world, world.chance.random())


@contextmanager
def _hanging(world: World) -> Iterator[None]:
    server = world.server
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


@fault("Redis", "Redis hangs", _hanging)
def redis_hangs(world: World) -> None:
    with _hanging(world):
        traffic(world, 30 if LONG else 2 + 5 * world.chance.random())


@fault("Redis", "Redis' reply to EXEC is lost")
def reply_lost(world: World) -> None:
    _breaks(world, "swallow")


@fault("Redis", "a flush is cut on its way to Redis")
def flush_cut(world: World) -> None:
    _breaks(world, "cut")


def _breaks(world: World, how: str) -> None:
    broken = world.proxy.broken
    for _ in range(2):
        world.proxy.break_next(how)

    def both_broken() -> bool:
        traffic(world, 0.3)
        world.revive()
        return world.proxy.broken >= broken + 2

    eventually(both_broken, "two flushes are broken")


@lasting("Redis", "Redis is out of memory")
@contextmanager
def redis_full(world: World) -> Iterator[None]:
    client = _client(world)
    client.config_set("maxmemory", "100kb")
    try:
        yield
    finally:
        client.config_set("maxmemory", "0")


@lasting("Redis", "Redis is a read-only replica of nobody")
@contextmanager
def redis_read_only(world: World) -> Iterator[None]:
    client = _client(world)
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")


@lasting("Redis", "Redis wants a password that the agent does not have")
@contextmanager
def redis_password(world: World) -> Iterator[None]:
    client = _client(world)
    client.config_set("requirepass", "another")
    close_connections(world, client)
    try:
        yield
    finally:
        client.config_set("requirepass", "")


@fault("Redis", "Redis forgets everything")
def flush_all(world: World) -> None:
    traffic(world, 1)
    _client(world).flushall()
    world.delivered.forgetful = True  # unless all flushes were still at hand
    traffic(world, 1.5)


@fault("Redis", "Redis closes its connections")
def client_kill(world: World) -> None:
    for _ in range(10):
        close_connections(world)
        traffic(world, 0.3)


def close_connections(world: World, client: Client = None) -> None:
    """Let Redis close every connection but the one that asks for it."""
    (client or _client(world)).execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@lasting("Redis", "the disk of Redis' append-only file is full", seconds=3)
@contextmanager
def redis_disk_full(world: World) -> Iterator[None]:
    if not world.own_disk:
        raise NotHere("it takes root, and a kernel that lets it mount a tmpfs")
    if world.server is not world.servers[0]:
        raise NotHere("after a failover: the small disk is the first server's")
    filler = world.server.socket.parent / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


@fault("Redis", "Redis fails over to its replica")
def failover(world: World) -> None:
    """The replica takes over behind the same address; what had not reached it yet is gone from the store."""
    _, replica = _replicate(world)
    traffic(world, 1.5)
    world.server.kill()
    traffic(world, 0.5)
    connect(replica.url, None).execute_command("REPLICAOF", "NO", "ONE")
    world.serve_from(replica)


@fault("Redis", "Redis fails over to its replica by Sentinel")
def sentinel(world: World) -> None:
    """As a proxy does that asks Sentinel where the master is: the agent knows one address."""
    port, replica = _replicate(world)
    folder = world.directory / f"sentinel{len(world.servers)}"
    folder.mkdir()
    with _sentinel(folder, port) as watcher:
        eventually(
            lambda: "slave" in str(watcher.execute_command("SENTINEL", "REPLICAS", "gw")), "it is known"
        )
        promoted = _port(connect(replica.url, None))
        traffic(world, 1.5)
        world.server.kill()

        def has_promoted() -> bool:
            traffic(world, 0.2)
            return int(watcher.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "gw")[1]) == promoted

        eventually(has_promoted, "Sentinel promotes the replica")
        world.serve_from(replica)


@contextmanager
def _sentinel(folder: Path, port: int) -> Iterator[Client]:
    """A Sentinel that watches the master on ``port``; gives a client of it."""
    own = free_port()
    file = folder / "sentinel.conf"
    file.write_text(
        f"port {own}\nbind 127.0.0.1\ndir {folder}\nlogfile sentinel.log\n"
        f"sentinel monitor gw 127.0.0.1 {port} 1\n"
        f"sentinel down-after-milliseconds gw {_SILENCE_MS}\nsentinel failover-timeout gw 5000\n"
    )
    process = subprocess.Popen(["redis-server", str(file), "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        client = connect(f"redis://127.0.0.1:{own}", None)
        eventually(lambda: _answers(client), "Sentinel answers")
        yield client
    finally:
        process.kill()
        process.wait()


def _answers(client: Client) -> bool:
    with suppress(Exception):
        return bool(client.ping())
    return False


def _replicate(world: World) -> tuple[int, RedisServer]:
    """A replica of the server, in step with it; with it the port that the server listens on."""
    master = _client(world)
    if not _port(master):
        master.config_set("port", str(free_port()))
    folder = world.directory / f"replica{len(world.servers)}"
    folder.mkdir()
    replica = RedisServer(folder, "--bind", "127.0.0.1")
    world.servers.append(replica)
    replica.start()
    client = connect(replica.url, None)
    client.config_set("port", str(free_port()))
    # Not as an option: when it is killed later it must come back as what it became.
    client.execute_command("REPLICAOF", "127.0.0.1", str(_port(master)))
    eventually(lambda: client.info("replication")["master_link_status"] == "up", "the replica is in step")
    return _port(master), replica


def _port(client: Client) -> int:
    return int(client.config_get("port")["port"])


def _client(world: World) -> Client:
    return connect(world.server.url, None)
