"""Authentication, the check of the Host header, CORS, and security headers.

Works on the values of a request (WSGI's environ). It knows no route.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from netify_agent.api.http.problems import Problem
from netify_agent.config import secrets
from netify_agent.config.settings import WebSettings

log = logging.getLogger(__name__)

METHODS = "GET, HEAD, OPTIONS"
_CHALLENGE = 'Bearer realm="netify-agent"'
_HOSTS_FILE = "/etc/hosts"

#: On every answer: browsers must treat it neither as a script nor as a page.
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class WrongTokenLog:
    """Logs wrong tokens at a bounded rate, whatever clients do. Thread-safe."""

    def __init__(self, every_s: float = 60.0) -> None:
        """At most one line in ``every_s`` seconds, with how many wrong tokens there were since the last."""
        self._every_s = every_s
        self._lock = threading.Lock()  # guards the two below
        self._count = 0
        self._logged_at = -every_s

    def add(self, client: str) -> None:
        """Count a wrong token of ``client``; log it if the last line is old enough."""
        with self._lock:
            self._count += 1
            now = time.monotonic()
            if now - self._logged_at < self._every_s:
                return
            count, self._count, self._logged_at = self._count, 0, now
        log.warning("%d wrong token%s, the latest from %s", count, "s" * (count != 1), client)


class Access:
    """The rules of ``web`` for every request."""

    def __init__(self, web: WebSettings, tokens: Iterable[str] = ()) -> None:
        """``tokens``: each request needs one of them; none: no token is needed."""
        self._digests = secrets.digests(tokens)
        self._wrong_tokens = WrongTokenLog()
        self._origins = frozenset(web.cors_origins)
        self._hosts: frozenset[str] | None = None  # None: any name will do
        if web.listen.scheme == "tcp" and (web.hosts or web.listen.is_loopback or not self._digests):
            self._hosts = own_host_names().union(web.hosts, [web.listen.host])

    def check_host(self, environ: Mapping[str, Any]) -> None:
        """Refuse a request whose Host header names another host (DNS rebinding). Raises Problem: 403.

        A web page that lets its own name resolve to this machine still sends its own name. An IP address
        needs no resolution, so any is accepted.
        """
        if self._hosts is None:
            return
        host: str = environ.get("HTTP_HOST", "localhost")
        name = re.sub(r":[0-9]*$", "", host.lower())
        if name.startswith("[") and name.endswith("]"):
            name = name[1:-1]
        if name not in self._hosts and not _is_address(name):
            raise Problem(
                403,
                f"the Host header is '{host[:100]}', which is no name of this machine: add it to web.hosts",
            )

    def check_token(self, environ: Mapping[str, Any]) -> None:
        """Refuse a request without a valid token, if tokens are configured. Raises Problem: 401."""
        if not self._digests or self._is_preflight(environ):
            return
        given = environ.get("HTTP_AUTHORIZATION")
        if given is None:
            raise Problem(
                401, "expected a token: 'Authorization: Bearer <token>'", {"WWW-Authenticate": _CHALLENGE}
            )
        if secrets.is_one_of(given, self._digests):
            return
        self._wrong_tokens.add(environ.get("REMOTE_ADDR") or "a Unix socket")
        headers = {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'}
        raise Problem(401, "the token is not one of those in web.tokens_file", headers)

    def headers(self, environ: Mapping[str, Any], answer: Mapping[str, str]) -> list[tuple[str, str]]:
        """All headers of an answer: ``answer``, its own, take precedence over the general ones."""
        headers = [*{**SAFE_HEADERS, **answer}.items()]
        if self._origins:
            headers.append(("Vary", "Origin"))
            origin = environ.get("HTTP_ORIGIN")
            if origin in self._origins:
                headers.append(("Access-Control-Allow-Origin", origin))
                headers.append(("Access-Control-Expose-Headers", "ETag, Retry-After, WWW-Authenticate"))
                if self._is_preflight(environ):
                    headers.append(("Access-Control-Allow-Methods", METHODS))
                    headers.append(
                        ("Access-Control-Allow-Headers", "Authorization, If-None-Match, Last-Event-ID")
                    )
                    headers.append(("Access-Control-Max-Age", "600"))
        return headers

    def _is_preflight(self, environ: Mapping[str, Any]) -> bool:
        """Whether this is a CORS preflight of a configured origin; browsers send no token with it."""
        return (
            environ["REQUEST_METHOD"] == "OPTIONS"
            and environ.get("HTTP_ORIGIN") in self._origins
            and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        )


def own_host_names(hosts_file: str = _HOSTS_FILE) -> frozenset[str]:
    """Names of this machine, in lower case: ``localhost``, its host name and short name, the latter also
    below ``.local`` (mDNS, RFC 6762), and their aliases in the hosts file.
    """
    host = socket.gethostname().lower()
    short = host.partition(".")[0]
    names = {"localhost", host, short, f"{short}.local"}
    try:
        with open(hosts_file, encoding="utf-8", errors="replace") as file:
            entries = [line.partition("#")[0].lower().split()[1:] for line in file]
    except OSError:
        entries = []
    for entry in entries:
        if host in entry or short in entry:
            names.update(entry)
    return frozenset(names - {""})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
