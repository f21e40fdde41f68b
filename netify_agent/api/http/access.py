"""Who may ask: under which name, with which token, and from which web pages.

Plain values of a request (WSGI's environ) to a refusal or to headers of its answer. It must not know any
route, but for those that need no token.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import math
import re
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from netify_agent.api.http.problems import Problem
from netify_agent.config.settings import WebSettings

log = logging.getLogger(__name__)

METHODS = "GET, HEAD, OPTIONS"
_CHALLENGE = 'Bearer realm="netify-agent"'
_LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
_WRONG_AT_ONCE = 20
_WRONG_EVERY_S = 3.0

#: For every answer: it is no script and no page, whatever a browser may take it for.
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class WrongTokens:
    """How many wrong tokens are told one by one: some at once, then one every few seconds. Thread-safe.

    One count for all clients, so that none has to be remembered; a right token is never kept waiting.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = float(_WRONG_AT_ONCE)
        self._at = time.monotonic()
        self._told = False

    def another(self, client: str) -> float:
        """Count one more, from ``client``.

        :returns: seconds until the next is told, 0 if this one is.
        """
        with self._lock:
            now = time.monotonic()
            self._left = min(_WRONG_AT_ONCE, self._left + (now - self._at) / _WRONG_EVERY_S)
            self._at = now
            if self._left >= 1:
                self._told = self._told and self._left < _WRONG_AT_ONCE - 1
                self._left -= 1
                return 0.0
            told, self._told = self._told, True
        if not told:
            log.warning("many wrong tokens, the last one from %s", client)
        return (1 - self._left) * _WRONG_EVERY_S


class Access:
    """The rules of ``web`` for every request."""

    def __init__(self, web: WebSettings, tokens: Iterable[str] = ()) -> None:
        """``tokens``: one of them must come with each request; with none, nothing is asked for."""
        self._digests = [hashlib.sha256(token.encode()).digest() for token in tokens]
        self._wrong = WrongTokens()
        self._origins = frozenset(web.cors_origins)
        self._literals = not web.listen.is_loopback  # an address is no name that a DNS could turn round
        self._hosts: frozenset[str] | None = None
        if web.listen.is_loopback or (web.listen.scheme == "tcp" and web.hosts):
            self._hosts = _LOOPBACK_NAMES.union(web.hosts, [web.listen.host])

    def check_host(self, environ: Mapping[str, Any]) -> None:
        """Refuse who asks for another machine. Raises Problem: 403."""
        if self._hosts is not None:
            self._check_name(environ.get("HTTP_HOST", "localhost"))

    def check_token(self, environ: Mapping[str, Any]) -> None:
        """Refuse who brings no right token where one is needed. Raises Problem: 401 and 429."""
        if self._digests and not _is_open(environ["PATH_INFO"]) and not self._is_preflight(environ):
            self._look_at_token(environ)

    def headers(self, environ: Mapping[str, Any], answer: Mapping[str, str]) -> list[tuple[str, str]]:
        """All headers of an answer whose own are ``answer``: its own win over ours."""
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
        """Whether a browser asks if a page may ask (Fetch standard); it sends no token with that."""
        return (
            environ["REQUEST_METHOD"] == "OPTIONS"
            and environ.get("HTTP_ORIGIN") in self._origins
            and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        )

    def _check_name(self, host: str) -> None:
        """Answer only who asked for this machine by a name of its own (DNS rebinding)."""
        name = re.sub(r":[0-9]*$", "", host.lower())
        if name.startswith("[") and name.endswith("]"):
            name = name[1:-1]
        assert self._hosts is not None
        if name not in self._hosts and not (self._literals and _is_address(name)):
            raise Problem(403, f"the Host header names '{host[:100]}', which is not in web.hosts")

    def _look_at_token(self, environ: Mapping[str, Any]) -> None:
        given = environ.get("HTTP_AUTHORIZATION")
        if given is None:
            raise Problem(
                401, "expected a token: 'Authorization: Bearer <token>'", {"WWW-Authenticate": _CHALLENGE}
            )
        scheme, _, token = given.partition(" ")
        digest = hashlib.sha256(token.strip(" ").encode("latin-1", "replace")).digest()
        # All are compared, each in constant time: how long it takes tells nothing about any.
        right = sum(hmac.compare_digest(digest, known) for known in self._digests)
        if right and scheme.lower() == "bearer":
            return
        wait_s = self._wrong.another(environ.get("REMOTE_ADDR") or "a Unix socket")
        if wait_s:
            headers = {"Retry-After": str(math.ceil(wait_s))}
            raise Problem(429, "too many wrong tokens; a right one is still welcome", headers)
        headers = {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'}
        raise Problem(401, "the token is not one of those in web.tokens_file", headers)


def _is_open(path: str) -> bool:
    """Whether a path is answered without a token: it tells nothing of the network."""
    return path in ("/healthz", "/ui") or path.startswith("/ui/")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
