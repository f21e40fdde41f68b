"""The WSGI application: access rules, routing, and the cache of answers.

A cached answer of the last flush is looked up first. Otherwise Bottle finds the route.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode

import bottle

from netify_agent.api.http import csv_table, parameters
from netify_agent.api.http.access import METHODS, Access
from netify_agent.api.http.negotiation import quality, takes_gzip
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.response_cache import (
    Encoded,
    Entry,
    ResponseCache,
    State,
    etag_of,
    gzip_etag,
    matches,
    not_modified,
)
from netify_agent.api.http.route import VARY, Document, Environ, Reply, Request, Route, encode
from netify_agent.store.client import StoreError
from netify_agent.store.query import FlushStamp

log = logging.getLogger(__name__)

_NO_BODY = frozenset((204, 304))
_AWAY_S = 15  # the largest Retry-After while Redis is away, seconds


class Source(Protocol):
    """What answers are made of. A cached answer is valid as long as flush and generation are the same."""

    def last_flush(self) -> FlushStamp:
        """The last flush, without a request to Redis where possible. Raises StoreError."""

    def stored_flush(self) -> FlushStamp:
        """The flush that an answer which is built now belongs to. Raises StoreError."""

    @property
    def generation(self) -> int:
        """Changes with the names that answers show."""

    @property
    def interval_s(self) -> int:
        """Time between two flushes, seconds."""


class Api:
    """The routes of one source. :meth:`app` is the WSGI application."""

    def __init__(
        self, source: Source, access: Access, routes: Iterable[Route], cache: ResponseCache | None = None
    ) -> None:
        """``cache``: of this object alone; None: a new one of the usual size."""
        self._source = source
        self._access = access
        self._born = f"{time.time_ns():x}"  # other settings give other answers, so other ETags
        self._kept = cache or ResponseCache()
        self._routes: dict[str, Route] = {}
        self._pages: dict[
            str, tuple[str, str]
        ] = {}  # path: where browsers are redirected, media type of others
        self._bottle = bottle.Bottle()
        for route in routes:
            self._routes[route.name] = route
            if route.page is not None:
                self._pages[route.path] = route.page, route.media_type
            self._bottle.route(route.path, "GET", route.answer, name=route.name)

    def app(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333). Every error becomes a problem document."""
        try:
            reply = self._reply(environ)
        except Problem as problem:
            reply = problem.reply()
        except StoreError as error:
            retry = {"Retry-After": str(min(self._source.interval_s, _AWAY_S))}
            reply = Problem(503, f"Redis: {error}", retry).reply()
        except Exception:
            log.exception("%s %r failed", environ["REQUEST_METHOD"], environ["PATH_INFO"][:200])
            reply = Problem(500, "internal error; see the journal").reply()
        headers = self._access.headers(environ, reply.headers)
        return _send(reply, headers, environ, start_response)

    def _reply(self, environ: Environ) -> Reply:
        path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
        self._access.check_host(environ)
        method, accept = environ["REQUEST_METHOD"], environ.get("HTTP_ACCEPT", "")
        if path in self._pages and method in ("GET", "HEAD"):
            page, media_type = self._pages[path]
            others = quality(accept, media_type), quality(accept, csv_table.CSV)
            if quality(accept, "text/html") > max(others) and csv_table.given_format(query) is None:
                # Before the token is checked: the browser has none until the dashboard has asked for it.
                return Reply(b"", 303, {"Location": page, "Vary": VARY, "Cache-Control": "no-cache"})
        # A decoded path may hold a '?', a query no space.
        target = f"{'csv' if csv_table.prefers_csv(accept) else 'json'} {query} {path}"
        entry = self._kept.get(target)
        arguments: dict[str, str] = {}
        route, missing = None, None
        if entry is not None:
            route = entry.route
        else:
            try:
                route, arguments = self._match(path)
            except Problem as problem:
                missing = problem  # raised after the token was checked: it reveals which paths exist
        if route is None or not route.public:
            self._access.check_token(environ)
        if method not in ("GET", "HEAD"):
            if method == "OPTIONS":
                return Reply(b"", 204, {"Allow": METHODS})
            raise Problem(405, f"only {METHODS} are allowed here", {"Allow": METHODS})
        if route is None:
            raise missing or Problem(404, "no such path")
        media_type = csv_table.media_type(route, query, accept)
        if entry is not None:  # its parameters were checked before
            return self._current(route, entry.values, environ, target, media_type, entry)
        declared = csv_table.declared(route, media_type)
        values: Mapping[str, Any] = parameters.read(declared, "" if route.any_query else query, arguments)
        if route.table is not None and media_type == csv_table.CSV:
            values = csv_table.prepared(route.table, values)
        request = Request(values, environ, media_type)
        if route.cached:
            return self._current(route, values, environ, target, media_type, None)
        answer = route.answer(request)
        if isinstance(answer, Reply):
            return answer
        body, headers = represented(route, request, answer)
        return Reply(body, headers={**headers, "Cache-Control": "no-store", "Vary": VARY})

    def _match(self, path: str) -> tuple[Route, dict[str, str]]:
        """The route of a path, and the parameters in the path. Raises Problem."""
        try:
            path = path.encode("latin-1").decode()
        except UnicodeError:
            raise Problem(400, "the path: expected UTF-8, found other bytes") from None
        try:
            found, arguments = self._bottle.match({"REQUEST_METHOD": "GET", "PATH_INFO": path})
        except bottle.HTTPError:
            raise Problem(404, "no such path") from None
        return self._routes[found.name], arguments

    def _current(
        self,
        route: Route,
        values: Mapping[str, Any],
        environ: Environ,
        target: str,
        media_type: str,
        entry: Entry | None,
    ) -> Reply:
        """The cached answer, built anew after each flush; 304 if the client has it.

        :param entry: the cached answer, which may be outdated.
        """
        state = State(self._source.last_flush(), self._source.generation, self._born)
        if entry is not None and entry.state == state:
            return entry.encoded.reply(environ)
        etag = etag_of(state, target)
        known = environ.get("HTTP_IF_NONE_MATCH")
        if known is not None:
            packed = takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))
            for name in (etag, gzip_etag(etag)) if packed else (etag,):
                if matches(known, f'"{name}"'):
                    return not_modified(f'"{name}"')
        with self._kept.building(target):
            entry = self._kept.get(target)
            if entry is None or entry.state != state:
                # The store may be one flush ahead of the flush log, or behind it after a restart of Redis.
                before = self._source.stored_flush()
                request = Request(values, environ, media_type, state.flush.at_ms)
                document = route.answer(request)
                if isinstance(document, Reply):
                    return document
                body, headers = represented(route, request, document)
                after = self._source.stored_flush()
                generation = self._source.generation
                if (before, after, generation) != (state.flush, state.flush, state.generation):
                    return Reply(body, headers={**headers, "Cache-Control": "no-cache", "Vary": VARY})
                entry = Entry(route, values, state, Encoded(body, headers, etag))
                self._kept.put(target, entry)
        return entry.encoded.reply(environ)


