"""Serves a simulation on a Unix or TCP socket as netifyd does: speaks at once, reads nothing.

One thread, one poll: a client that is slow or vanishes never disturbs another. It knows nothing of
what the records say.
"""

from __future__ import annotations

import json
import math
import os
import select
import socket
import threading
import time
from pathlib import Path

from .endpoint import listening
from .form import Form, usual_form
from .simulation import INTERVAL_S, Simulation

# In real time, a client whose backlog exceeds this loses whole records, as with netifyd's max_backlog_kb. It
# is more than netifyd's default, because one interval of 10,000 devices has 12 MB.
_MAX_BACKLOG_BYTES = 64 << 20
# With no set speed, nothing is produced while a client has this much waiting.
_AHEAD_BYTES = 256 << 10
_LONGEST_WAIT_S = 0.2
_FINAL_SEND_S = 1.0


class _Client:
    """A connection and the data to be sent. Nothing is read from it, as in netifyd."""

    def __init__(self, connection: socket.socket, opening: bytes) -> None:
        self.connection = connection
        self.waiting = bytearray(opening)

    def send(self) -> bool:
        """Send what the socket accepts; False if the client has disconnected."""
        try:
            while self.waiting:
                del self.waiting[: self.connection.send(self.waiting[:_AHEAD_BYTES])]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


def serve(
    simulation: Simulation,
    endpoint: str,
    speed: float | None,
    truth_path: str | os.PathLike[str] | None,
    stop: threading.Event,
    ready: threading.Event | None = None,
    form: Form | None = None,
    max_backlog_bytes: int = _MAX_BACKLOG_BYTES,
) -> None:
    """Serve `simulation` until it ends or `stop` is set; `ready` is set once clients can connect.

    :param endpoint: `unix:///path` or `tcp://host:port`
    :param speed: simulated seconds per second; each client gets the records from its connection on. None: as
        fast as the slowest client reads, from the first connection on
    :param truth_path: file for the truth, written at the end, and in real time at each interval
    :param form: format of the stream; None: the default of the simulated version
    :param max_backlog_bytes: in real time, unsent data per client beyond which whole records are lost
    :raises EndpointError: the endpoint cannot be used
    :raises OSError: the truth cannot be written
    """
    with listening(endpoint) as listener:
        form = form or usual_form(simulation.version)
        server = _Server(simulation, listener, speed, truth_path, form, max_backlog_bytes)
        try:
            if ready is not None:
                ready.set()
            server.run(stop)
        finally:
            server.close()
    write_truth(simulation, truth_path)


class _Server:
    """The clients of one listening socket, and the clock of their data."""

    def __init__(
        self,
        simulation: Simulation,
        listener: socket.socket,
        speed: float | None,
        truth_path: str | os.PathLike[str] | None,
        form: Form,
        max_backlog_bytes: int,
    ) -> None:
        self._simulation = simulation
        self._form = form
        self._due = simulation.records() if speed is None else simulation.advance(simulation.now_ms)
        self._speed = speed
        self._max_backlog_bytes = max_backlog_bytes
        self._truth_path = truth_path
        self._listener = listener
        self._clients: list[_Client] = []
        self._start_ms = simulation.now_ms
        self._began_s = time.monotonic()
        self._truth_due_ms = simulation.now_ms + INTERVAL_S * 1000

    def run(self, stop: threading.Event) -> None:
        """Produce and send until the whole stream was sent or `stop` is set."""
        while not stop.is_set():
            self._exchange(self._produce())
            if self._simulation.ended and not self._has_unsent():
                return
        # Clients that read get the rest, so that the truth matches what was sent.
        deadline_s = time.monotonic() + _FINAL_SEND_S
        while self._has_unsent() and time.monotonic() < deadline_s:
            self._exchange(_LONGEST_WAIT_S / 4)

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.connection.close()

    def _has_unsent(self) -> bool:
        return any(client.waiting for client in self._clients)

    def _produce(self) -> float:
        """Queue a portion of the due records for every client; returns the seconds until more are due."""
        simulation = self._simulation
        if simulation.ended:
            return _LONGEST_WAIT_S
        if self._speed is None:
            if not self._clients or any(len(client.waiting) > _AHEAD_BYTES for client in self._clients):
                return _LONGEST_WAIT_S
            self._queue(self._portion())
            return 0.0
        portion = self._portion()
        self._queue(portion)
        if len(portion) >= _AHEAD_BYTES:
            return 0.0
        if simulation.now_ms >= self._truth_due_ms:
            self._truth_due_ms = simulation.now_ms + INTERVAL_S * 1000
            write_truth(simulation, self._truth_path)
        # All due records are queued. Get those that became due since.
        now_ms = self._start_ms + (time.monotonic() - self._began_s) * 1000 * self._speed
        self._due = simulation.advance(now_ms)
        return min(_LONGEST_WAIT_S, max(0.0, (simulation.next_ms() - now_ms) / 1000 / self._speed))

    def _portion(self) -> bytearray:
        """Return the next due records as bytes; fewer than `_AHEAD_BYTES` if no more are due."""
        portion = bytearray()
        for _, payload in self._due:
            portion += self._form.encode(payload)
            if len(portion) >= _AHEAD_BYTES:
                break
        return portion

    def _queue(self, portion: bytearray) -> None:
        if not portion:
            return
        for client in self._clients:
            if self._speed is None or len(client.waiting) + len(portion) <= self._max_backlog_bytes:
                client.waiting += portion

    def _exchange(self, wait_s: float) -> None:
        """Send data, remove and accept clients; waits at most `wait_s` seconds."""
        poller = select.poll()
        poller.register(self._listener, select.POLLIN)
        for client in list(self._clients):
            if not client.send():
                self._drop(client)
            elif client.waiting:
                poller.register(client.connection, select.POLLOUT)
        listener_fd = self._listener.fileno()
        if any(descriptor == listener_fd for descriptor, _ in poller.poll(math.ceil(wait_s * 1000))):
            self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # the client disconnected before it was accepted
        connection.setblocking(False)
        opening = b"".join(map(self._form.encode, self._simulation.opening()))
        self._clients.append(_Client(connection, opening))

    def _drop(self, client: _Client) -> None:
        client.connection.close()
        self._clients.remove(client)


def write_truth(simulation: Simulation, path: str | os.PathLike[str] | None) -> None:
    """Write the truth to a new file and rename it, so that a reader never sees half of it."""
    if path is None:
        return
    target = Path(path)
    new = target.with_name(target.name + ".new")
    text = json.dumps(simulation.truth.as_dict(), indent=1, ensure_ascii=False)
    new.write_text(text + "\n", encoding="utf-8")
    os.replace(new, target)
