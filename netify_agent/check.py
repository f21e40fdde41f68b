"""``netify-agent check``: checks the configuration, Redis, each netifyd, tokens and certificates."""

from __future__ import annotations

import os
import socket
import threading
import time

from netify_agent.accounting.accountant import Accountant
from netify_agent.alerts.alert import Alert
from netify_agent.alerts.receivers import sender_of
from netify_agent.api.http.tls import server_context
from netify_agent.config.settings import ConfigError, Endpoint, Settings
from netify_agent.daemon.forwarding import new_forwarder
from netify_agent.netifyd import advice
from netify_agent.netifyd.listener import SILENT_ADVICE, Listener, ListenerLimits
from netify_agent.store.audit import eviction_warning
from netify_agent.store.client import StoreError, connect
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.query import store_errors
from netify_agent.store.reader import StoreReader

PATIENCE_S = 5.0  # netifyd 4 speaks at once
_CONNECTING_S = 6.0  # the longest time to connect, and a margin


def check(path: str | None, settings: Settings) -> int:
    """Print a line for each check (``ok``, ``warn`` or ``WRONG``), and what to configure in netifyd.

    :returns: the exit code: 1 if anything is wrong, else 0.
    """
    print(f"ok    configuration: {path or 'defaults'}")
    results = [_check_redis(settings)]
    streams = [_check_netifyd(endpoint, settings) for endpoint in settings.netifyd.endpoints]
    results += [*streams, _check_web(settings), *_check_receivers(settings), _check_fleet(settings)]
    if not all(streams):
        print(advice.to_stream_to_a_socket())
    return 0 if all(results) else 1


def _check_web(settings: Settings) -> bool:
    """Read the tokens, the certificate and its key, as the daemon would."""
    web = settings.web
    try:
        tokens = web.tokens()
        context = server_context(web.tls)
    except ConfigError as error:
        return _wrong(error)
    asked = f"{len(tokens)} token{'s' * (len(tokens) != 1)} from {web.tokens_path}" if tokens else "no tokens"
    print(f"ok    web: {web.listen}: {'HTTPS' if context else 'HTTP'}, {asked}")
    return True


def _check_fleet(settings: Settings) -> bool:
    """Read the token and the CA of the forwarder, as the daemon would. Sends nothing."""
    if settings.fleet.url is None:
        return True
    try:
        new_forwarder(settings, HistorySteps.of(settings.history, settings.calendar.calendar))
    except ConfigError as error:
        return _wrong(error)
    print(f"ok    fleet: {settings.fleet.url}, not tried")
    return True


def _wrong(error: ConfigError) -> bool:
    """Print all problems of the configuration; returns False."""
    for problem in error.problems:
        print(f"WRONG {problem}")
    return False


def _check_receivers(settings: Settings) -> list[bool]:
    """Read the secrets of each receiver, as the daemon would. Sends nothing."""
    results = []
    for name, receiver in settings.notify.items():
        try:
            sender_of(name, receiver, settings.gateway, Alert.summary)
        except ConfigError as error:
            results.append(_wrong(error))
            continue
        print(f"ok    notify: {name}: {receiver.type} at {receiver.address}, not tried: see notify-test")
        results.append(True)
    return results


def _check_redis(settings: Settings) -> bool:
    redis = settings.redis
    try:
        client = connect(redis.url, redis.password(), redis.tls, gateway=settings.gateway)
        reader = StoreReader(client, settings.gateway)
        reader.ping()
        flushes = reader.meta().get("seq", "0")
        with store_errors():
            warning = eviction_warning(client)
    except (StoreError, ConfigError) as error:
        print(f"WRONG redis: {redis.safe_url}: {error}")
        return False
    print(f"ok    redis: {redis.safe_url}: {flushes} flushes of gateway {settings.gateway} so far")
    if warning:
        print(f"warn  redis: {warning}")
    return True


def _check_netifyd(endpoint: Endpoint, settings: Settings) -> bool:
    """Read the endpoint as the daemon would, until its first record or the first failure."""
    if endpoint.scheme == "http":
        return _check_http_sink(endpoint, settings)
    fallbacks = settings.netifyd.fallbacks
    listener = Listener(
        endpoint,
        Accountant(1000),
        threading.Lock(),
        settings.netifyd.max_record_bytes,
        fallbacks,
        ListenerLimits(patience_s=PATIENCE_S, short_patience_s=PATIENCE_S),
    )
    stop = threading.Event()
    reading = threading.Thread(target=listener.run, args=(stop, lambda: None), daemon=True)
    reading.start()
    candidates = 1 + sum(os.path.exists(other.path) for other in fallbacks)
    end = time.monotonic() + PATIENCE_S * candidates + _CONNECTING_S
    status = listener.status
    while time.monotonic() < end and not status.records and status.error is None:
        time.sleep(0.05)
    stop.set()
    reading.join(2)
    if status.records:
        print(f"ok    netifyd: {status.endpoint}: version {status.agent or 'unknown'}")
        return True
    found = status.error or f"connected, but no record in {PATIENCE_S:.0f} s: {SILENT_ADVICE}"
    print(f"WRONG netifyd: {endpoint}: {found}")
    return False


def _check_http_sink(endpoint: Endpoint, settings: Settings) -> bool:
    """Whether the agent can listen there, or does, and reads its tokens."""
    try:
        tokens = settings.netifyd.tokens()
    except ConfigError as error:
        return _wrong(error)
    address = endpoint.host, endpoint.port
    try:
        socket.create_server(address, family=endpoint.family).close()
    except OSError as error:
        try:
            socket.create_connection(address, PATIENCE_S).close()
        except OSError:
            print(f"WRONG netifyd: {endpoint}: can't listen: {error.strerror or error}")
            return False
        print(f"ok    netifyd: {endpoint}: something listens: the running agent, or see its log")
        return True
    asked = f"a token of {settings.netifyd.token_file}" if tokens else "no token"
    print(f"ok    netifyd: {endpoint}: free; the agent will take POSTs with {asked}")
    print(advice.to_post(str(endpoint)))
    return True
