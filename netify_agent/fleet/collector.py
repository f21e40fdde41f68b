"""The WSGI application of a collector: authenticates a request and passes it on.

The token of a gateway permits ``/ingest/<gateway>`` of that gateway and nothing else. The token of a reader
permits ``/gateways`` and ``/gateways/<gateway>/...`` of the gateways that it may see; for others it gets 404.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from netify_agent.api.http.access import METHODS, SAFE_HEADERS, Access, WrongTokenLog
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Environ, Reply, json_reply
from netify_agent.fleet.copies import Copies
from netify_agent.fleet.ingest import Ingest
from netify_agent.fleet.tokens import Reader, Tokens
from netify_agent.store.client import StoreError

log = logging.getLogger(__name__)

_INGEST, _GATEWAYS = "/ingest/", "/gateways"
_CHALLENGE = 'Bearer realm="netify-collector"'
_AWAY_S = 15  # Retry-After while Redis is away, seconds


class Collector:
    """:meth:`app` is the WSGI application.

    :ivar tokens: may be replaced at any time.
    """

    def __init__(self, tokens: Tokens, access: Access, copies: Copies, ingest: Ingest) -> None:
        """``access``: the rules for the Host header; it has no tokens."""
        self.tokens = tokens
        self._access = access
        self._copies = copies
        self._ingest = ingest
        self._wrong_tokens = WrongTokenLog()

    def app(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333). Every error becomes a problem document."""
        try:
            self._access.check_host(environ)
            path = environ["PATH_INFO"]
            if path.startswith(_INGEST):
                reply = self._write(path[len(_INGEST) :], environ)
            elif path == "/healthz":
                reply = json_reply({"status": "ok"})
            else:
                reader = self._reader(environ)
                name, slash, rest = path[len(_GATEWAYS) + 1 :].partition("/")
                if path == _GATEWAYS:
                    reply = self._list(reader, environ)
                elif path.startswith(_GATEWAYS + "/") and slash and self._exists(name, reader):
                    api = self._copies.api(name)
                    inner = {
                        **environ,
                        "SCRIPT_NAME": f"{environ.get('SCRIPT_NAME', '')}{_GATEWAYS}/{name}",
                        "PATH_INFO": slash + rest,
                    }
                    return api.app(inner, start_response)
                else:
                    raise Problem(404, "no such path")
        except Problem as problem:
            reply = problem.reply()
        except StoreError as error:
            reply = Problem(503, f"Redis: {error}", {"Retry-After": str(_AWAY_S)}).reply()
        except Exception:
            log.exception("%s %r failed", environ["REQUEST_METHOD"], environ["PATH_INFO"][:200])
            reply = Problem(500, "internal error; the journal says more").reply()
        body = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)
        headers = [*{**SAFE_HEADERS, **reply.headers, "Content-Length": str(len(body))}.items()]
        start_response(f"{reply.status} {HTTPStatus(reply.status).phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _exists(self, gateway: str, reader: Reader) -> bool:
        return gateway in self.tokens.gateways and reader.sees(gateway)

    def _write(self, gateway: str, environ: Environ) -> Reply:
        if not self.tokens.may_write(environ.get("HTTP_AUTHORIZATION", ""), gateway):
            raise self._refused(environ, "the token is not one of this gateway")
        return self._ingest.answer(gateway, environ)

    def _reader(self, environ: Environ) -> Reader:
        """Return the reader whose token the request carries. Raises Problem: 401."""
        reader = self.tokens.reader(environ.get("HTTP_AUTHORIZATION", ""))
        if reader is None:
            raise self._refused(environ, "the token is not one of a reader")
        return reader

    def _refused(self, environ: Environ, why: str) -> Problem:
        if "HTTP_AUTHORIZATION" not in environ:
            text = "expected a token: 'Authorization: Bearer <token>'"
            return Problem(401, text, {"WWW-Authenticate": _CHALLENGE})
        self._wrong_tokens.add(environ.get("REMOTE_ADDR") or "a Unix socket")
        return Problem(401, why, {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'})

    def _list(self, reader: Reader, environ: Environ) -> Reply:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise Problem(405, f"only {METHODS} are allowed here", {"Allow": METHODS})
        seen = [gateway for gateway in sorted(self.tokens.gateways) if reader.sees(gateway)]
        return json_reply({"gateways": [self._copies.row(gateway) for gateway in seen]})
