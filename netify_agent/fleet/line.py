"""The line to a collector: requests over HTTP, at no more than a given rate."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

from netify_agent import __version__
from netify_agent.config.settings import ConfigError, FleetSettings

_TIMEOUT_S = 30.0  # for a connection, a piece of an answer
_MAX_ANSWER = 16 << 20  # bytes
_PIECE_S = 0.25  # of a body that is sent at a bounded rate
_LEAST_PIECE = 256  # bytes


class NotForwarded(Exception):
    """An exchange failed. The message says why."""


class Refused(NotForwarded):
    """The collector answered with another status than 200."""

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.status = status


class Line:
    """Used by one thread.

    :ivar bytes_sent: bytes of bodies so far, also of those that were cut off.
    :ivar stopping: set it to end an exchange that waits for its rate.
    """

    def __init__(self, settings: FleetSettings, gateway: str) -> None:
        """Sends nothing yet. Raises ConfigError if a file of ``settings`` can't be used."""
        self.bytes_sent = 0
        self.stopping = threading.Event()
        self._url = urlsplit(settings.url or "")
        self._path = f"{self._url.path}/ingest/{gateway}"
        self._token = settings.token()
        self._context = _context(settings.ca_file) if self._url.scheme == "https" else None
        self._bytes_s = None if settings.max_rate is None else settings.max_rate / 8
        self._due = 0.0  # when the next byte may be sent, by the monotonic clock

    def exchange(self, method: str, query: str = "", body: bytes | None = None) -> dict[str, Any]:
        """Send a request. Returns the JSON of its answer.

        :raises Refused: if the collector answers with another status than 200.
        :raises NotForwarded: if it can't be reached, or answers with something else.
        """
        host, port = self._url.hostname or "", self._url.port
        connection: http.client.HTTPConnection
        if self._context is not None:
            connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=self._context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        headers = {
            "Authorization": f"Bearer {self._token}",
            "User-Agent": f"netify-agent/{__version__}",
            "Date": formatdate(usegmt=True),  # the collector compares our clock with its own
        }
        if body is not None:
            headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(len(body))}
        try:
            pieces = None if body is None else self._pieces(body)
            connection.request(method, self._path + query, pieces, headers)
            answer = connection.getresponse()
            text = answer.read(_MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            raise NotForwarded(f"{self._url.netloc}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        try:
            found = json.loads(text) if len(text) <= _MAX_ANSWER else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise NotForwarded(f"{self._url.netloc}: status {answer.status}, and no JSON object")
        if answer.status != http.client.OK:
            detail = str(found.get("detail"))[:200]
            raise Refused(f"{self._url.netloc}: status {answer.status}: {detail}", answer.status)
        return found

    def _pieces(self, body: bytes) -> Iterator[bytes]:
        """The body in pieces, each of them when the rate allows it."""
        size = len(body) if self._bytes_s is None else max(int(self._bytes_s * _PIECE_S), _LEAST_PIECE)
        for at in range(0, len(body), size):
            piece = body[at : at + size]
            if self._bytes_s is not None:
                now = time.monotonic()
                if self.stopping.wait(max(self._due - now, 0)):
                    raise NotForwarded(f"{self._url.netloc}: the agent stops")
                self._due = max(self._due, now) + len(piece) / self._bytes_s
            self.bytes_sent += len(piece)
            yield piece


def _context(ca_file: str | None) -> ssl.SSLContext:
    """A context that checks the collector's certificate. Raises ConfigError."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"fleet.ca_file: {ca_file}: expected PEM certificates ({error})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
