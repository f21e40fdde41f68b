"""``/ingest/<gateway>``: a gateway asks for its position (GET) and sends a message (POST)."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs

from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Document, Environ, Reply, json_reply
from netify_agent.fleet.copies import Copies
from netify_agent.fleet.summary import Contact, summary_of
from netify_agent.store.replica_columns import Invalid
from netify_agent.store.replica_sink import OtherPosition, ReplicaSink
from netify_agent.store.summaries import Summaries

MAX_SENT = 8 << 20  # bytes of a request
_RETRY_S = 15  # Retry-After while another message of the gateway is being applied
_AGENT = re.compile(r"netify-agent/([0-9A-Za-z.+~-]{1,32})")  # of User-Agent


class Ingest:
    """Answers a gateway whose token was checked. Raises Problem, and StoreError if Redis does not answer."""

    def __init__(self, sink: ReplicaSink, copies: Copies, summaries: Summaries) -> None:
        self._sink = sink
        self._copies = copies
        self._summaries = summaries
        self._lock = threading.Lock()  # guards the next one
        self._applying: set[str] = set()  # gateways

    def answer(self, gateway: str, environ: Environ) -> Reply:
        """Answer one request."""
        method = environ["REQUEST_METHOD"]
        if method == "GET":
            return json_reply(self._position(gateway, environ))
        if method != "POST":
            raise Problem(405, "only GET, POST are allowed here", {"Allow": "GET, POST"})
        if environ.get("HTTP_CONTENT_ENCODING"):
            raise Problem(415, "expected a message without Content-Encoding: it is compressed")
        with self._alone(gateway):
            try:
                position = self._sink.apply(gateway, _body(environ))
            except Invalid as error:
                raise Problem(400, str(error)) from None
            except OtherPosition:
                text = "the collector has another position, or other contents: ask for it"
                raise Problem(409, text) from None
            self._summarise(gateway, contact_of(environ))
        return json_reply({"position": position})

    @contextmanager
    def _alone(self, gateway: str) -> Iterator[None]:
        """One message of a gateway at a time: its messages do not take all threads, and no more memory."""
        with self._lock:
            if gateway in self._applying:
                text = "another message of this gateway is being applied"
                raise Problem(503, text, {"Retry-After": str(_RETRY_S)})
            self._applying.add(gateway)
        try:
            yield
        finally:
            with self._lock:
                self._applying.discard(gateway)

    def _position(self, gateway: str, environ: Environ) -> Document:
        """The position, and the digests of items unless the gateway knows them for this position."""
        found = self._sink.position(gateway)
        known = parse_qs(environ.get("QUERY_STRING", "")).get("known", [])
        return {"position": found.position, "items": None if found.position in known else found.items}

    def _summarise(self, gateway: str, contact: Contact) -> None:
        """Store the summary of the copy: of the latest message, if another one is applied meanwhile."""
        summarised = None
        while (copy := self._copies.open(gateway)) is not None:
            if copy.services.stored_flush().sequence == summarised:
                return
            summarised, summary = summary_of(copy.services, contact)
            self._summaries.put(gateway, summary.encode())


def contact_of(environ: Environ) -> Contact:
    """Return what the headers of a request say of the sending agent.

    ``Date`` is in whole seconds, cut off, so the skew is right to a second.
    """
    agent = _AGENT.match(environ.get("HTTP_USER_AGENT", ""))
    try:
        at_s = parsedate_to_datetime(environ["HTTP_DATE"]).timestamp()
        skew_s = round(at_s + 0.5 - environ["netify.arrived"])
    except (KeyError, TypeError, ValueError, OverflowError):
        skew_s = None
    return Contact(agent[1] if agent else None, skew_s)


def _body(environ: Environ) -> bytes:
    stream: Any = environ["wsgi.input"]
    data: bytes = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    return data
