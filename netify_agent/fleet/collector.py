"""The WSGI application of a collector: authenticates a request and passes it on.

A gateway's token opens ``/ingest/<gateway>`` of that gateway and nothing else. A reader's token opens
``/gateways/<gateway>/...`` of the gateways that it may see, and what is made of all of these; others do not
exist for it. The files of the dashboard need no token.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from netify_agent.api.http.access import METHODS, SAFE_HEADERS, Access, WrongTokenLog
from netify_agent.api.http.app import Api
from netify_agent.api.http.limits import DEFAULT_LIMITS
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.response_cache import ResponseCache
from netify_agent.api.http.route import Environ, Reply, Route, json_reply
from netify_agent.fleet.copies import CHECKED, Copies
from netify_agent.fleet.dashboard import Dashboard
from netify_agent.fleet.ingest import Ingest
from netify_agent.fleet.overview import Overview, View
from netify_agent.fleet.tokens import Reader, Tokens
from netify_agent.store.client import StoreError

log = logging.getLogger(__name__)

_INGEST, _GATEWAYS = "/ingest/", "/gateways/"
_CHALLENGE = 'Bearer realm="netify-collector"'
_AWAY_S = 15  # Retry-After while Redis is away, seconds
_CACHED_BYTES = 8 << 20  # of answers for readers with the same patterns


class Collector:
    """:meth:`app` is the WSGI application.

    :ivar tokens: may be replaced at any time.
    """

    def __init__(
        self,
        tokens: Tokens,
        access: Access,
        copies: Copies,
        overview: Overview,
        ingest: Ingest,
        routes: Callable[[View], Iterable[Route]],
    ) -> None:
        """Asks nothing yet.

        :param access: the rules for the Host header; it has no tokens.
        :param routes: returns the routes of what is made of several gateways.
        """
        self.tokens = tokens
        self._access = access
        self._copies = copies
        self._overview = overview
        self._ingest = ingest
        self._dashboard = Dashboard()
        self._routes = routes
        self._wrong_tokens = WrongTokenLog()
        self._lock = threading.Lock()  # guards the two below
        self._apis: dict[tuple[str, ...], Api] = {}  # by patterns
        self._apis_of: Tokens | None = None

    def admit(self, environ: Mapping[str, Any]) -> None:
        """Check a request whose body has not been read yet.

        Only a gateway with its token may send a message; nobody else has more to send than an agent takes.

        :raises Problem: 401, 403 or 413.
        """
        self._access.check_host(environ)
        path: str = environ["PATH_INFO"]
        if path.startswith(_INGEST):
            self._check_writer(path[len(_INGEST) :], environ)
        elif int(environ["CONTENT_LENGTH"]) > DEFAULT_LIMITS.body_bytes:
            raise Problem(413, f"expected a body of at most {DEFAULT_LIMITS.body_bytes} bytes")

    def app(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333). Every error becomes a problem document."""
        try:
            self._access.check_host(environ)
            path = environ["PATH_INFO"]
            if path == "/healthz":
                reply = _health(environ)
            elif path.startswith(_INGEST):
                gateway = path[len(_INGEST) :]
                self._check_writer(gateway, environ)
                reply = self._ingest.answer(gateway, environ)
            elif page := self._dashboard.reply(environ):
                reply = page
            else:
                tokens = self.tokens
                reader = self._reader(tokens, environ)
                if not path.startswith(_GATEWAYS):
                    return self._api(tokens, reader).app(environ, start_response)
                name, slash, rest = path[len(_GATEWAYS) :].partition("/")
                if not slash or name not in tokens.gateways or not reader.sees(name):
                    raise Problem(404, "no such path")
                inner = {
                    **environ,
                    "SCRIPT_NAME": f"{environ.get('SCRIPT_NAME', '')}{_GATEWAYS}{name}",
                    "PATH_INFO": slash + rest,
                }
                return self._copies.api(name).app(inner, start_response)
        except Problem as problem:
            reply = problem.reply()
        except StoreError as error:
            reply = Problem(503, f"Redis: {error}", {"Retry-After": str(_AWAY_S)}).reply()
        except Exception:
            log.exception("%s %r failed", environ["REQUEST_METHOD"], environ["PATH_INFO"][:200])
            reply = Problem(500, "internal error; see the journal").reply()
        body = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)
        headers = [*{**SAFE_HEADERS, **reply.headers, "Content-Length": str(len(body))}.items()]
        start_response(f"{reply.status} {HTTPStatus(reply.status).phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _api(self, tokens: Tokens, reader: Reader) -> Api:
        """What is made of all gateways that a reader sees."""
        with self._lock:
            if self._apis_of is not tokens:
                self._apis, self._apis_of = {}, tokens
            api = self._apis.get(reader.patterns)
            if api is None:
                names = [name for name in sorted(tokens.gateways) if reader.sees(name)]
                view = View(self._overview, names, lambda: self.tokens is tokens)
                cache = ResponseCache(max_entries=32, max_bytes=_CACHED_BYTES)
                api = self._apis[reader.patterns] = Api(view, CHECKED, self._routes(view), cache)
            return api

    def _check_writer(self, gateway: str, environ: Mapping[str, Any]) -> None:
        """Raises Problem: 401."""
        if not self.tokens.may_write(environ.get("HTTP_AUTHORIZATION", ""), gateway):
            raise self._refused(environ, "the token is not one of this gateway")

    def _reader(self, tokens: Tokens, environ: Environ) -> Reader:
        """Return the reader whose token the request carries. Raises Problem: 401."""
        reader = tokens.reader(environ.get("HTTP_AUTHORIZATION", ""))
        if reader is None:
            raise self._refused(environ, "the token is not one of a reader")
        return reader

    def _refused(self, environ: Mapping[str, Any], why: str) -> Problem:
        if "HTTP_AUTHORIZATION" not in environ:
            text = "expected a token: 'Authorization: Bearer <token>'"
            return Problem(401, text, {"WWW-Authenticate": _CHALLENGE})
        self._wrong_tokens.add(environ.get("REMOTE_ADDR") or "a Unix socket")
        return Problem(401, why, {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'})


def _health(environ: Environ) -> Reply:
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        raise Problem(405, f"only {METHODS} are allowed here", {"Allow": METHODS})
    return json_reply({"status": "ok"})
