"""Worker: a netifyd that measures how long its records wait until the agent has read them.

The kernel tells the sending side of a Unix socket how much of what it sent was not read yet (SIOCOUTQ), so
the agent is not asked and not disturbed. `python sender.py SOCKET DEVICES APPLICATIONS FLOWS`.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

from traffic import Traffic, framed
from worker import obey

_SIOCOUTQ = 0x5411  # linux/sockios.h; for Unix sockets what the kernel's buffers for the unread bytes take
_POLL_S = 0.0001
_TICK_S = 0.002  # of the paced stream: one write each
_BULK_BYTES = 32768


def _unread(connection: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(connection, _SIOCOUTQ, b"\0\0\0\0"))[0])


@cache
def _charge(size: int) -> int:
    """What the kernel counts for one unread write of ``size`` bytes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        ours.send(bytes(size))
        return _unread(ours)


class Sender:
    """One client at a time, as the agent is."""

    def __init__(self, path: str, traffic: Traffic) -> None:
        Path(path).unlink(missing_ok=True)
        self._traffic = traffic
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(path)
        self._server.listen(1)
        self._server.settimeout(60)
        self._next = cycle(range(traffic.flows))

    def accept(self) -> dict[str, Any]:
        """Wait for the agent and greet it."""
        self._connection, _ = self._server.accept()
        with contextlib.suppress(OSError):
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        return self._bulk(map(framed, self._traffic.opening()))

    def describe(self) -> dict[str, Any]:
        """Tell of every flow, as fast as it is read; returns how long that took."""
        return self._bulk(map(framed, self._traffic.descriptions()))

    def report(self) -> dict[str, Any]:
        """The counters of every flow at once, as fast as they are read; returns how long that took."""
        return self._bulk(map(framed, self._traffic.reports()))

    def status(self) -> dict[str, Any]:
        return self._bulk([framed(self._traffic.status(self._traffic.flows))])

    def _bulk(self, records: Iterable[bytes]) -> dict[str, Any]:
        chunks = list(_chunks(records))
        self._connection.setblocking(True)
        started = time.monotonic()
        for chunk in chunks:
            self._connection.sendall(chunk)
        while _unread(self._connection):
            time.sleep(_POLL_S)
        return {"seconds": time.monotonic() - started}

    def stream(self, rate: float, seconds: float) -> dict[str, Any]:
        """Counters of one flow after the other, evenly.

        :returns: ``lags``: [when it was due (wall clock, s), how long until it was read (s)] of each write.
        """
        connection = self._connection
        connection.setblocking(False)
        ticks = int(seconds / _TICK_S)
        waiting: deque[tuple[float, bytes]] = deque()  # due, not written yet
        unread: deque[tuple[float, int]] = deque()  # written, not read yet
        charged = produced = sent = 0
        lags: list[tuple[float, float]] = []
        wall = time.time() - time.monotonic()
        started = time.monotonic()
        while sent < ticks or waiting or unread:
            now = time.monotonic()
            if sent < ticks and now - started >= sent * _TICK_S:
                due, sent = started + sent * _TICK_S, sent + 1
                count = int(sent * _TICK_S * rate) - produced
                if count:
                    produced += count
                    records = [framed(self._traffic.report(next(self._next))) for _ in range(count)]
                    waiting.append((due, b"".join(records)))
            while waiting:
                try:
                    written = connection.send(waiting[0][1])
                except BlockingIOError:
                    break
                due, data = waiting.popleft()
                charged += _charge(written)
                unread.append((due, _charge(written)))
                if written < len(data):
                    waiting.appendleft((due, data[written:]))
                    break
            left = _unread(connection)
            now = time.monotonic()
            while unread and charged - unread[0][1] >= left:
                due, charge = unread.popleft()
                charged -= charge
                lags.append((wall + due, now - due))
            time.sleep(_POLL_S)
        return {"lags": lags, "records": produced, "seconds": time.monotonic() - started}


def _chunks(records: Iterable[bytes]) -> Iterator[bytes]:
    chunk = bytearray()
    for record in records:
        chunk += record
        if len(chunk) >= _BULK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


def main() -> None:
    path, devices, applications, flows = sys.argv[1:]
    sender = Sender(path, Traffic(int(devices), int(applications), int(flows)))
    obey(
        {
            "accept": sender.accept,
            "describe": sender.describe,
            "report": sender.report,
            "status": sender.status,
            "stream": sender.stream,
        }
    )


if __name__ == "__main__":
    main()
