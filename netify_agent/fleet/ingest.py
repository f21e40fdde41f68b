"""``/ingest/<gateway>``: a gateway asks for its position (GET) and sends a message (POST)."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Document, Environ, Reply, json_reply
from netify_agent.store.replica_columns import Invalid
from netify_agent.store.replica_sink import OtherPosition, ReplicaSink

MAX_SENT = 8 << 20  # bytes of a request


class Ingest:
    """Answers a gateway whose token was checked. Raises Problem, and StoreError if Redis does not answer."""

    def __init__(self, sink: ReplicaSink) -> None:
        self._sink = sink

    def answer(self, gateway: str, environ: Environ) -> Reply:
        """Answer one request."""
        method = environ["REQUEST_METHOD"]
        if method == "GET":
            return json_reply(self._position(gateway, environ))
        if method != "POST":
            raise Problem(405, "only GET, POST are allowed here", {"Allow": "GET, POST"})
        if environ.get("HTTP_CONTENT_ENCODING"):
            raise Problem(415, "expected a message without Content-Encoding: it is compressed")
        try:
            return json_reply({"position": self._sink.apply(gateway, _body(environ))})
        except Invalid as error:
            raise Problem(400, str(error)) from None
        except OtherPosition:
            raise Problem(409, "the collector has another position, or other contents: ask for it") from None

    def _position(self, gateway: str, environ: Environ) -> Document:
        """The position, and the digests of items unless the gateway knows them for this position."""
        found = self._sink.position(gateway)
        known = parse_qs(environ.get("QUERY_STRING", "")).get("known", [])
        return {"position": found.position, "items": None if found.position in known else found.items}


def _body(environ: Environ) -> bytes:
    stream: Any = environ["wsgi.input"]
    data: bytes = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    return data
