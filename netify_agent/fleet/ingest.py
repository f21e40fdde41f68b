"""``/ingest/<gateway>``: a gateway asks for its position (GET) and sends a message (POST)."""

from __future__ import annotations

import zlib
from typing import Any

from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Environ, Reply, json_reply
from netify_agent.fleet import gateway_settings
from netify_agent.store.replica import HEAD, Message, decode
from netify_agent.store.replica_sink import OtherPosition, ReplicaSink

MAX_SENT = 8 << 20  # bytes of a request
MAX_MESSAGE = 32 << 20  # bytes of a message


class Ingest:
    """Answers a gateway whose token was checked. Raises Problem, and StoreError if Redis does not answer."""

    def __init__(self, sink: ReplicaSink) -> None:
        self._sink = sink

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
        return json_reply({"position": message.position})


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
