"""Rows on reading and answering at the same time: what each costs the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from statistics import fmean, median

from measure import APPLICATIONS, STREAM_RATE, Row, Scale, milliseconds, percentile, ratios
from stand import Stand, stand
from traffic import mac
from worker import Worker

_REQUEST_RATE = 100  # a second


def _requests(devices: int) -> list[tuple[str, bool]]:
    """What pollers ask for: devices, mostly; the network with an ETag; who uses what; how the agent is."""
    of_devices = [(f"/{mac(number)}", False) for number in range(0, devices, max(devices // 70, 1))]
    return [*of_devices, *[("/", True)] * 20, ("/applications", False), ("/status", False)]


def rows(scale: Scale) -> Iterator[Row]:
    flows = scale.busy * APPLICATIONS
    with stand(scale.busy, APPLICATIONS, flows, interval=scale.interval) as running:
        running.sender.ask(do="describe")
        running.sender.ask(do="report")
        running.flushed()
        client = Worker("client", str(running.agent.port))
        yield from _measure(running, client, scale)
        client.close()


def _measure(running: Stand, client: Worker, scale: Scale) -> Iterator[Row]:
    alone, together, idle, busy = [], [], [], []
    requests = _requests(scale.busy)
    load = {"do": "paced", "requests": requests, "rate": _REQUEST_RATE, "seconds": scale.interval}
    stream = {"do": "stream", "rate": STREAM_RATE, "seconds": scale.interval}
    for _ in range(scale.rounds):
        alone.append([lag for _, lag in running.sender.ask(**stream)["lags"]])
        idle.append([*chain(*client.ask(**load)["seconds"])])
        running.sender.begin(**stream)
        client.begin(**load)
        busy.append([*chain(*client.answer()["seconds"])])
        together.append([lag for _, lag in running.sender.answer()["lags"]])
    for name, of in (("mean", fmean), ("p99", lambda lags: percentile(lags, 99))):
        yield Row(
            f"interference: {name} wait of a record at {STREAM_RATE:,}/s, "
            f"with {_REQUEST_RATE} requests/s / without",
            ratios((of(one), of(other)) for one, other in zip(together, alone, strict=True)),
            1.1,
            note=f"{milliseconds(median(map(of, together)))} and {milliseconds(median(map(of, alone)))}",
        )
    p99 = [[percentile(times, 99) for times in column] for column in (busy, idle)]
    yield Row(
        f"interference: p99 of requests, with {STREAM_RATE:,} records/s / idle",
        ratios(zip(*p99, strict=True)),
        3.0,
        note=" and ".join(milliseconds(median(values)) for values in p99),
    )
