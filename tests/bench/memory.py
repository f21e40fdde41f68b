"""Rows on memory: the agent's process and its Redis, by the size of the network."""

from __future__ import annotations

from collections.abc import Iterator

from measure import APPLICATIONS, Row, Scale
from stand import Stand, stand

_SETTLED = 3  # reports of every flow, each followed by a flush


def rows(scale: Scale) -> Iterator[Row]:
    small, _, large = scale.devices
    yield from _measure(scale, small, small * APPLICATIONS, 45.0)
    for devices in scale.devices:
        yield from _measure(scale, devices, scale.flows, 100.0 if devices == large else None)


def _measure(scale: Scale, devices: int, flows: int, target: float | None) -> Iterator[Row]:
    applications = max(min(APPLICATIONS, flows // devices), 1)
    name = f"memory: {devices:,} devices x {applications} applications, {flows:,} live flows"
    with stand(devices, applications, flows, interval=scale.interval) as running:
        empty = _redis_bytes(running)
        running.sender.ask(do="describe")
        running.flushed()
        for _ in range(_SETTLED):
            running.sender.ask(do="report")
            running.flushed()
        memory = running.memory()
        redis = _redis_bytes(running) - empty
        yield Row(
            f"{name}: agent", [memory["now"]], target, unit="MiB", note=f"peak {memory['peak']:.1f} MiB"
        )
        yield Row(
            f"{name}: Redis",
            [redis / (1 << 20)],
            unit="MiB",
            note=_by_row(running, devices, applications, flows),
        )


def _redis_bytes(running: Stand) -> int:
    return int(running.redis.info("memory")["used_memory"])


def _by_row(running: Stand, devices: int, applications: int, flows: int) -> str:
    return ""
