"""Rows on reading: framing, decoding and accounting against decoding alone, on the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from measure import Row, Scale, ratios
from support import CAPTURES
from worker import OPTIONAL, Worker

_TARGETS = {"json": 0.5, "msgspec": 0.3}


def rows(scale: Scale) -> Iterator[Row]:
    for decoder, target in _TARGETS.items():
        if decoder == "msgspec" and not (OPTIONAL / "msgspec").is_dir():
            continue
        worker = Worker("ingest_worker", decoder, optional=decoder == "msgspec")
        for path in sorted(CAPTURES.glob("*.raw")):
            yield _row(
                f"{path.name}, {decoder}",
                worker.ask(do="capture", path=str(path), rounds=scale.rounds),
                target,
            )
        for devices in scale.devices:
            yield _row(
                f"simulated, {devices:,} devices, {decoder}",
                worker.ask(do="simulated", devices=devices, rounds=scale.rounds),
                target,
            )
        if decoder == "json":
            yield _tables(worker, scale)
        worker.close()


def _row(name: str, measured: dict[str, Any], target: float) -> Row:
    count = measured["records"]
    rates = (median(count / took for took in column) for column in zip(*measured["rounds"], strict=True))
    decode, read, account = rates
    return Row(
        f"ingest: {name}: accounted / decoded only",
        ratios((row[0], row[2]) for row in measured["rounds"]),
        target,
        least=True,
        note=f"{account:,.0f} of {decode:,.0f} records/s (framed and decoded: {read:,.0f})",
    )


def _tables(worker: Worker, scale: Scale) -> Row:
    small, large = scale.flows // 100, scale.flows
    measured = worker.ask(do="tables", small=small, large=large, rounds=scale.rounds)
    per_record = [
        median(column) / measured["records"] * 1e6 for column in zip(*measured["rounds"], strict=True)
    ]
    return Row(
        f"ingest: cost of a record with {large:,} live flows / with {small:,}",
        ratios((row[1], row[0]) for row in measured["rounds"]),
        1.2,
        note=f"{per_record[1]:.2f} and {per_record[0]:.2f} us",
    )
