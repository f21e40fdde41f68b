"""A POST over HTTP or HTTPS with bounded time and bounded answer."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from netify_agent import __version__
from netify_agent.alerts.receivers.sender import (
    NotSent,
    connect,
    one_line,
    reason_of,
    start_tls,
    time_limit,
)
from netify_agent.config.notify import HttpReceiver

_ANSWER_BYTES = 4096  # of a body that are read
_SHOWN_CHARS = 120
#: Statuses 4xx that concern the receiver or are temporary, and do not concern the notification.
_FOR_ALL = (401, 403, 404, 405, 407, 408, 425, 429)


class HttpPoster:
    """Posts JSON to one receiver, with its credentials."""

    def __init__(self, name: str, settings: HttpReceiver, context: ssl.SSLContext, limit_s: float) -> None:
        """Read the secrets.

        :param name: of the receiver.
        :param limit_s: time limit of a POST with its answer, seconds.
        :raises ConfigError: if a secret can't be read.
        """
        self._context = context
        self._limit_s = limit_s
        self._headers = {"Content-Type": "application/json", "User-Agent": f"netify-agent/{__version__}"}
        token, password = settings.token(name), settings.password(name)
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        elif password is not None:
            login = base64.b64encode(f"{settings.user}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"

    def post(
        self, url: str, document: Any, stop: threading.Event, headers: Mapping[str, str] | None = None
    ) -> str:
        """Post ``document``; see :meth:`post_body`."""
        return self.post_body(url, to_body(document), stop, headers)

    def post_body(
        self, url: str, body: bytes, stop: threading.Event, headers: Mapping[str, str] | None = None
    ) -> str:
        """Post ``body``.

        :returns: status and start of the answer, in one line.
        :raises NotSent: if the answer has no status 2xx. Redirects are not followed.
        """
        where = urlsplit(url)
        target = (where.path or "/") + (f"?{where.query}" if where.query else "")
        tls = self._context if where.scheme == "https" else None
        connection = _Connection(where.hostname or "", where.port, tls)
        try:
            with time_limit(lambda: connection.sock, stop, self._limit_s):
                connection.request("POST", target, body, {**self._headers, **(headers or {})})
                response = connection.getresponse()
                status, reason = response.status, response.reason
                # The status alone decides; a body that does not arrive in time is ignored.
                try:
                    text = response.read(_ANSWER_BYTES).decode("utf-8", "replace")
                except (OSError, http.client.HTTPException):
                    text = ""
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotSent(reason_of(error)) from error
        finally:
            connection.close()
        answer = one_line(f"{status} {reason} {text[:_SHOWN_CHARS]}")
        if not 200 <= status < 300:
            raise NotSent(f"it answers {answer}", only_this=400 <= status < 500 and status not in _FOR_ALL)
        return answer


class _Connection(http.client.HTTPConnection):
    """A connection with or without TLS."""

    def __init__(self, host: str, port: int | None, tls: ssl.SSLContext | None) -> None:
        self.default_port = http.client.HTTP_PORT if tls is None else http.client.HTTPS_PORT
        super().__init__(host, port or self.default_port)
        self._tls = tls

    def connect(self) -> None:
        """Connect. Raises OSError."""
        self.sock = connect(self.host, self.port)
        if self._tls is not None:
            start_tls(self.sock, self._tls, self.host, self._keep)

    def _keep(self, connection: ssl.SSLSocket) -> None:
        self.sock = connection


def to_body(document: Any) -> bytes:
    """JSON in UTF-8."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
