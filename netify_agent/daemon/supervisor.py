"""The daemon: builds the parts, runs each in its thread, obeys signals, tells systemd the truth.

Signal handlers only note what came; one loop acts. A thread that dies takes the process down with a
clear message and a non-zero exit code, so that systemd starts all of it anew.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from dataclasses import replace
from queue import Empty, SimpleQueue
from ssl import SSLContext

from netify_agent import __version__
from netify_agent.accounting.accountant import Accountant
from netify_agent.api.flush_log import FlushLog
from netify_agent.api.http.access import Access
from netify_agent.api.http.app import Api
from netify_agent.api.http.server import REQUEST_LIMIT_S, WebError, WebServer
from netify_agent.api.http.tls import TLS_LIMIT_S, server_context
from netify_agent.api.services import Services
from netify_agent.config.settings import ConfigError, Settings, load
from netify_agent.daemon.liveness import Liveness
from netify_agent.daemon.metrics import expose
from netify_agent.daemon.sd_notify import ServiceManager
from netify_agent.daemon.status import Status
from netify_agent.daemon.worker import Worker
from netify_agent.enrich import Directory
from netify_agent.netifyd.http_sink import HttpSink
from netify_agent.netifyd.listener import Listener
from netify_agent.store.client import StoreError, connect
from netify_agent.store.flusher import FINAL_FLUSH_S, Flusher
from netify_agent.store.reader import StoreReader
from netify_agent.store.writer import Flush, StoreWriter

log = logging.getLogger(__name__)

# How long each thread may go without a sign of progress, seconds.
_LISTENER_LIMIT_S = 120.0  # a chunk takes milliseconds; looking up a host name may take very long
_WRITER_LIMIT_S = 120.0  # one flush to a slow Redis, with every time-out on the way
_NAMES_LIMIT_S = 120.0  # one look-up in a slow resolver
_TICK_S = 0.5
_LISTENER_STOP_S = 10.0
_SLOW_FLUSH_S = 30.0  # a flush that is under way is waited for
_WEB_STOP_S = 5.0  # names, web and TLS each; the unit's TimeoutStopSec is above the sum of all these
#: Settings that a reload can't change, because they say where the accounts are kept.
_FIXED = ("gateway", "redis", "history", "devices")


class Supervisor:
    """One run of the daemon."""

    def __init__(self, config_path: str | None, settings: Settings, log_level: str | None = None) -> None:
        """Nothing is started yet.

        :param config_path: read again at a reload.
        :param log_level: overrides what the configuration says.
        """
        self._config_path = config_path
        self._log_level = log_level
        self._settings = settings
        self._manager = ServiceManager()
        self._liveness = Liveness()
        self._signals: SimpleQueue[int] = SimpleQueue()  # of all queues the one that a handler may use
        self._lock = threading.Lock()  # guards the accountant
        self._accountant = Accountant(settings.netifyd.max_flows)
        self._flush_log = FlushLog()
        self._listeners: list[Listener | HttpSink] = []
        self._listening: list[Worker] = []
        self._web: list[Worker] = []  # the server, and what takes TLS off before it
        self._names: Worker | None = None
        self._introduced: Directory | None = None  # the directory that was told of all devices

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until a part fails.

        :returns: the exit code: 0 after a signal, 1 otherwise.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note_signal)
        settings = self._settings
        try:
            client = connect(settings.redis.url, settings.redis.password())
            self._reader = StoreReader(
                connect(settings.redis.url, settings.redis.password()), settings.gateway
            )
            self._directory = _directory(settings)
            self._store = StoreWriter(
                client,
                settings.gateway,
                {resolution.step_s: resolution.keep_s for resolution in settings.history},
                settings.devices.forget_after_s,
            )
            self._writer = Flusher(
                self._accountant,
                self._lock,
                self._store,
                settings.interval_s,
                settings.history[0].step_s,
                self._tell,
            )
            self._status = Status(settings, self._writer.status, self._accountant, self._reader)
            self._status.web_queue = lambda: self._server.queue_length
            self._status.event_clients = lambda: self._flush_log.followers
            self._access, context = _access_and_tls(settings)
            tokens = settings.netifyd.tokens()
            self._start_web(settings, self._access, context)
        except (ConfigError, WebError) as error:
            for problem in str(error).splitlines():
                log.error("%s", problem)
            return 1
        self._writing = Worker("writer", self._writer.run, self._liveness, _WRITER_LIMIT_S)
        self._start_names()
        self._start_listeners(settings, tokens)
        log.info(
            "netify-agent %s: gateway %s, Redis %s, API on %s",
            __version__,
            settings.gateway,
            settings.redis.safe_url,
            settings.web.listen,
        )
        self._manager.status(self._status.line())
        self._manager.ready()
        return self._supervise()

    def _note_signal(self, number: int, _frame: object) -> None:
        self._signals.put(number)

    def _supervise(self) -> int:
        """The main loop. Returns the exit code."""
        patience = self._manager.watchdog_s
        pinged = 0.0
        stuck_before: list[str] = []
        while True:
            came = self._signals_until(time.monotonic() + _TICK_S)
            deadly = came - {signal.SIGHUP}
            if deadly:
                log.info("%s: stopping", signal.Signals(min(deadly)).name)
                return self._stop()
            if came:
                try:
                    self._reload()
                except WebError as error:
                    log.error("%s; stopping all", error)
                    self._stop()
                    return 1
            for worker in self._workers():
                if worker.died:
                    log.error(
                        "thread %s ended: %s; stopping all", worker.name, worker.error or "no reason given"
                    )
                    self._stop()
                    return 1
            stuck = self._liveness.stuck()
            if stuck and stuck != stuck_before:
                log.error("no progress: %s", ", ".join(stuck))
            stuck_before = stuck
            self._manager.status(self._status.line())
            now = time.monotonic()
            if patience is not None and not stuck and now - pinged >= min(patience / 3, 10):
                self._manager.alive()
                pinged = now

    def _signals_until(self, end: float) -> set[int]:
        """Wait for a signal until ``end`` (monotonic), and take all that came: many are as good as one."""
        came: set[int] = set()
        try:
            came.add(self._signals.get(timeout=max(end - time.monotonic(), 0)))
            while True:
                came.add(self._signals.get_nowait())
        except Empty:
            return came

    def _workers(self) -> list[Worker]:
        some = [self._writing, *self._listening, *self._web, self._names]
        return [worker for worker in some if worker is not None]

    # -- parts -------------------------------------------------------------------------------------

    def _start_listeners(self, settings: Settings, tokens: tuple[str, ...]) -> None:
        """``tokens``: of the POSTs to ``http://`` endpoints."""
        netifyd, accountant, lock = settings.netifyd, self._accountant, self._lock
        most = netifyd.max_record_bytes
        self._listeners = [
            HttpSink(endpoint, accountant, lock, most, tokens)
            if endpoint.scheme == "http"
            else Listener(endpoint, accountant, lock, most, netifyd.fallbacks)
            for endpoint in netifyd.endpoints
        ]
        self._status.listeners = [listener.status for listener in self._listeners]
        self._listening = [
            Worker(f"listener {listener.status.endpoint}", listener.run, self._liveness, _LISTENER_LIMIT_S)
            for listener in self._listeners
        ]

    def _stop_listeners(self) -> None:
        """All at once: each may be in the middle of connecting."""
        for worker in self._listening:
            worker.ask_to_stop()
        end = time.monotonic() + _LISTENER_STOP_S
        for worker in self._listening:
            worker.stop(max(end - time.monotonic(), 0))

    def _start_names(self) -> None:
        self._names = Worker("names", self._directory.run, self._liveness, _NAMES_LIMIT_S)

    def _start_web(self, settings: Settings, access: Access, context: SSLContext | None) -> None:
        """Raises WebError."""
        self._server = WebServer(self._api(settings, access).app, settings.web, context)
        self._web = [Worker("web", self._server.run, self._liveness, REQUEST_LIMIT_S)]
        if self._server.relay is not None:
            self._web.append(Worker("tls", self._server.relay.run, self._liveness, TLS_LIMIT_S))

    def _api(self, settings: Settings, access: Access) -> Api:
        status = self._status
        parts = Services(
            settings,
            self._reader,
            self._directory,
            status.document,
            self._liveness.checks,
            status.checks,
            self._flush_log,
            lambda out, redis_up: expose(status, out, redis_up),
        )
        return Api(parts, access)

    def _tell(self, flush: Flush) -> None:
        """Let the directory look up what is new among the devices of ``flush``, and wake who waits for it."""
        if self._introduced is not self._directory:
            self._introduce()
        for device, note in flush.batch.devices.items():
            self._directory.note(device, list(note.addresses), note.hint)
        self._flush_log.applied(
            flush.sequence, flush.at_ms, flush.batch.changed_devices(), self._store.moving_devices()
        )

    def _introduce(self) -> None:
        """Tell a new directory of the devices that the store knows, and what they said they are called."""
        directory = self._directory
        try:
            known = self._reader.snapshot(applications=False).devices
        except StoreError:
            return  # the next flush comes by here again
        for row in known:
            directory.note(row.name, row.addresses, row.hint)
        self._introduced = directory

    # -- signals -----------------------------------------------------------------------------------

    def _stop(self) -> int:
        """Stop reading, get the last flush out, stop answering.

        :returns: the exit code: 0 if everything is in Redis.
        """
        self._manager.stopping()
        self._flush_log.close()
        self._stop_listeners()
        flushed = self._writing.stop(FINAL_FLUSH_S + _SLOW_FLUSH_S)
        for other in (self._names, *self._web):
            if other is not None:
                other.stop(_WEB_STOP_S)
        if not flushed or not self._writer.status.finished:
            return 1
        log.info("stopped")
        return 0

    def _reload(self) -> None:
        """Take over a changed configuration; keep the old one where the new one is not usable."""
        self._manager.reloading()
        try:
            settings = load(self._config_path)
            self._change(settings)
        except ConfigError as error:
            for problem in error.problems:
                log.error("%s", problem)
            log.error("reload refused: the configuration stays as it was")
        finally:
            self._manager.ready()

    def _change(self, new: Settings) -> None:
        """Raises ConfigError, before anything has changed."""
        old = self._settings
        access, context = _access_and_tls(new)
        tokens = new.netifyd.tokens()
        fixed = [name for name in _FIXED if getattr(new, name) != getattr(old, name)]
        if fixed:
            log.warning("reload: %s changed, which takes effect at the next restart", ", ".join(fixed))
        kept = {name: getattr(old, name) for name in _FIXED}
        new = replace(new, **kept)
        logging.getLogger().setLevel((self._log_level or new.log_level).upper())
        self._writer.interval_s = new.interval_s
        self._status.settings = self._settings = new
        if new.names != old.names:
            if self._names is not None:
                self._names.stop(5)
            self._directory = _directory(new)
            self._start_names()
        with self._lock:
            self._accountant.max_flows = new.netifyd.max_flows
        if replace(new.netifyd, max_flows=0) != replace(old.netifyd, max_flows=0):
            self._stop_listeners()
            self._start_listeners(new, tokens)
        for listener in self._listeners:
            if isinstance(listener, HttpSink):
                listener.tokens = tokens
        if (new.web.listen, new.web.threads) != (old.web.listen, old.web.threads) or (
            (context is None) != (self._server.relay is None)
        ):
            self._restart_web(new, old, access, context)
        else:
            self._access = access
            self._server.app = self._api(new, access).app
            if self._server.relay is not None and context is not None:
                self._server.relay.context = context
        self._flush_log.send_away()  # who follows the events comes back, and is asked by the new rules
        log.info("configuration reloaded")

    def _restart_web(self, new: Settings, old: Settings, access: Access, context: SSLContext | None) -> None:
        """Listen elsewhere, once that is known to work. Raises WebError where the API is lost."""
        before = self._web
        self._flush_log.send_away()  # a server that stops waits for its streams
        try:
            if new.web.listen == old.web.listen:
                for worker in before:
                    worker.stop(_WEB_STOP_S)
                before = []
            self._start_web(new, access, context)
            self._access = access
        except WebError as error:
            if not before:
                raise
            log.error("%s; listening on %s as before", error, old.web.listen)
            self._status.settings = self._settings = replace(new, web=old.web)
            self._server.app = self._api(self._settings, self._access).app
            return
        for worker in before:
            worker.stop(_WEB_STOP_S)


def _access_and_tls(settings: Settings) -> tuple[Access, SSLContext | None]:
    """Who may ask, and TLS if it is configured; both from files. Raises ConfigError."""
    return Access(settings.web, settings.web.tokens()), server_context(settings.web.tls)


def _directory(settings: Settings) -> Directory:
    names = settings.names
    return Directory(
        vendors=names.vendors,
        hosts=names.hosts,
        leases=names.leases,
        reverse_dns=names.reverse_dns,
        categories=names.categories,
    )
