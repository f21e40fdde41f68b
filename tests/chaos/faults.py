"""What a fault is, and those of netifyd, Redis, the agent and its clients by name.

Each strikes a running world, lets records go by, and heals what it broke. What no one can see is decided
there: records that are made while nobody is connected, or cut, are not delivered; everything else is, and
must be counted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from world import World

LONG = os.environ.get("CHAOS_LONG") == "1"  # the longest forms: a line of 1 GiB, a Redis that hangs for 30 s
_TICK_S = 0.3

Act = Callable[[World], None]
Strike = Callable[[World], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """Something that happens to a world.

    :ivar party: whose fault it is: netifyd, Redis, agent, clients.
    :ivar act: strikes, and heals.
    :ivar strike: the same as a context: it is healed when that is left, and others may strike meanwhile.
    :ivar asks_redis: it can't strike while Redis does not answer.
    """

    party: str
    act: Act
    strike: Strike | None
    asks_redis: bool


FAULTS: dict[str, Fault] = {}


class NotHere(Exception):
    """This machine can't do that to anyone; says why."""


def fault(
    party: str, name: str, strike: Strike | None = None, asks_redis: bool = False
) -> Callable[[Act], Act]:
    """Register a fault under its name."""

    def add(act: Act) -> Act:
        FAULTS[name] = Fault(party, act, strike, asks_redis)
        return act

    return add


def lasting(party: str, name: str, seconds: float = 2.5) -> Callable[[Strike], Strike]:
    """Register a fault that is nothing but a state which lasts for ``seconds``, or as long as another one."""

    def add(strike: Strike) -> Strike:
        def act(world: World) -> None:
            with strike(world):
                traffic(world, seconds)

        FAULTS[name] = Fault(party, act, strike, False)
        return strike

    return add


def traffic(world: World, seconds: float, most: int = 40) -> None:
    """Records go by, up to ``most`` at a time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        world.deliver(world.chance.randint(1, most))
        time.sleep(_TICK_S * world.chance.random())
