"""Rows on the API: each answer against the least that the same server could do, alone and under load."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from statistics import median

from measure import APPLICATIONS, STREAM_RATE, Row, Scale, percentile, ratios
from stand import Stand, stand
from support import free_port
from traffic import mac
from worker import Worker

_PACE = 60  # requests a second under load, a third for each path
_INTERVALS = 3  # the flush interval, times the scale's: 15 s, the default


def rows(scale: Scale) -> Iterator[Row]:
    flows = scale.busy * APPLICATIONS
    with stand(scale.busy, APPLICATIONS, flows, interval=scale.interval * _INTERVALS) as running:
        running.sender.ask(do="describe")
        running.sender.ask(do="report")
        running.flushed()
        client = Worker("client", str(running.agent.port))
        yield from _against_bytes(running, client, scale)
        yield from _under_load(running, client, scale)
        client.close()
    yield _by_size(scale)


def _against_bytes(running: Stand, client: Worker, scale: Scale) -> Iterator[Row]:
    body = running.directory / "body.json"
    with urllib.request.urlopen(running.agent.base + "/") as answer:
        body.write_bytes(answer.read())
    port = free_port()
    reference = Worker("reference", str(port), str(body))
    reference.answer()
    bare = Worker("client", str(port))
    for what, conditional, other in (
        ("GET / / the same bytes from memory", False, "/"),
        ("304 / empty 200", True, "/empty"),
    ):
        pairs = []
        for _ in range(scale.rounds):
            ours = client.ask(do="closed", paths=["/"], conditional=conditional, seconds=scale.interval / 2)
            theirs = bare.ask(do="closed", paths=[other], seconds=scale.interval / 2)
            pairs.append((ours["rate"], theirs["rate"]))
        rates = [median(column) for column in zip(*pairs, strict=True)]
        yield Row(
            f"api: {what}: requests/s",
            ratios(pairs),
            0.8,
            least=True,
            note=f"{rates[0]:,.0f} and {rates[1]:,.0f}; GET / is {body.stat().st_size / 1e6:.1f} MB",
        )
    bare.close()
    reference.close()


def _under_load(running: Stand, client: Worker, scale: Scale) -> Iterator[Row]:
    requests = {"GET /": ("/", False), "304": ("/", True), "GET /<mac>": (f"/{mac(0)}", False)}
    seconds = scale.interval * _INTERVALS  # so that each stretch holds a flush
    stretches = []
    for _ in range(scale.rounds):
        running.sender.begin(do="stream", rate=STREAM_RATE, seconds=seconds)
        stretches.append(client.ask(do="paced", requests=[*requests.values()], rate=_PACE, seconds=seconds))
        running.sender.answer()
    for index, what in enumerate(requests):
        for percent in (50, 99):
            yield Row(
                f"api: {what} while {STREAM_RATE:,} records/s stream in, p{percent}",
                [percentile(one["seconds"][index], percent) * 1000 for one in stretches],
                unit="ms",
            )


def _by_size(scale: Scale) -> Row:
    """The same device's answer in a small and in a large network, side by side."""
    small, _, large = scale.devices
    applications = scale.flows // large
    with (
        stand(small, applications, small * applications) as one,
        stand(large, applications, scale.flows) as other,
    ):
        clients = []
        for running in (one, other):
            running.sender.ask(do="describe")
            running.sender.ask(do="report")
        for running in (one, other):
            running.flushed()
            clients.append(Worker("client", str(running.agent.port)))
        paths = [f"/{mac(number)}" for number in range(small)]  # more than answers are kept
        pairs = []
        for _ in range(scale.rounds):
            rates = [
                client.ask(do="closed", paths=paths, seconds=scale.interval / 2)["rate"] for client in clients
            ]
            pairs.append((rates[0], rates[1]))
        for client in clients:
            client.close()
    of = [median(column) for column in zip(*pairs, strict=True)]
    return Row(
        f"api: GET /<mac> of {small:,} devices in turn, time at {large:,} devices / at {small:,}",
        ratios(pairs),
        1.2,
        note=f"{of[1]:,.0f} and {of[0]:,.0f} requests/s",
    )
