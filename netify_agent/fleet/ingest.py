"""``/ingest/<gateway>``: a gateway asks for its position (GET) and sends a message (POST)."""

from __future__ import annotations

import re
import zlib
from email.utils import parsedate_to_datetime
from typing import Any

from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Environ, Reply, json_reply
from netify_agent.fleet import gateway_settings
from netify_agent.fleet.copies import Copies
from netify_agent.fleet.summary import Contact, summary_of
from netify_agent.store.replica import HEAD, Message, decode
from netify_agent.store.replica_sink import OtherPosition, ReplicaSink
from netify_agent.store.summaries import Summaries

MAX_SENT = 8 << 20  # bytes of a request
MAX_MESSAGE = 32 << 20  # bytes of a message
_AGENT = re.compile(r"netify-agent/([0-9A-Za-z.+~-]{1,32})")  # of User-Agent


class Ingest:
    """Answers a gateway whose token was checked. Raises Problem, and StoreError if Redis does not answer."""

    def __init__(self, sink: ReplicaSink, copies: Copies, summaries: Summaries) -> None:
        self._sink = sink
        self._copies = copies
        self._summaries = summaries

    def answer(self, gateway: str, environ: Environ) -> Reply:
        """Answer one request."""
        method = environ["REQUEST_METHOD"]
        if method == "GET":
            return json_reply(self._sink.position(gateway)._asdict())
        if method != "POST":
            raise Problem(405, "only GET, POST are allowed here", {"Allow": "GET, POST"})
        message = _message(gateway, environ)
        try:
            self._sink.apply(gateway, message)
        except OtherPosition:
            raise Problem(409, "the collector has another position: ask for it") from None
        self._summarise(gateway, contact_of(environ))
        return json_reply({"position": message.position})

    def _summarise(self, gateway: str, contact: Contact) -> None:
        """Store the summary of the copy. If a later message is applied meanwhile, that of the later one."""
        summarised = None
        while (copy := self._copies.open(gateway)) is not None:
            if copy.services.stored_flush().sequence == summarised:
                return
            summarised, summary = summary_of(copy.services, contact)
            self._summaries.put(gateway, summary.encode())


def contact_of(environ: Environ) -> Contact:
    """What the headers of a request say of the agent that sent it.

    ``Date`` is in whole seconds, cut off, so the skew is right to a second.
    """
    agent = _AGENT.match(environ.get("HTTP_USER_AGENT", ""))
    try:
        at_s = parsedate_to_datetime(environ["HTTP_DATE"]).timestamp()
        skew_s = round(at_s + 0.5 - environ["netify.arrived"])
    except (KeyError, TypeError, ValueError, OverflowError):
        skew_s = None
    return Contact(agent[1] if agent else None, skew_s)


def _message(gateway: str, environ: Environ) -> Message:
    """Read the message of a request. Raises Problem."""
    if environ.get("HTTP_CONTENT_ENCODING") != "gzip":
        raise Problem(415, "expected a message with Content-Encoding: gzip")
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        data = unpack.decompress(_body(environ), MAX_MESSAGE)
    except zlib.error as error:
        raise Problem(400, f"expected gzip, found something else ({error})") from None
    if unpack.unconsumed_tail:
        raise Problem(413, f"expected a message of at most {MAX_MESSAGE} bytes")
    if not unpack.eof or unpack.unused_data:
        raise Problem(400, "expected a whole message, found a part or more than one")
    try:
        message = decode(data)
        gateway_settings.decode(gateway, message.items[HEAD].hashes.get("settings", {}))
    except ValueError as error:
        raise Problem(400, str(error)) from None
    return message


def _body(environ: Environ) -> bytes:
    stream: Any = environ["wsgi.input"]
    data: bytes = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    return data
