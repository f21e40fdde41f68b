"""Opens connections to Redis with timeouts, and maps its errors to those of the store."""

from __future__ import annotations

import ssl
import threading
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakKeyDictionary

import redis

from netify_agent.config import redis_url
from netify_agent.config.settings import ConfigError, RedisTlsSettings
from netify_agent.store.connection import Owner, follow
from netify_agent.store.errors import reason
from netify_agent.store.topology import Cluster, Sentinels

Client = Any  #: a redis.Redis; the library's own type hints differ from release to release
TIMEOUT_S = 5.0  # for a reply; Redis 7.0 took 0.2 s for a flush of 1,000 devices with 10 applications each
CONNECT_TIMEOUT_S = 2.0
_NO_TLS = RedisTlsSettings()


class StoreError(Exception):
    """Redis can't be reached or refused a command. The message says why."""


class StoreRefused(StoreError):
    """A retry can't help: another agent writes this gateway, or the data is of a newer version."""


class StoreTaken(StoreRefused):
    """Another agent writes this gateway's store."""


def connect(
    url: str,
    password: str | None,
    tls: RedisTlsSettings = _NO_TLS,
    timeout_s: float = TIMEOUT_S,
    *,
    gateway: str = "",
) -> Client:
    """Create a client. Sends nothing yet.

    :param url: of one Redis, of Sentinels or of a cluster; see :mod:`netify_agent.config.redis_url`.
    :param password: overrides the one in the URL.
    :param tls: files for TLS; override those in the URL.
    :param timeout_s: longest wait for a reply, seconds.
    :param gateway: the only gateway whose keys the client may use; required for a cluster.
    :returns: a client that decodes replies to text and never repeats a command. redis-py 6 and later repeat
        by default, and a repeated flush would count twice. With Sentinels or a cluster, each new connection
        goes to the Redis that accepts the gateway's writes.
    :raises ConfigError: if a file of ``tls`` can't be used.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "encoding_errors": "replace",
        "socket_timeout": timeout_s,
    }
    given = redis_url.read(url)
    url = given.plain
    if given.is_tls:
        url, found = _tls_options(url, tls)
        options |= found
    if not url.startswith("unix:"):
        options["socket_connect_timeout"] = CONNECT_TIMEOUT_S
    try:
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:  # redis-py 3.5 (Ubuntu 22.04) repeats nothing, but unquotes the URL only with this
        options["decode_components"] = True
    else:
        options["retry"] = Retry(NoBackoff(), 0)
    if int(redis.__version__.partition(".")[0]) >= 5:
        options["protocol"] = 2  # RESP3 has no benefit, and its HELLO hides the error for a missing password
    options |= _without_setinfo()
    client = redis.Redis.from_url(url, **options)
    if password is not None:
        # Not an option of from_url: in redis-py 3.5 the URL overrides it, even without a password.
        client.connection_pool.connection_kwargs["password"] = password
    pool = client.connection_pool
    if given.is_tls and not pool.connection_kwargs.get("password"):
        # CLIENT SETNAME, whose reply is read at once, as that of AUTH is. A server of TLS 1.3 sends session
        # tickets before it, which redis-py 8.1 with hiredis treats as unsolicited replies.
        pool.connection_kwargs["client_name"] = "netify-agent"
    search = pool.connection_class, dict(pool.connection_kwargs)
    owner: Owner | None = None
    if given.topology == "sentinel":
        owner = Sentinels(given.addresses, given.service, *search)
    elif given.topology == "cluster":
        owner = Cluster(given.addresses, gateway, *search)
    if owner is not None:
        follow(pool, owner)
    return client


_undecoded: WeakKeyDictionary[Client, Client] = WeakKeyDictionary()
_undecoded_lock = threading.Lock()


def undecoded(client: Client) -> Client:
    """Return a client like ``client`` whose replies are bytes, with connections of its own. Sends nothing.

    There is one for each client: a collector reads many histories with the same two.
    """
    with _undecoded_lock:
        found = _undecoded.get(client)
        if found is None:
            pool = client.connection_pool
            options = {**pool.connection_kwargs, "decode_responses": False}
            found = redis.Redis(connection_pool=redis.ConnectionPool(pool.connection_class, **options))
            _undecoded[client] = found
        return found


def _without_setinfo() -> dict[str, Any]:
    """Return options so that redis-py does not send CLIENT SETINFO, which an ACL need not permit."""
    release = tuple(int(part) for part in redis.__version__.split(".")[:2])
    if release >= (7, 1):
        return {"driver_info": None}
    return {"lib_name": None, "lib_version": None} if release >= (5, 0) else {}


def _tls_options(url: str, tls: RedisTlsSettings) -> tuple[str, dict[str, Any]]:
    """Return ``url`` without its TLS parameters, and the options for redis-py instead.

    redis-py 3.5 passes the parameters of a URL on as text, so that ``false`` would count as true.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    options: dict[str, Any] = {
        "ssl_cert_reqs": query.pop("ssl_cert_reqs", "required"),
        "ssl_check_hostname": query.pop("ssl_check_hostname", "true") == "true",
    }
    if options["ssl_cert_reqs"] == "none":
        options["ssl_check_hostname"] = False
    files = {
        "ssl_ca_certs": ("ca_file", tls.ca_file),
        "ssl_certfile": ("certificate", tls.certificate),
        "ssl_keyfile": ("key", tls.key),
    }
    for option, (_, configured) in files.items():
        path = query.pop(option, None)
        if configured or path:
            options[option] = configured or path
    _check_files(options, {option: f"redis.tls.{key}" for option, (key, _) in files.items()})
    left = "&".join(f"{name}={value}" for name, value in query.items())
    return parts._replace(query=left).geturl(), options


def _check_files(options: dict[str, Any], names: dict[str, str]) -> None:
    """Load the files with OpenSSL. Raises ConfigError that names an unusable file."""
    for option, name in names.items():
        if option in options:
            try:
                with open(options[option], "rb"):
                    pass
            except OSError as error:
                raise ConfigError(f"{name}: {options[option]}: can't be read: {error.strerror}") from None
    context = ssl.create_default_context()
    if "ssl_ca_certs" in options:
        path = options["ssl_ca_certs"]
        try:
            context.load_verify_locations(path)
        except ssl.SSLError:
            raise ConfigError(f"redis.tls.ca_file: {path}: expected PEM certificates, found none") from None
    if "ssl_certfile" in options:
        certificate, key = options["ssl_certfile"], options.get("ssl_keyfile")
        try:
            context.load_cert_chain(certificate, key, password="")
        except (ssl.SSLError, ValueError):
            raise ConfigError(
                f"redis.tls.key: {key or certificate}: expected the PEM private key, without a password, of "
                f"the certificate in {certificate}"
            ) from None


def as_store_error(error: redis.RedisError, gateway: str) -> StoreError:
    """Return the StoreError for ``error``. WRONGTYPE becomes StoreRefused, because a retry can't help."""
    if "WRONGTYPE" in str(error):
        return StoreRefused(
            f"keys of gateway '{gateway}' in Redis are not netify-agent's: use another database or name"
        )
    if isinstance(error, redis.WatchError) and isinstance(error.__context__, redis.RedisError):
        return StoreError(reason(error.__context__))  # redis-py raises it for a connection lost after WATCH
    if isinstance(error, redis.WatchError):
        return StoreError("interrupted; the next attempt finds out whether the flush was applied")
    return StoreError(reason(error))
