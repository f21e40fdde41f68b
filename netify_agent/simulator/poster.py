"""POSTs a simulation to a URL, as netifyd v5's HTTP sink does."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from .form import Form
from .server import write_truth
from .simulation import INTERVAL_S, Simulation

_BODY_BYTES = 64 << 10  # payloads are collected up to this size; a quiet network has one event per POST
_TIMEOUT_S = 30.0
_RETRY_S = 0.2
_TICK_S = 0.05


class PostError(Exception):
    """The receiver refused a POST; the message has the reason."""


def post(
    simulation: Simulation,
    url: str,
    speed: float | None,
    truth_path: str | os.PathLike[str] | None,
    stop: threading.Event,
    form: Form,
    token: str | None = None,
) -> None:
    """POST `simulation` to `url` until it ends or `stop` is set. Failed POSTs are repeated.

    :param url: `http://host:port/path`
    :param speed: simulated seconds per second; None: as fast as it is taken
    :param token: sent as `Authorization: Bearer`
    :raises PostError: the receiver answered with a 4xx
    :raises OSError: the truth cannot be written
    """
    poster = _Poster(url, token, stop)
    try:
        poster.send(b"".join(map(form.encode, simulation.opening())))
        if speed is None:
            _send_all(poster, form, simulation.records())
        else:
            _in_time(poster, form, simulation, speed, truth_path, stop)
    finally:
        poster.close()
    write_truth(simulation, truth_path)


def _in_time(
    poster: _Poster,
    form: Form,
    simulation: Simulation,
    speed: float,
    truth_path: str | os.PathLike[str] | None,
    stop: threading.Event,
) -> None:
    start_ms, began_s = simulation.now_ms, time.monotonic()
    truth_due_ms = start_ms + INTERVAL_S * 1000
    while not simulation.ended and not stop.wait(_TICK_S):
        now_ms = start_ms + (time.monotonic() - began_s) * 1000 * speed
        _send_all(poster, form, simulation.advance(now_ms))
        if now_ms >= truth_due_ms:
            truth_due_ms += INTERVAL_S * 1000
            write_truth(simulation, truth_path)


def _send_all(poster: _Poster, form: Form, records: Iterable[tuple[int, bytes]]) -> None:
    for body in _bodies(form, records):
        if not poster.send(body):
            return


def _bodies(form: Form, records: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    body = bytearray()
    for _, payload in records:
        body += form.encode(payload)
        if len(body) >= _BODY_BYTES:
            yield bytes(body)
            body.clear()
    if body:
        yield bytes(body)


class _Poster:
    """A persistent connection to the receiver, reopened when it breaks."""

    def __init__(self, url: str, token: str | None, stop: threading.Event) -> None:
        place = urlsplit(url)
        self._path = place.path or "/"
        self._connection = http.client.HTTPConnection(
            place.hostname or "", place.port or 80, timeout=_TIMEOUT_S
        )
        self._headers = {"Content-Type": "application/octet-stream"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._stop = stop

    def send(self, body: bytes) -> bool:
        """POST `body` until it is accepted; False if `stop` was set before. Raises PostError."""
        while not self._stop.is_set():
            try:
                self._connection.request("POST", self._path, body, self._headers)
                answer = self._connection.getresponse()
                reason = answer.read().decode(errors="replace").strip()
            except (OSError, http.client.HTTPException):
                self._connection.close()
                self._stop.wait(_RETRY_S)
                continue
            if answer.status < 300:
                return True
            if answer.status < 500:
                raise PostError(f"{answer.status} {answer.reason}: {reason}")
            self._stop.wait(_RETRY_S)
        return False

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
