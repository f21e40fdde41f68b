"""The daemon's web server: starts it, and applies a new configuration to it while it serves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from ssl import SSLContext
from typing import NamedTuple

from netify_agent.api.flush_log import FlushLog
from netify_agent.api.http.access import Access
from netify_agent.api.http.app import Api
from netify_agent.api.http.server import WebError, WebServer
from netify_agent.api.http.tls import TLS_LIMIT_S, server_context
from netify_agent.config.settings import Settings, WebSettings
from netify_agent.daemon.worker import Body, Worker

log = logging.getLogger(__name__)


class WebRules(NamedTuple):
    """What secret files say of access to the web server.

    :ivar access: the access rules, with the tokens.
    :ivar context: the TLS context; None for plain HTTP.
    """

    access: Access
    context: SSLContext | None

    @classmethod
    def read(cls, settings: Settings) -> WebRules:
        """Read the tokens, the certificate and its key. Raises ConfigError."""
        return cls(Access(settings.web, settings.web.tokens()), server_context(settings.web.tls))


class Web:
    """The web server and its threads.

    :ivar workers: the thread of the server, and that of the TLS relay in front of it, if there is one.
    """

    def __init__(
        self,
        api: Callable[[Settings, Access], Api],
        start: Callable[[str, Body, float], Worker],
        end: Callable[[Worker], object],
        flush_log: FlushLog,
    ) -> None:
        """Starts nothing yet.

        :param api: builds the API for settings and access rules.
        :param start: starts a thread with a name, a body, and the time in seconds in which it must report
            progress.
        :param end: stops a thread and waits for its end.
        :param flush_log: the clients of ``/events`` wait for it.
        """
        self.workers: list[Worker] = []
        self._api = api
        self._start_worker = start
        self._end = end
        self._flush_log = flush_log

    @property
    def queue_length(self) -> int:
        """Number of requests that wait for a thread."""
        return self._server.queue_length

    def start(self, settings: Settings, rules: WebRules) -> None:
        """Listen, and start the threads. Raises WebError."""
        self._server = WebServer(self._api(settings, rules.access).app, settings.web, rules.context)
        self._access = rules.access
        self.workers = [self._start_worker("web", self._server.run, self._server.limits.request_s)]
        if self._server.relay is not None:
            self.workers.append(self._start_worker("tls", self._server.relay.run, TLS_LIMIT_S))

    def change(self, new: Settings, old: Settings, rules: WebRules) -> WebSettings:
        """Apply new settings. The server is restarted only if its address, threads or use of TLS changed.

        :returns: the effective settings: those of ``old`` if the new address can't be used.
        :raises WebError: if neither the new nor the old address can be used.
        """
        has_tls = self._server.relay is not None
        if (new.web.listen, new.web.threads) != (old.web.listen, old.web.threads) or (
            (rules.context is not None) != has_tls
        ):
            return self._restart(new, old, rules)
        self._access = rules.access
        self._server.app = self._api(new, rules.access).app
        if self._server.relay is not None and rules.context is not None:
            self._server.relay.context = rules.context
        return new.web

    def _restart(self, new: Settings, old: Settings, rules: WebRules) -> WebSettings:
        before = self.workers
        self._flush_log.send_away()  # a stopping server waits for its streams
        try:
            if new.web.listen == old.web.listen:
                for worker in before:
                    self._end(worker)
                before = []
            self.start(new, rules)
        except WebError as error:
            if not before:
                raise
            log.error("%s; listening on %s as before", error, old.web.listen)
            self._server.app = self._api(replace(new, web=old.web), self._access).app
            return old.web
        for worker in before:
            self._end(worker)
        return new.web
