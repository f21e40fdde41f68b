"""Rows on a fresh `GET /` of a large network: its CPU time, and what it costs other requests."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from measure import APPLICATIONS, Row, Scale, percentile, ratios
from stand import Stand, stand
from support import RedisServer, short_directory
from traffic import mac
from worker import OPTIONAL, Worker

_RATE = 100  # requests a second of others


def rows(scale: Scale) -> Iterator[Row]:
    yield from _cpu(scale)
    flows = scale.busy * APPLICATIONS
    with stand(scale.busy, APPLICATIONS, flows, interval=scale.interval, optional=True) as running:
        running.sender.ask(do="describe")
        running.flushed()
        yield _beside(running, scale)


def _cpu(scale: Scale) -> Iterator[Row]:
    measured = {}
    for plain in (True, False):
        with short_directory() as directory, RedisServer(directory) as server:
            arguments = server.url, str(scale.busy), str(APPLICATIONS)
            worker = Worker("network_worker", *arguments, optional=not plain)
            measured[plain] = worker.ask(do="measure", count=scale.rounds, plain=plain)
            worker.close()
    size = f"{scale.busy:,} devices x {APPLICATIONS} applications"
    hiredis = "with hiredis" if (OPTIONAL / "hiredis").is_dir() else "without hiredis"
    compared = f"{hiredis} / plain and without hiredis, {size}"
    for index, what, target in ((0, "every device", 0.4), (1, "no device", 0.15)):
        pairs = [
            (ours[index], theirs[index]) for ours, theirs in zip(measured[False], measured[True], strict=True)
        ]
        ours, theirs = (median(column) for column in zip(*pairs, strict=True))
        yield Row(
            f"network: CPU of GET / after a flush that changed {what}, {compared}",
            ratios(pairs),
            target,
            note=f"{ours:.2f} s and {theirs:.2f} s",
        )


def _beside(running: Stand, scale: Scale) -> Row:
    """`GET /<mac>` between two flushes, while `/` is built anew because the first changed every device."""
    others, polling = (Worker("client", str(running.agent.port)) for _ in range(2))
    requests = [(f"/{mac(number)}", False) for number in range(scale.busy)]
    load = {"do": "paced", "requests": requests, "rate": _RATE, "seconds": scale.interval / 2}
    alone, beside = [], []
    for times, polled in [(alone, False), (beside, True)] * scale.rounds:
        running.sender.ask(do="report")
        running.flush()
        others.begin(**load)
        if polled:
            polling.ask(do="paced", requests=[("/", False)], rate=1, seconds=scale.interval / 2)
        times.append([one for column in others.answer()["seconds"] for one in column])
    for client in (others, polling):
        client.close()
    without = median(percentile(times, 99) for times in alone) * 1000
    return Row(
        f"network: GET /<mac> while GET / is built anew, p99, {scale.busy:,} devices",
        [percentile(times, 99) * 1000 for times in beside],
        100,
        unit="ms",
        note=f"without GET / {without:.0f} ms",
    )
