"""Paths to answers, and the rules that hold for all of them: methods, hosts, caching, errors."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any

import bottle

from netify_agent.api.answers import Answers
from netify_agent.api.problems import Problem, bad_parameter
from netify_agent.config import Settings
from netify_agent.enrich import Directory
from netify_agent.store.client import StoreError
from netify_agent.store.read import StoreReader

log = logging.getLogger(__name__)

METHODS = "GET, HEAD, OPTIONS"
USERS_SHOWN = 10  # devices named with each application
MAX_BUCKETS = 2000  # of one history answer
_CACHED = 64  # encoded answers kept
_LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
_MAC = re.compile(
    r"([0-9a-f]{2}[:-]){5}[0-9a-f]{2}|([0-9a-f]{4}\.){2}[0-9a-f]{4}|[0-9a-f]{12}", re.IGNORECASE
)
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?(Z|[ +-][0-9]{2}:[0-9]{2})"
)


def device_name(text: str) -> str:
    """The store's name of the device that a client means.

    :param text: a MAC address with colons, dashes, dots or nothing between, in either case; or an IP.
    :raises Problem: 400 for anything else.
    """
    if _MAC.fullmatch(text):
        digits = re.sub(r"[^0-9a-f]", "", text.lower())
        return ":".join(digits[index : index + 2] for index in range(0, 12, 2))
    try:
        # netifyd writes addresses as the C library does; Python's ipaddress does since 3.13 only.
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError):
        raise bad_parameter(
            "device", text, "a MAC address, or the IP address of a device without one"
        ) from None


class Api:
    """The routes of one gateway.

    :ivar app: the WSGI application.
    """

    def __init__(
        self,
        settings: Settings,
        reader: StoreReader,
        directory: Directory,
        status: Callable[[], dict[str, Any]],
        ready: Callable[[], dict[str, str | None]],
    ) -> None:
        """Build the routes.

        :param status: the document of ``/status``.
        :param ready: each check of ``/readyz``, with what is wrong with it, or None.
        """
        self._settings = settings
        self._reader = reader
        self._directory = directory
        self._answers = Answers(settings.gateway, settings.interval_s, directory)
        self._status = status
        self._ready = ready
        self._cache: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._started = f"{time.time_ns():x}"
        listen = settings.web.listen
        self._hosts = _LOOPBACK_NAMES | {listen.host, *settings.web.hosts} if listen.is_loopback else None
        app = bottle.Bottle()
        app.route("/", "GET", self._guarded(self._network))
        app.route("/applications", "GET", self._guarded(self._applications))
        app.route("/status", "GET", self._guarded(self._get_status))
        app.route("/healthz", "GET", self._guarded(self._healthz))
        app.route("/readyz", "GET", self._guarded(self._readyz))
        app.route("/<device>", "GET", self._guarded(self._device))
        app.route("/<device>/history", "GET", self._guarded(self._history))
        app.route("/<path:path>", "OPTIONS", self._guarded(self._options))
        app.route("/", "OPTIONS", self._guarded(self._options))
        app.default_error_handler = self._error
        self.app = app

    # -- rules for all -----------------------------------------------------------------------------

    def _guarded(self, handler: Callable[..., bottle.HTTPResponse]) -> Callable[..., bottle.HTTPResponse]:
        """``handler`` behind the checks of every request, with its errors told as problems."""

        def guarded(**arguments: str) -> bottle.HTTPResponse:
            try:
                self._check_host()
                _check_path()
                return handler(**arguments)
            except Problem as problem:
                return problem.response()
            except StoreError as error:
                retry = {"Retry-After": str(self._settings.interval_s)}
                return Problem(503, f"Redis: {error}", retry).response()
            except Exception:
                log.exception("%s %r failed", bottle.request.method, bottle.request.path[:200])
                return Problem(500, "internal error; the journal says more").response()

        return guarded

    def _check_host(self) -> None:
        """On loopback, answer only who asked for this machine by name (DNS rebinding)."""
        if self._hosts is None:
            return
        host = bottle.request.get_header("Host", "localhost").lower()
        name = re.sub(r":\d*$", "", host)
        if name.startswith("[") and name.endswith("]"):
            name = name[1:-1]
        if name not in self._hosts:
            raise Problem(403, f"the Host header names '{host[:100]}', which is not in web.hosts")

    def _error(self, error: bottle.HTTPError) -> bytes:
        """What Bottle itself refuses: unknown paths and methods."""
        status = error.status_code
        if status == 405 and bottle.request.method in ("GET", "HEAD"):
            status = 404  # Bottle means that only OPTIONS knows this path
        headers = {"Allow": METHODS} if status == 405 else {}
        detail = {404: "no such path", 405: f"only {METHODS} are allowed here"}
        answer = Problem(status, detail.get(status, "bad request"), headers).response()
        bottle.response.status = status
        bottle.response.headers.pop("Allow", None)
        for name, value in answer.headers.items():
            bottle.response.set_header(name, value)
        return bytes(answer.body)

    def _options(self, path: str = "") -> bottle.HTTPResponse:
        return bottle.HTTPResponse(b"", 204, {"Allow": METHODS})

    def _cached(
        self, build: Callable[[], dict[str, Any] | None], missing: str, variant: str = ""
    ) -> bottle.HTTPResponse:
        """The answer to this request, 304 for who has it already, or a 404 that says ``missing``.

        :param build: makes the document; None where there is none. Called once per flush at most, but for
            each request where ``variant`` names one of many documents of the same path.
        """
        request = bottle.request
        sequence = self._reader.meta().get("seq", "0")
        name = f"{request.path}?{request.query_string} {variant}"
        state = f"{self._started} {sequence} {self._directory.generation} {name}"
        etag = f'"{hashlib.sha256(state.encode("utf-8", "replace")).hexdigest()[:24]}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        known = [tag.strip().removeprefix("W/") for tag in request.get_header("If-None-Match", "").split(",")]
        if etag in known:
            return bottle.HTTPResponse(b"", 304, headers)
        tag, body = self._cache.get(name, ("", b""))
        if tag != etag:
            document = build()
            if document is None:
                raise Problem(404, missing)
            body = _encode(document)
            if (
                self._reader.meta().get("seq", "0") != sequence
            ):  # a flush came between: what is named is unclear
                return _json(body, {"Cache-Control": "no-cache"})
            if not variant:
                self._keep(name, etag, body)
        if "*" in known:
            return bottle.HTTPResponse(b"", 304, headers)
        return _json(body, headers)

    def _keep(self, name: str, etag: str, body: bytes) -> None:
        """Keep an encoded answer; of too many, those go that were encoded the longest ago."""
        self._cache.pop(name, None)
        self._cache[name] = (etag, body)
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)

    # -- answers -----------------------------------------------------------------------------------

    def _network(self) -> bottle.HTTPResponse:
        self._allow_parameters()
        return self._cached(lambda: self._answers.network(self._reader.picture()), "")

    def _applications(self) -> bottle.HTTPResponse:
        self._allow_parameters()
        return self._cached(lambda: self._answers.applications(*self._reader.applications(USERS_SHOWN)), "")

    def _device(self, device: str) -> bottle.HTTPResponse:
        self._allow_parameters()
        name = device_name(device)

        def build() -> dict[str, Any] | None:
            found = self._reader.device(name)
            return self._answers.one_device(*found) if found else None

        return self._cached(build, f"no device {name} has been seen")

    def _history(self, device: str) -> bottle.HTTPResponse:
        query = self._allow_parameters("resolution", "from", "to", "applications")
        name = device_name(device)
        resolutions = {resolution.name: resolution for resolution in self._settings.history}
        wanted = query.get("resolution", self._settings.history[0].name)
        if wanted not in resolutions:
            raise bad_parameter("resolution", wanted, f"one of {', '.join(resolutions)}")
        resolution = resolutions[wanted]
        step = resolution.step_s
        with_applications = query.get("applications", "false")
        if with_applications not in ("true", "false"):
            raise bad_parameter("applications", with_applications, "true or false")
        now = int(time.time())
        to = _moment("to", query["to"]) if "to" in query else now
        earliest = now - resolution.keep_s
        since = _moment("from", query["from"]) if "from" in query else to - (MAX_BUCKETS - 1) * step
        if since > to:
            raise bad_parameter("from", query["from"], "a time that is not after 'to'")
        starts = range(max(since, earliest - step) // step * step, min(to, now) + 1, step)
        if len(starts) > MAX_BUCKETS:
            raise bad_parameter("from", query["from"], f"a time that makes at most {MAX_BUCKETS} buckets")

        def build() -> dict[str, Any] | None:
            if not self._reader.knows(name):
                return None
            buckets = self._reader.history(name, step, starts)
            return self._answers.history(name, step, buckets, applications=with_applications == "true")

        return self._cached(build, f"no device {name} has been seen", variant=f"{starts.start} {len(starts)}")

    def _get_status(self) -> bottle.HTTPResponse:
        self._allow_parameters()
        return _json(_encode(self._status()), {"Cache-Control": "no-store"})

    def _healthz(self) -> bottle.HTTPResponse:
        self._allow_parameters()
        return _json(_encode({"status": "ok"}), {"Cache-Control": "no-store"})

    def _readyz(self) -> bottle.HTTPResponse:
        self._allow_parameters()
        checks = self._ready()
        wrong = [reason for reason in checks.values() if reason]
        document = {
            "status": "unready" if wrong else "ready",
            "checks": {name: reason or "ok" for name, reason in checks.items()},
        }
        headers = {"Cache-Control": "no-store"}
        return _json(_encode(document), headers, 503 if wrong else 200)

    def _allow_parameters(self, *names: str) -> dict[str, str]:
        """The query's parameters. Raises Problem for one that is unknown, repeated, empty or no UTF-8."""
        found: dict[str, str] = {}
        for name, value in bottle.request.query.allitems():
            if name not in names:
                allowed = f"only {', '.join(names)}" if names else "no parameters"
                raise Problem(
                    400, f"unknown parameter '{name[:100]}': expected {allowed}", parameter=name[:100]
                )
            if name in found:
                raise Problem(400, f"{name}: given more than once", parameter=name)
            try:
                found[name] = value.encode("latin-1").decode()
            except UnicodeError:
                raise Problem(400, f"{name}: expected UTF-8, found other bytes", parameter=name) from None
            if not value:
                raise bad_parameter(name, "", "a value")
        return found


def _check_path() -> None:
    """Refuse a path that is no text: Bottle 0.13 would leave out what is not UTF-8, and find another."""
    try:
        bottle.request.environ.get("bottle.raw_path", "").encode("latin-1").decode()
    except UnicodeError:
        raise Problem(400, "the path: expected UTF-8, found other bytes") from None


def _moment(name: str, text: str) -> int:
    """A time of a parameter, as seconds since the epoch: that number, or RFC 3339."""
    if re.fullmatch("[0-9]{1,11}", text):
        return int(text)
    try:
        match = _RFC3339.fullmatch(text.upper())
        if match is None:
            raise ValueError("no RFC 3339")
        zone = match[2].replace("Z", "+00:00").replace(" ", "+")  # a query's '+' means a blank
        return int(datetime.fromisoformat(match[1] + zone).timestamp())
    except (ValueError, OverflowError):
        raise bad_parameter(
            name, text, "RFC 3339 (2026-11-23T20:55:00Z) or seconds since the epoch"
        ) from None


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def _json(body: bytes, headers: dict[str, str], status: int = 200) -> bottle.HTTPResponse:
    return bottle.HTTPResponse(body, status, {"Content-Type": "application/json", **headers})