def represented(route: Route, request: Request, document: Document) -> tuple[bytes, dict[str, str]]:
    """The body of an answer, and the headers that describe it.

    ``Link`` (RFC 8288) names the next page of a list, relative to the request, because CSV can't hold it.
    """
    headers = {"Content-Type": route.media_type}
    if route.table is not None and document.get("next") is not None:
        headers["Link"] = f'<?{next_query(request.environ["QUERY_STRING"], document["next"])}>; rel="next"'
    if route.table is None or request.media_type != csv_table.CSV:
        return encode(document), headers
    headers["Content-Type"] = csv_table.CONTENT_TYPE
    headers["Content-Disposition"] = f'attachment; filename="{route.name}.csv"'
    return csv_table.encode(route.table, request.values, document), headers


def next_query(query: str, cursor: str) -> str:
    """The query of the next page: that of this page with another ``cursor``."""
    given = parse_qsl(query, keep_blank_values=True, encoding="latin-1")
    pairs = [(name, value) for name, value in given if name != "cursor"]
    return urlencode([*pairs, ("cursor", cursor)], encoding="latin-1", quote_via=quote, safe=",:")


def _send(
    reply: Reply, headers: list[tuple[str, str]], environ: Environ, start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """Pass ``reply`` with its ``headers`` to the web server."""
    body = reply.body
    if isinstance(body, bytes):
        if reply.status not in _NO_BODY:
            headers.append(("Content-Length", str(len(body))))
        body = [body]
    if environ["REQUEST_METHOD"] == "HEAD":
        body = []
    start_response(f"{reply.status} {HTTPStatus(reply.status).phrase}", headers)
    return body
