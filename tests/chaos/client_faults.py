"""Faults of clients: those that hold connections, and want nothing or take nothing."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faults import LONG, NotHere, fault, lasting, traffic
from support import eventually
from world import World

_TCP_REPAIR = getattr(socket, "TCP_REPAIR", 19)  # linux/tcp.h
_ESTABLISHED, _CLIENTS = "01", "0200007F:"  # 127.0.0.2, as /proc/net/tcp spells it
_HALF_A_REQUEST = b"GET / HTTP/1.1\r\nHost: local"
_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def connections(world: World, count: int) -> Iterator[list[socket.socket]]:
    """So many clients."""
    made = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, count + 1000), hard), hard))
    try:
        for _ in range(count):
            client = socket.socket()
            made.append(client)
            client.setblocking(False)
            client.bind(("127.0.0.2", 0))  # not an address that an agent may come back to
            client.connect_ex(("127.0.0.1", world.daemon.port))
        yield made
    finally:
        for client in made:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def _dripping(world: World) -> Iterator[None]:
    with connections(world, 200) as clients:
        for letter in b"GET / HTTP/1.1\r\n":
            for client in clients:
                with suppress(OSError):
                    client.send(bytes([letter]))
            world.deliver(10)
            time.sleep(0.05)
        _answers(world)
        yield


@fault("clients", "clients send their requests a byte at a time", _dripping)
def slow_loris(world: World) -> None:
    with _dripping(world):
        pass


@lasting("clients", "ten thousand clients connect and say nothing", seconds=2)
@contextmanager
def crowd(world: World) -> Iterator[None]:
    with connections(world, 10_000 if LONG else 1_000):
        yield
    _answers(world)


@lasting("clients", "clients ask and take no answer", seconds=2)
@contextmanager
def takers_of_nothing(world: World) -> Iterator[None]:
    with connections(world, 50) as clients:
        time.sleep(0.2)
        for client in clients:
            with suppress(OSError):
                client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
        yield


@fault("clients", "clients vanish without a word")
def half_open(world: World) -> None:
    """Their kernel forgets the connections: nothing comes any more, not even an end. The agent lets go."""
    eventually(lambda: not _accepted(world), "the agent has let go of the clients of the faults before")
    vanished = []
    for number in range(200):
        client = socket.create_connection(("127.0.0.1", world.daemon.port), 10, ("127.0.0.2", 0))
        vanished.append(client)
        if number % 3:
            client.sendall(_HALF_A_REQUEST if number % 3 == 1 else _REQUEST)
    for client in vanished[2::3]:  # after all have connected: the agent closes silent ones after 15 s
        client.recv(1 << 16)
    eventually(
        lambda: _accepted(world) and not _accepted(world, waiting=True), "the agent has accepted them all"
    )
    for client in vanished:
        try:
            client.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        except OSError as error:
            raise NotHere(f"it takes TCP_REPAIR: {error.strerror}") from None
        finally:
            client.close()
    world.deliver(200)
    _answers(world)

    def note_eviction() -> bool:
        traffic(world, 0.5, most=10)
        return not _accepted(world)

    eventually(note_eviction, "the agent closes what has been silent for 15 s")


@lasting("clients", "the receiver of alerts misbehaves")
@contextmanager
def receiver_misbehaves(world: World) -> Iterator[None]:
    receiver = world.alerts.receiver
    receiver.behaviour = world.chance.choice(("refuse", "reject", "cut", "hang", "drip", "flood"))
    try:
        yield
    finally:
        receiver.behaviour = "take"


def _accepted(world: World, *, waiting: bool = False) -> int:
    """How many connections of clients the agent has; ``waiting``: that it has not accepted yet."""
    assert world.daemon.process is not None
    count = 0
    for line in Path(f"/proc/{world.daemon.process.pid}/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *more = line.split()
        if local.endswith(f":{world.daemon.port:04X}") and remote.startswith(_CLIENTS):
            has_owner = more[5] != "0"  # without one, it waits to be accepted or was closed by the agent
            count += (state == _ESTABLISHED and not has_owner) if waiting else has_owner
    return count


def _answers(world: World) -> None:
    def answers() -> bool:
        with suppress(OSError):
            return world.daemon.get("/healthz")[0] == 200
        return False

    eventually(answers, "the API answers others")
