"""Rows on memory: the agent's process and its Redis, by the size of the network."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from measure import APPLICATIONS, Row, Scale
from stand import Stand, stand
from traffic import mac

_SETTLED = 3  # reports of every flow, each followed by a flush


def rows(scale: Scale) -> Iterator[Row]:
    small, _, large = scale.devices
    yield from _measure(scale, small, small * APPLICATIONS, 45.0)
    for devices in scale.devices:
        yield from _measure(scale, devices, scale.flows, 170.0 if devices == large else None)


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
    """Bytes of a device's own keys and of a row of its applications, as Redis tells it of some devices."""

    def bytes_of(suffix: str) -> float:
        keys = [f"netify:{{gw1}}:device:{mac(number)}{suffix}" for number in range(min(devices, 50))]
        return fmean(int(running.redis.memory_usage(key, samples=0) or 0) for key in keys)

    device = sum(map(bytes_of, ("", ":protocols", ":addresses")))
    states = (":details", "")
    flow = sum(int(running.redis.memory_usage(f"netify:{{gw1}}:flows{name}") or 0) for name in states) / flows
    return (
        f"{device:,.0f} bytes a device, {bytes_of(':applications') / applications:,.0f} an application of "
        f"it, {flow:,.0f} a live flow without its indexes; history is the rest"
    )
