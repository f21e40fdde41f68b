"""The process of a collector: threads, signals and notifications to systemd. It keeps no state."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import OrderedDict

from netify_agent import __version__
from netify_agent.api.http.access import Access
from netify_agent.api.http.limits import WebLimits
from netify_agent.api.http.server import WebError, WebServer
from netify_agent.api.http.tls import TLS_LIMIT_S, server_context
from netify_agent.api.services import EventLimits
from netify_agent.config import redis_url
from netify_agent.config.collector import CollectorSettings, load
from netify_agent.config.settings import ConfigError, NameSettings
from netify_agent.daemon.liveness import Liveness
from netify_agent.daemon.sd_notify import ServiceManager
from netify_agent.daemon.signals import SignalQueue
from netify_agent.daemon.worker import Worker
from netify_agent.enrich import Directory
from netify_agent.fleet import gateway_settings, tokens
from netify_agent.fleet.collector import Collector
from netify_agent.fleet.copies import Copies
from netify_agent.fleet.fleet_events import FleetEvents
from netify_agent.fleet.fleet_routes import FleetRoutes
from netify_agent.fleet.ingest import MAX_SENT, Ingest
from netify_agent.fleet.overview import Overview
from netify_agent.store.client import Client, connect
from netify_agent.store.replica_sink import ReplicaSink
from netify_agent.store.summaries import TAG, Summaries

log = logging.getLogger(__name__)

_TICK_S = 0.5
_STOP_S = 5.0  # for each thread
_CLIENTS = 256  # of a cluster, each with a connection or two
#: A gateway with a slow uplink needs long to send a message.
_LIMITS = WebLimits(body_bytes=MAX_SENT, connections=100, idle_s=120.0)


class CollectorProcess:
    """One run of a collector."""

    def __init__(self, path: str, settings: CollectorSettings) -> None:
        """Starts nothing yet. Raises ConfigError if the files of tokens or of TLS can't be used."""
        self._path = path
        self._settings = settings
        self._context = server_context(settings.web.tls)
        self._password = settings.redis.password()
        self._lock = threading.Lock()  # guards the clients
        self._clients: OrderedDict[str, Client] = OrderedDict()  # the latest used last
        # Names that only the gateway's own files have are not copied.
        directory = Directory(
            vendors="", hosts=(), leases=(), reverse_dns=False, categories=NameSettings().categories, arp=""
        )
        copies = Copies(self._client_of, directory)
        summaries = Summaries(self._client_of(TAG))
        self._closing = threading.Event()
        self._collector = Collector(
            tokens.load(settings.gateways_file, settings.readers_file),
            Access(settings.web.for_server()),
            copies,
            Overview(summaries, settings.silent_after_s),
            Ingest(ReplicaSink(self._client_of, gateway_settings.steps), copies, summaries),
            FleetRoutes(copies, directory, FleetEvents(directory, self._closing, EventLimits())).of,
        )

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until a thread fails. Returns the exit code: 0 after a signal."""
        signals, manager, liveness = SignalQueue(), ServiceManager(), Liveness()
        signals.install()
        try:
            server = WebServer(
                *(self._collector.app, self._settings.web.for_server(), self._context, _LIMITS),
                admit=self._collector.admit,
            )
        except WebError as error:
            log.error("%s", error)
            return 1
        workers = [Worker("web", server.run, liveness, server.limits.request_s)]
        if server.relay is not None:
            workers.append(Worker("tls", server.relay.run, liveness, TLS_LIMIT_S))
        log.info(
            "netify-agent %s: collector of %d gateways, Redis %s, API on %s",
            *(__version__, len(self._collector.tokens.gateways)),
            *(self._settings.redis.safe_url, self._settings.web.listen),
        )
        manager.ready()
        failed = False
        fed = 0.0
        while not failed:
            received = signals.wait(_TICK_S)
            if received - {signal.SIGHUP}:
                break
            if received:
                manager.reloading()
                self._reload()
                manager.ready()
            failed = any(worker.died for worker in workers)
            now = time.monotonic()
            if manager.watchdog_s and not liveness.stuck() and now - fed > manager.watchdog_s / 3:
                manager.alive()
                fed = now
        manager.stopping()
        self._closing.set()
        for worker in workers:
            worker.stop(_STOP_S)
        log.info("stopped")
        return int(failed)

    def _reload(self) -> None:
        """Read the files of tokens again. Keep the old ones if the new ones are invalid."""
        try:
            settings = load(self._path)
            self._collector.tokens = tokens.load(settings.gateways_file, settings.readers_file)
        except ConfigError as error:
            for problem in error.problems:
                log.error("%s", problem)
            log.error("reload refused: the tokens stay as they were")
            return
        log.info("tokens reloaded; other settings take effect at the next restart")

    def _client_of(self, gateway: str) -> Client:
        """The client for the keys of a gateway: in a cluster one for each, else one for all.

        A client that is no longer kept closes its connections once nobody uses it.
        """
        redis = self._settings.redis
        name = gateway if redis_url.read(redis.url).topology == "cluster" else ""
        with self._lock:
            if name not in self._clients:
                self._clients[name] = connect(redis.url, self._password, redis.tls, gateway=gateway)
            self._clients.move_to_end(name)
            client = self._clients[name]
            if len(self._clients) > _CLIENTS:
                self._clients.popitem(last=False)
            return client
