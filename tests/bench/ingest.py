"""`make bench`: how close reading and accounting come to the limit, which is decoding the same JSON.

Each figure is the median of several rounds; in a round all variants run one after the other on the same
bytes, so that a ratio holds on a machine whose speed drifts. Prints a Markdown table.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from netify_agent.accounting import Accountant
from netify_agent.simulator import Simulation
from netify_agent.stream import RecordReader

ROUNDS = 7
CHUNK_BYTES = 65536
CAPTURES = Path(__file__).parents[3] / "shared" / "captures"


def streams() -> dict[str, bytes]:
    """The recorded streams, if they are beside this checkout, and a simulated one."""
    found = {path.name: path.read_bytes() for path in sorted(CAPTURES.glob("*.raw"))}
    simulated = bytearray()
    for _, payload in Simulation(seed=1, devices=200, hours=0.1).records():
        simulated += b'{"length": %d}\n%s' % (len(payload), payload)
    found["simulated, 200 devices"] = bytes(simulated)
    return found


def chunks(data: bytes) -> list[bytes]:
    """``data`` as a socket would give it."""
    return [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]


def decode_only(payloads: list[bytes]) -> None:
    """The limit: the standard library's decoder on payloads that are already cut out."""
    for payload in payloads:
        json.loads(payload)


def read(parts: list[bytes]) -> int:
    """Framing and decoding."""
    reader = RecordReader(1 << 20)
    return sum(len(reader.feed(part)) for part in parts)


def read_and_account(parts: list[bytes]) -> None:
    """Framing, decoding and accounting: all that the listener's thread does for a record."""
    reader, accountant = RecordReader(1 << 20), Accountant(200_000)
    accountant.restore({}, None, 0, {})
    for part in parts:
        accountant.feed(reader.feed(part), "bench")


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    print(f"Python {sys.version.split()[0]}, median of {ROUNDS} rounds, records/s\n")
    print("| stream | records | decode only | read | of the limit | read and account | of the limit |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, data in streams().items():
        payloads = [
            line
            for line in data.splitlines(keepends=True)
            if not line.startswith(b'{"length"') and line.strip()
        ]
        parts = chunks(data)
        count = read(parts)
        variants: list[Callable[[], object]] = [
            lambda payloads=payloads: decode_only(payloads),  # type: ignore[misc]
            lambda parts=parts: read(parts),  # type: ignore[misc]
            lambda parts=parts: read_and_account(parts),  # type: ignore[misc]
        ]
        rounds = [[seconds(variant) for variant in variants] for _ in range(ROUNDS)]
        rates = [statistics.median(count / took for took in column) for column in zip(*rounds, strict=True)]
        of_limit = [statistics.median(row[0] / row[index] for row in rounds) for index in (1, 2)]
        print(
            f"| {name} | {count:,} | {rates[0]:,.0f} | {rates[1]:,.0f} | {of_limit[0]:.2f} "
            f"| {rates[2]:,.0f} | {of_limit[1]:.2f} |"
        )


if __name__ == "__main__":
    main()
