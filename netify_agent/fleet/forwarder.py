"""Forwards the store of this gateway to a collector, in its own thread.

It only reads the store, so the local accounting neither waits for it nor loses anything by it. What it knows
of the collector is what the collector said: it asks for the position at its start, and again after any doubt.
"""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

from netify_agent import __version__
from netify_agent.config.settings import ConfigError, FleetSettings
from netify_agent.store.client import StoreError
from netify_agent.store.replica_source import ReplicaSource

log = logging.getLogger(__name__)

_TIMEOUT_S = 30.0  # for a connection, a piece of an answer
_TICK_S = 0.5
_RETRY_S = 30.0  # after a failure, unless the interval is shorter
_MAX_ANSWER = 16 << 20  # bytes of a position


class NotForwarded(Exception):
    """An exchange failed. The message says why."""


@dataclass
class ForwarderStatus:
    """How forwarding goes, in this process.

    :ivar messages: messages that the collector has applied; :ivar failures: failed exchanges.
    :ivar bytes_sent: bytes of bodies, compressed, also of those that were not applied.
    :ivar last_sent: time of the latest applied message, seconds since the epoch; 0: none yet.
    :ivar complete: whether the collector had everything after it.
    :ivar error: why the latest exchange failed, in one line; None if it did not.
    """

    messages: int = 0
    failures: int = 0
    bytes_sent: int = 0
    last_sent: float = 0.0
    complete: bool = False
    error: str | None = None


class Forwarder:
    """:meth:`run` is the body of its thread."""

    def __init__(self, settings: FleetSettings, gateway: str, source: ReplicaSource) -> None:
        """Sends nothing yet. Raises ConfigError if a file of ``settings`` can't be used."""
        self.status = ForwarderStatus()
        self._source = source
        self._interval_s = settings.interval_s
        self._url = urlsplit(settings.url or "")
        self._path = f"{self._url.path}/ingest/{gateway}"
        self._token = settings.token()
        self._context = _context(settings.ca_file) if self._url.scheme == "https" else None
        self._known: tuple[str, dict[str, str]] | None = None  # position of the collector and its items

    def run(self, stop: threading.Event, progress: Callable[[], None]) -> None:
        """Forward until ``stop`` is set."""
        due = time.monotonic()
        while not stop.is_set():
            progress()
            if time.monotonic() >= due:
                wait_s = float(self._interval_s)
                try:
                    while not self.send() and not stop.is_set():
                        progress()
                    self._recovered()
                except (NotForwarded, StoreError) as error:
                    self._failed(str(error))
                    wait_s = min(wait_s, _RETRY_S)
                except Exception as error:  # whatever a collector answers, the agent goes on
                    log.exception("fleet: the exchange failed")
                    self._failed(f"internal error: {type(error).__name__}")
                    wait_s = min(wait_s, _RETRY_S)
                due = time.monotonic() + wait_s
            stop.wait(_TICK_S)

    def send(self) -> bool:
        """Send one message. Returns whether the collector has everything.

        :raises NotForwarded: if the collector can't be reached or refuses.
        :raises StoreError: if the local store can't be read.
        """
        if self._known is None:
            found = self._exchange("GET", None)
            self._known = found["position"], found["items"]
        message, digests, complete = self._source.message(*self._known)
        # Until the answer is here, it is not known what the collector has.
        self._known = None
        self._exchange("POST", gzip.compress(message.encode(), mtime=0))
        self._known = message.position, digests
        self.status.messages += 1
        self.status.last_sent = time.time()
        self.status.complete = complete
        return complete

    def _exchange(self, method: str, body: bytes | None) -> Any:
        """Send a request and return the JSON of its answer. Raises NotForwarded."""
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
            headers |= {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        try:
            connection.request(method, self._path, body, headers)
            self.status.bytes_sent += len(body or b"")
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
            raise NotForwarded(f"{self._url.netloc}: status {answer.status}: {detail}")
        if method == "GET" and not _is_position(found):
            raise NotForwarded(f"{self._url.netloc}: expected a position, found something else")
        return found

    def _failed(self, why: str) -> None:
        if self.status.error is None:
            log.warning("fleet: %s; trying again", why)
        self.status.failures += 1
        self.status.error = why
        self._known = None

    def _recovered(self) -> None:
        if self.status.error is not None:
            log.info("fleet: the collector has everything again")
        self.status.error = None


def _is_position(found: dict[str, Any]) -> bool:
    items = found.get("items")
    return (
        isinstance(found.get("position"), str)
        and isinstance(items, dict)
        and all(isinstance(digest, str) for digest in items.values())
    )


def _context(ca_file: str | None) -> ssl.SSLContext:
    """A context that checks the collector's certificate. Raises ConfigError."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"fleet.ca_file: {ca_file}: expected PEM certificates ({error})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
