"""Faults of netifyd: of what it sends, and when."""

from __future__ import annotations

import time

from faults import LONG, fault
from world import World

TEN_YEARS_MS = 10 * 365 * 86_400_000


@fault("netifyd", "netifyd drops the connection in the middle of a record")
def drop(world: World) -> None:
    for _ in range(3):
        world.deliver(world.chance.randint(1, 60))
        data = world.netifyd.frame(world.netifyd.next())
        world.netifyd.send(data[: world.chance.randrange(len(data))])
        world.netifyd.drop()
        world.netifyd.unseen(world.chance.randint(0, 60))
        world.netifyd.connect()


@fault("netifyd", "netifyd sends garbage")
def garbage(world: World) -> None:
    for _ in range(5):
        world.deliver(world.chance.randint(1, 20))
        noise = world.chance.randbytes(world.chance.randint(1, 5000)).replace(b"{", b"")
        world.netifyd.send(noise + b"\n")


@fault("netifyd", "netifyd sends a line without an end")
def long_line(world: World) -> None:
    piece = b"x" * (1 << 20)
    for _ in range(1024 if LONG else 16):
        world.netifyd.send(piece)
        world.measure()
    world.netifyd.send(b"\n")


@fault("netifyd", "netifyd restarts")
def restart(world: World) -> None:
    world.deliver(30)
    world.netifyd.restart()


@fault("netifyd", "netifyd repeats counters")
def replay(world: World) -> None:
    reached = world.deliver(150)
    for payload in world.chance.sample(reached, min(40, len(reached))):
        if b'"type":"flow_stats"' in payload or b'"type":"flow_purge"' in payload:
            world.netifyd.send(world.netifyd.frame(payload))


@fault("netifyd", "netifyd falls silent")
def silence(world: World) -> None:
    time.sleep(130 if LONG else 2)
    if LONG:  # the agent gave the connections up after 120 s
        for netifyd in world.netifyds:
            netifyd.connect()


@fault("netifyd", "netifyd floods")
def flood(world: World) -> None:
    world.deliver(4000)


@fault("netifyd", "netifyd tells of a flood of made-up MAC addresses")
def mac_flood(world: World) -> None:
    for _ in range(10):
        world.netifyd.spoof(30)
        world.deliver(20)


@fault("netifyd", "netifyd's clock jumps ten years ahead")
def clock_ahead(world: World) -> None:
    world.netifyd.shift_clock(TEN_YEARS_MS)
    world.deliver(200)
    world.netifyd.shift_clock(-TEN_YEARS_MS)


@fault("netifyd", "netifyd's clock jumps ten years back")
def clock_back(world: World) -> None:
    world.netifyd.shift_clock(-TEN_YEARS_MS)
