"""Worker: times decoding alone against all that the listener's thread does, on the same bytes.

`python ingest_worker.py json|msgspec`; one process a decoder, because a daemon has one too.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

if sys.argv[1] == "json":
    sys.modules["msgspec"] = None  # type: ignore[assignment]  # as if it were not installed
    decode: Callable[[bytes], Any] = json.loads
else:
    import msgspec

    decode = msgspec.json.Decoder().decode

from traffic import Traffic, framed
from worker import obey

from netify_agent.accounting.accountant import Accountant
from netify_agent.daemon import runtime as interpreter
from netify_agent.netifyd.framing import RecordReader
from netify_agent.netifyd.listener import CHUNK_BYTES
from netify_agent.simulator import Simulation

_RECORDS = 30_000  # of a simulated stream


def _chunks(data: bytes) -> list[bytes]:
    """``data`` as a socket gives it."""
    return [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]


def _seconds(work: Callable[[], object]) -> float:
    """CPU time: it is one thread that waits for nothing, so that others on the machine hardly count."""
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


def _accountant() -> Accountant:
    accountant = Accountant(200_000)
    accountant.restore({}, {})
    return accountant


def _rounds(payloads: list[bytes], stream: bytes, rounds: int) -> list[tuple[float, float, float]]:
    """Seconds to decode, to read, and to read and account."""
    parts = _chunks(stream)

    def decode_only() -> None:
        for payload in payloads:
            decode(payload)

    def read() -> None:
        reader = RecordReader(1 << 20)
        for part in parts:
            reader.feed(part)

    def account() -> None:
        reader, accountant = RecordReader(1 << 20), _accountant()
        for part in parts:
            accountant.feed(reader.feed(part), "bench")

    return [(_seconds(decode_only), _seconds(read), _seconds(account)) for _ in range(rounds)]


def capture(path: str, rounds: int) -> dict[str, Any]:
    """A recorded stream; each round plays it often enough to last."""
    data = Path(path).read_bytes()
    payloads = [line for line in data.splitlines(keepends=True) if not line.startswith(b'{"length"')]
    return {"records": len(payloads), "rounds": _rounds(payloads, data, rounds * 3)}


def simulated(devices: int, rounds: int) -> dict[str, Any]:
    payloads = [payload for _, payload in islice(Simulation(seed=1, devices=devices).records(), _RECORDS)]
    return {"records": len(payloads), "rounds": _rounds(payloads, b"".join(map(framed, payloads)), rounds)}


def tables(small: int, large: int, rounds: int) -> dict[str, Any]:
    """Seconds for ``large`` records of counters, in a small table of flows and in a large one.

    Each flow reports once an interval, and at its end the batch is taken, as the daemon does it.
    """
    ready = [_Table(flows, large // flows) for flows in (small, large)]
    return {"records": large, "rounds": [[table.seconds() for table in ready] for _ in range(rounds)]}


class _Table:
    """An accountant that knows ``flows`` flows, to be given ``intervals`` reports of each."""

    def __init__(self, flows: int, intervals: int) -> None:
        self._traffic = Traffic(1000, 20, flows)
        self._intervals = intervals
        self._accountant = _accountant()
        self._reader = RecordReader(1 << 20)
        for part in _chunks(b"".join(map(framed, (*self._traffic.opening(), *self._traffic.descriptions())))):
            self._accountant.feed(self._reader.feed(part), "bench")

    def seconds(self) -> float:
        reports = [_chunks(b"".join(map(framed, self._traffic.reports()))) for _ in range(self._intervals)]
        return _seconds(lambda: self._account(reports))

    def _account(self, reports: list[list[bytes]]) -> None:
        for parts in reports:
            for part in parts:
                self._accountant.feed(self._reader.feed(part), "bench")
            self._accountant.close_batch(0)
            self._accountant.finish_batch()


def main() -> None:
    interpreter.prepare()
    obey({"capture": capture, "simulated": simulated, "tables": tables})


if __name__ == "__main__":
    main()
