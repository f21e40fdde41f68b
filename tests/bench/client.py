"""Worker: an HTTP client that costs little, so that the server is what is measured.

`python client.py PORT`. Connections are kept; a request at a rate is timed from when it was due, so that
one slow answer is not hidden by the requests that it held up.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

from worker import obey

_CONNECTIONS = 4


class Connection:
    """One kept connection to the server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._buffer = bytearray(1 << 20)
        self._view = memoryview(self._buffer)
        self._etags: dict[str, str] = {}
        self._open()

    def renew(self) -> None:
        """Connect anew: the agent hangs up on who was silent for 15 s."""
        self._socket.close()
        self._open()

    def _open(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(60)

    def get(self, path: str, conditional: bool = False) -> int:
        """One GET, read to its end; ``conditional``: with the latest ETag. Returns its status."""
        etag = self._etags.get(path) if conditional else None
        known = f"If-None-Match: {etag}\r\n" if etag else ""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{known}\r\n".encode())
        received, end = 0, -1
        while end < 0:
            more = self._socket.recv_into(self._view[received:])
            if not more:
                raise ConnectionError(f"no answer to {path}")
            received += more
            end = self._buffer.find(b"\r\n\r\n", 0, received)
        head = bytes(self._buffer[:end]).lower()
        status = int(head[9:12])
        left = 0 if status == 304 else int(_header(head, b"content-length")) - (received - end - 4)
        while left > 0:
            more = self._socket.recv_into(self._buffer, min(left, len(self._buffer)))
            if not more:
                raise ConnectionError(f"{path} was cut short")
            left -= more
        if conditional and status == 200:
            self._etags[path] = _header(head, b"etag")  # none where a flush came between
        if b"connection: close" in head:
            self._socket.close()
            self._open()
        return status


def _header(head: bytes, name: bytes) -> str:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key == name:
            return value.strip().decode()
    return ""


class Client:
    """Requests one after the other, or at a rate over four connections."""

    def __init__(self, port: int) -> None:
        self._connections = [Connection(port) for _ in range(_CONNECTIONS)]

    def closed(self, paths: list[str], seconds: float, conditional: bool = False) -> dict[str, Any]:
        """Requests of ``paths`` in turn as fast as they are answered, one at a time; ``rate`` is a second."""
        get = self._connections[0].get
        self._connections[0].renew()
        get(paths[0], conditional)
        turns = cycle(paths)
        count, started = 0, time.monotonic()
        while (now := time.monotonic()) - started < seconds or not count:
            path = next(turns)
            status = get(path, conditional)
            if status not in (200, 304):
                raise RuntimeError(f"{path}: {status}")
            count += 1
        return {"rate": count / (now - started)}

    def paced(self, requests: list[tuple[str, bool]], rate: float, seconds: float) -> dict[str, Any]:
        """``requests`` ([path, conditional]) in turn, ``rate`` a second; returns how long each's took."""
        for connection in self._connections:
            connection.renew()
        started = time.monotonic()
        turns = enumerate(cycle(requests))
        lock = threading.Lock()
        taken: list[list[float]] = [[] for _ in requests]

        def run(connection: Connection) -> None:
            while True:
                with lock:
                    number, (path, conditional) = next(turns)
                due = started + number / rate
                if due - started >= seconds:
                    return
                time.sleep(max(due - time.monotonic(), 0))
                status = connection.get(path, conditional)
                if status not in (200, 304):
                    raise RuntimeError(f"{path}: {status}")
                taken[number % len(requests)].append(time.monotonic() - due)

        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            list(pool.map(run, self._connections))
        return {"seconds": taken}


def main() -> None:
    client = Client(int(sys.argv[1]))
    obey({"closed": client.closed, "paced": client.paced})


if __name__ == "__main__":
    main()
