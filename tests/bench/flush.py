"""Rows on flushing: its rate, and for how long it keeps the listener from reading."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from measure import APPLICATIONS, Row, Scale, milliseconds, percentile, ratios
from stand import stand
from support import RedisServer, short_directory
from worker import OPTIONAL, Worker

_QUIET_RATE = 500  # records a second: enough to see each pause of a few milliseconds


def rows(scale: Scale) -> Iterator[Row]:
    for optional in (False, True):
        if not optional or (OPTIONAL / "hiredis").is_dir():
            yield _rate(scale, optional)
    yield _pause(scale)


def _rate(scale: Scale, optional: bool) -> Row:
    with short_directory() as directory, RedisServer(directory) as server:
        worker = Worker("flush_worker", server.url, str(scale.busy), str(APPLICATIONS), optional=optional)
        measured = worker.ask(do="rounds", count=scale.rounds)
        worker.close()
    flushed, bare = (median(column) for column in zip(*measured["rounds"], strict=True))
    return Row(
        f"flush: {scale.busy:,} devices x {APPLICATIONS} applications: rate / bare HINCRBY pipeline"
        f"{', both with hiredis' if optional else ''}",
        ratios((bare, flushed) for flushed, bare in measured["rounds"]),
        0.7,
        least=True,
        note=f"{measured['fields']:,} fields in {flushed:.2f} s, bare {bare:.2f} s",
    )


def _pause(scale: Scale) -> Row:
    """How long records wait while a flush is under way, in flushes in which everything has changed."""
    flows = scale.busy * APPLICATIONS
    worst, all_lags, took = [], [], []
    with stand(scale.busy, APPLICATIONS, flows, interval=scale.interval) as running:
        running.sender.ask(do="describe")
        running.flushed()
        for _ in range(scale.rounds):
            running.sender.ask(do="report")
            running.sender.begin(do="stream", rate=_QUIET_RATE, seconds=scale.interval + 1)
            window = running.flush()
            lags = running.sender.answer()["lags"]
            during = [lag for at, lag in lags if window["began"] <= at <= window["ended"]]
            worst.append(percentile(during, 99) * 1000)
            all_lags += during
            took.append(window["ended"] - window["began"])
    return Row(
        f"flush: wait of a record during it, p99, {scale.busy:,} devices x {APPLICATIONS} applications",
        worst,
        5.0,
        unit="ms",
        note=f"median {milliseconds(median(all_lags))}, longest {milliseconds(max(all_lags))} "
        f"of {len(all_lags):,} writes, a flush takes {median(took):.2f} s",
    )
