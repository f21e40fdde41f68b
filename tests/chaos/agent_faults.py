"""Faults of the agent, and of the machine that it runs on."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from client_faults import connections
from faults import NotHere, fault, traffic
from redis_faults import close_connections
from world import World

from netify_agent.store.client import connect
from netify_agent.store.layout import Keys

_YEARS_S = 500 * 86_400
_CGROUPS = Path("/sys/fs/cgroup")


@fault("agent", "the agent is killed")
def agent_killed(world: World) -> None:
    for _ in range(3):
        traffic(world, 1.5 * world.chance.random())
        world.daemon.signal(signal.SIGKILL)
        world.after_death()


@fault("agent", "the agent is stopped and goes on")
def agent_stopped(world: World) -> None:
    """The socket's buffer fills, and netifyd waits."""
    seconds = 1 + 2 * world.chance.random()
    world.daemon.signal(signal.SIGSTOP)
    goes_on = threading.Timer(seconds, world.daemon.signal, (signal.SIGCONT,))
    goes_on.start()
    try:
        traffic(world, seconds)
    finally:
        goes_on.join()


@fault("agent", "the agent is told to end during a flush")
def agent_ended(world: World) -> None:
    for _ in range(2):
        traffic(world, 1 + world.chance.random())
        world.daemon.signal(signal.SIGTERM)
        code = world.after_death()
        # Without Redis there is no last flush, and the exit code says so.
        assert code == 0 or (code == 1 and world.redis_ails), f"SIGTERM ended with exit code {code}"


@fault("agent", "the agent runs out of file descriptors", asks_redis=True)
def no_files(world: World) -> None:
    assert world.daemon.process is not None
    pid = world.daemon.process.pid
    used = len(os.listdir(f"/proc/{pid}/fd"))
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 2, before[1]))
    try:
        with connections(world, 30):
            close_connections(world)
            traffic(world, 2)
    finally:
        if world.daemon.exited() is None:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    world.noisy = True  # waitress tells of connections that it can't accept


@fault("agent", "the agent gets no more memory")
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


@fault("agent", "the agent's cgroup gets no more memory")
def memory_max(world: World) -> None:
    """As MemoryMax= does: the kernel takes back what it can, then kills."""
    with _cgroup(world) as (group, version):
        used, most, events = (
            ("memory.usage_in_bytes", "memory.limit_in_bytes", "memory.failcnt")
            if version == 1
            else ("memory.current", "memory.max", "memory.events")
        )
        world.daemon.wrapper = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
        try:
            world.daemon.signal(signal.SIGKILL)
            world.after_death()
            traffic(world, 1.5)
            (group / most).write_text(str(int((group / used).read_text()) + (256 << 10)))
            world.deliver(3000)
            traffic(world, 1)
            struck = (group / events).read_text()
            assert struck != "0\n" and "max 0\n" not in struck, "the limit was never reached"
            (group / most).write_text("-1" if version == 1 else "max")
        finally:
            world.daemon.wrapper = []
        world.revive()


@contextmanager
def _cgroup(world: World) -> Iterator[tuple[Path, int]]:
    """A cgroup beneath ours, and its version. Whom it holds at the end moves to ours."""
    ours = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    version = 1 if "memory" in ours else 2
    parent = Path(f"{_CGROUPS}/memory{ours['memory']}" if version == 1 else f"{_CGROUPS}{ours['']}")
    group = parent / f"netify-chaos-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise NotHere(f"it takes a cgroup of its own: {error.strerror}") from None
    try:
        if not (group / "cgroup.procs").exists() or not list(group.glob("memory.*m*_in_bytes")) + list(
            group.glob("memory.max")
        ):
            raise NotHere("it takes a cgroup with the memory controller")
        yield group, version
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (parent / "cgroup.procs").write_text(pid)
        group.rmdir()


@fault("agent", "the disk of the agent's log is full", asks_redis=True)
def log_full(world: World) -> None:
    traffic(world, 1.5)
    log = world.daemon.log
    world.daemon.log = Path("/dev/full")
    world.daemon.signal(signal.SIGKILL)
    world.after_death()
    world.server.kill()
    traffic(world, 1.5)
    world.server.start()
    world.daemon.signal(signal.SIGKILL)
    world.daemon.log = log
    world.after_death()


@fault("agent", "the agent's clock is years ahead for a while", asks_redis=True)
def clock_years_ahead(world: World) -> None:
    """No device may be forgotten for that, and no flow that is over."""
    world.daemon.flushed()
    devices = Keys("gw1").devices
    store = connect(world.server.url, None)
    before = set(store.zrange(devices, 0, -1))
    for seconds in (_YEARS_S, -_YEARS_S):
        if not world.step_clock(seconds):
            raise NotHere("it takes libfaketime")
        traffic(world, 2)
        world.daemon.flushed()
        lost = before - set(store.zrange(devices, 0, -1))
        assert not lost, f"forgotten: {lost}"


@fault("agent", "the agent's clock is stepped")
def wall_clock(world: World) -> None:
    # By less than an hour: later than that a flow that is over leaves Redis, and nobody can check it.
    for seconds in (3_000, -6_000, 3_000):
        if not world.step_clock(seconds):
            raise NotHere("it takes libfaketime")
        traffic(world, 1)
