"""The daemon: creates the components, runs each in a thread, handles signals and reports to systemd.

Signal handlers only queue the signal; the main loop acts on it. If a thread dies, the process logs the reason
and exits with a non-zero code, so that systemd restarts it.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from dataclasses import replace

from netify_agent import __version__
from netify_agent.accounting.accountant import Accountant
from netify_agent.accounting.device_identity import ByIp
from netify_agent.api.exposition import Exposition
from netify_agent.api.flush_log import FlushLog
from netify_agent.api.http.access import Access
from netify_agent.api.http.app import Api
from netify_agent.api.http.server import WebError
from netify_agent.api.routes.route_table import agent_routes
from netify_agent.api.services import Services
from netify_agent.config.settings import ConfigError, Settings, load
from netify_agent.daemon.alerting import Alerting
from netify_agent.daemon.forwarding import new_forwarder
from netify_agent.daemon.limits import SupervisorLimits
from netify_agent.daemon.listeners import Listeners, capture_rules
from netify_agent.daemon.liveness import Liveness
from netify_agent.daemon.metrics import expose
from netify_agent.daemon.sd_notify import ServiceManager
from netify_agent.daemon.signals import SignalQueue
from netify_agent.daemon.status import Status
from netify_agent.daemon.web import Web, WebRules
from netify_agent.daemon.worker import Body, Worker
from netify_agent.enrich import Directory
from netify_agent.store.audit import SumAudit
from netify_agent.store.client import StoreError, StoreTaken, connect
from netify_agent.store.flush import Flush, Restored
from netify_agent.store.flusher import Flusher, FlusherLimits, FlusherStatus
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.lease import Lease, lease_s
from netify_agent.store.reader import StoreReader
from netify_agent.store.writer import StoreWriter

log = logging.getLogger(__name__)

EX_STORE_TAKEN = 69  # sysexits.h: EX_UNAVAILABLE; the unit's RestartPreventExitStatus lists it
#: Settings that a reload can't change, because they determine where the data is stored and sent.
_FIXED = ("gateway", "redis", "history", "calendar", "fleet")
_DEFAULT_LIMITS = SupervisorLimits()


class Supervisor:
    """One run of the daemon."""

    def __init__(
        self,
        config_path: str | None,
        settings: Settings,
        log_level: str | None = None,
        limits: SupervisorLimits = _DEFAULT_LIMITS,
    ) -> None:
        """Starts nothing yet.

        :param config_path: the configuration file, read again at a reload; None: the defaults.
        :param log_level: overrides the configuration's.
        """
        self._limits = limits
        self._config_path = config_path
        self._log_level = log_level
        self._settings = settings
        self._manager = ServiceManager()
        self._liveness = Liveness()
        self._signals = SignalQueue()
        self._lock = threading.Lock()  # guards the accountant
        self._accountant = Accountant(
            settings.netifyd.max_flows, rules=capture_rules(settings), max_devices=settings.devices.max
        )
        self._accountant.identity.by_ip = ByIp(settings.devices.by_ip)
        self._flush_log = FlushLog()
        self._flusher_status = FlusherStatus()
        self._listeners = Listeners(
            *(self._accountant, self._lock),
            lambda name, body: self._worker(name, body, limits.listener_s),
        )
        self._web = Web(
            self._api,
            self._worker,
            lambda worker: self._end(worker, limits.other_stop_s),
            self._flush_log,
        )
        self._names: Worker | None = None
        self._forwarding: Worker | None = None
        self._filled: Directory | None = None  # has all devices of the store
        self._watchdog_fed = 0.0  # monotonic clock

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until a component fails.

        :returns: the exit code: 0 after a signal, :data:`EX_STORE_TAKEN` if another agent writes this
            gateway's store, 1 otherwise.
        """
        self._signals.install()
        settings = self._settings
        try:
            redis, password = settings.redis, settings.redis.password()
            client, of_reader = (
                connect(redis.url, password, redis.tls, gateway=settings.gateway) for _ in range(2)
            )
            self._reader = StoreReader(of_reader, settings.gateway)
            self._directory = self._new_directory(settings)
            self._status = Status(settings, self._flusher_status, self._accountant, self._reader)
            self._alerting = Alerting(
                *(settings, client, self._reader, self._status),
                directory=lambda: self._directory,
                start=lambda name, body: self._worker(name, body, self._limits.notify_s),
                announce=self._flush_log.announce,
            )
            steps = HistorySteps.of(settings.history, settings.calendar.calendar)
            self._forwarder = new_forwarder(settings, steps, lambda: self._directory, self._alerting.plans)
            self._store = StoreWriter(
                *(client, settings.gateway, steps),
                settings.devices.forget_after_s,
                max_devices=settings.devices.max,
                lease=Lease(lease_s(settings.interval_s)),
                part=self._alerting,
            )
            self._writer = Flusher(
                self._accountant,
                self._lock,
                self._store,
                settings.interval_s,
                steps,
                self._flushed,
                audit=SumAudit(client, settings.gateway),
                on_open=self._opened,
                on_failure=self._alerting.failed,
                status=self._flusher_status,
            )
            self._status.web_queue = lambda: self._web.queue_length
            self._status.event_clients = lambda: self._flush_log.followers
            rules = WebRules.read(settings)
            tokens = settings.netifyd.tokens()
            self._web.start(settings, rules)
        except (ConfigError, WebError) as error:
            for problem in str(error).splitlines():
                log.error("%s", problem)
            return 1
        self._writing = self._worker("writer", self._writer.run, self._limits.writer_s)
        self._start_names()
        if self._forwarder is not None:
            self._status.forwarder = self._forwarder.status
            self._forwarding = self._worker("fleet", self._forwarder.run, self._limits.fleet_s)
        self._status.listeners = self._listeners.start(settings.netifyd, tokens)
        log.info(
            "netify-agent %s: gateway %s, Redis %s, API on %s",
            *(__version__, settings.gateway, settings.redis.safe_url, settings.web.listen),
        )
        self._manager.status(self._status.line())
        self._manager.ready()
        return self._supervise()

    def _supervise(self) -> int:
        """The main loop. Returns the exit code."""
        stuck_before: list[str] = []
        while True:
            received = self._signals.wait(self._limits.tick_s)
            to_stop = received - {signal.SIGHUP}
            if to_stop:
                log.info("%s: stopping", signal.Signals(min(to_stop)).name)
                return self._stop()
            if received:
                try:
                    self._reload()
                except WebError as error:
                    log.error("%s; stopping all", error)
                    self._stop()
                    return 1
            for worker in self._workers():
                if worker.died:
                    return self._failed(worker)
            stuck = self._liveness.stuck()
            if stuck and stuck != stuck_before:
                log.error("no progress: %s", ", ".join(stuck))
            stuck_before = stuck
            self._manager.status(self._status.line())
            self._feed_watchdog()

    def _failed(self, worker: Worker) -> int:
        """Stop because ``worker`` died. Returns the exit code."""
        if isinstance(worker.error, StoreTaken):
            log.error("%s. The service is not restarted automatically", worker.error)
            self._stop()
            return EX_STORE_TAKEN
        log.error("thread %s ended: %s; stopping all", worker.name, worker.error or "no reason given")
        self._stop()
        return 1

    def _feed_watchdog(self) -> None:
        """Feed systemd's watchdog when due, unless a thread is stuck."""
        limit_s = self._manager.watchdog_s
        now = time.monotonic()
        if limit_s is None or now - self._watchdog_fed < min(limit_s / 3, 10) or self._liveness.stuck():
            return
        self._manager.alive()
        self._watchdog_fed = now

    def _workers(self) -> list[Worker]:
        workers = [self._writing, *self._listeners.workers, *self._web.workers, *self._alerting.workers]
        return [worker for worker in (*workers, self._names, self._forwarding) if worker is not None]

    def _worker(self, name: str, body: Body, limit_s: float) -> Worker:
        return Worker(name, body, self._liveness, limit_s)

    def _end(self, worker: Worker | None, timeout_s: float) -> bool:
        """Stop ``worker`` while feeding the watchdog. Returns False if it did not end in time."""
        return worker is None or worker.stop(timeout_s, self._feed_watchdog)

    # -- parts -------------------------------------------------------------------------------------

    def _stop_listeners(self) -> None:
        self._listeners.stop(self._limits.listener_stop_s, self._feed_watchdog)

    def _start_names(self) -> None:
        self._names = self._worker("names", self._directory.run, self._limits.names_s)

    def _api(self, settings: Settings, access: Access) -> Api:
        parts = Services(
            *(settings, self._reader, self._directory),
            self._status.document,
            self._liveness.checks,
            self._status.checks,
            self._flush_log,
            self._writer.status,
            self._expose,
            alerts=self._alerting.alerts,
            plans=self._alerting.plans,
        )
        return Api(parts, access, agent_routes(parts))

    def _expose(self, out: Exposition, redis_up: bool) -> None:
        expose(self._status, out, redis_up)
        self._alerting.expose(out)

    def _opened(self, restored: Restored) -> None:
        self._fill_directory()  # the groups of alerts need it from the first flush on
        self._alerting.opened(restored)

    def _flushed(self, flush: Flush) -> None:
        """Pass the devices of ``flush`` to the directory and wake the clients of ``/events``."""
        if self._filled is not self._directory:
            self._fill_directory()
        for device, note in flush.batch.devices.items():
            used = sorted(filter(note.addresses.get, note.addresses), key=note.addresses.__getitem__)
            listed = [ip for ip, seen in note.addresses.items() if not seen]
            self._directory.note(device, used[::-1], note.hint, listed)
        self._alerting.flushed(flush, self._store.dropped_devices())
        changed = flush.batch.changed_devices().union(self._store.dropped_devices())
        self._flush_log.applied(flush.sequence, flush.at_ms, changed, self._store.moving_devices())

    def _fill_directory(self) -> None:
        """Pass the devices of the store to a new directory, with the names that they announced."""
        directory = self._directory
        try:
            known = self._reader.snapshot(addresses=True).devices
        except StoreError:
            return  # tried again after the next flush
        for row in known:
            directory.note(row.name, row.addresses, row.hint)
        self._filled = directory

    def _new_directory(self, settings: Settings) -> Directory:
        return Directory(
            **vars(settings.names),
            on_neighbours=self._meet,
            max_devices=2 * settings.devices.max,
            given_names=settings.devices.names,
            groups=settings.groups,
        )

    def _meet(self, neighbours: dict[str, str]) -> None:
        """Pass the MAC addresses of this machine's neighbours to the accounting."""
        netifyd = self._settings.netifyd
        endpoints = (*netifyd.endpoints, *netifyd.fallbacks)
        here = [str(one) for one in endpoints if one.scheme == "unix" or one.is_loopback]
        with self._lock:
            self._accountant.identity.set_neighbours(neighbours, here)

    # -- signals -----------------------------------------------------------------------------------

    def _stop(self) -> int:
        """Stop the listeners, write the last flush, stop the web server.

        :returns: the exit code; 0 if everything is in Redis.
        """
        self._manager.stopping()
        self._flush_log.close()
        self._alerting.ask_to_stop()  # undelivered notifications are in the store
        if self._forwarding is not None:
            self._forwarding.ask_to_stop()  # it may be waiting for the collector; it holds no data
        self._stop_listeners()
        limits = self._limits
        flushed = self._end(self._writing, FlusherLimits().final_flush_s + limits.slow_flush_s)
        for other in (self._names, *self._web.workers):
            self._end(other, limits.other_stop_s)
        if not flushed or not self._writer.status.finished:
            return 1
        log.info("stopped")
        return 0

    def _reload(self) -> None:
        """Read the configuration again. Keep the old one if the new one is invalid."""
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
        """Apply a new configuration. Raises ConfigError before anything was changed."""
        old = self._settings
        rules = WebRules.read(new)
        tokens = new.netifyd.tokens()
        senders = self._alerting.senders(new)
        fixed = [name for name in _FIXED if getattr(new, name) != getattr(old, name)]
        if fixed:
            log.warning("reload: %s changed, which takes effect at the next restart", ", ".join(fixed))
        kept = {name: getattr(old, name) for name in _FIXED}
        new = replace(new, **kept)
        logging.getLogger().setLevel((self._log_level or new.log_level).upper())
        self._writer.interval_s = new.interval_s
        self._store.lease.length_s = lease_s(new.interval_s)
        self._status.settings = self._settings = new
        self._alerting.change(new, senders)
        if new.names != old.names:
            self._end(self._names, self._limits.other_stop_s)
            self._directory = self._new_directory(new)
            self._start_names()
        else:
            self._directory.configure(new.devices.names, new.groups)
        self._store.retention.forget_after_s = new.devices.forget_after_s
        self._store.retention.max_devices = new.devices.max
        self._directory.max_devices = 2 * new.devices.max
        with self._lock:
            self._accountant.max_flows = new.netifyd.max_flows
            self._accountant.set_capture_rules(capture_rules(new))
            self._accountant.devices.max = new.devices.max
            if new.devices.by_ip != old.devices.by_ip:
                self._accountant.identity.by_ip = ByIp(new.devices.by_ip)
        if replace(new.netifyd, max_flows=0) != replace(old.netifyd, max_flows=0):
            self._stop_listeners()
            self._status.listeners = self._listeners.start(new.netifyd, tokens)
        self._listeners.set_tokens(tokens)
        self._status.settings = self._settings = replace(new, web=self._web.change(new, old, rules))
        self._flush_log.send_away()  # clients of /events reconnect and are checked by the new rules
        log.info("configuration reloaded")
