"""Opens connections to Redis with timeouts, and explains its errors."""

from __future__ import annotations

import re
import ssl
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis

from netify_agent.config.settings import ConfigError, RedisTlsSettings

Client = Any  #: a redis.Redis; the library's own type hints differ from release to release
TIMEOUT_S = 5.0  # for a reply; Redis 7.0 took 0.2 s for a flush of 1,000 devices with 10 applications each
CONNECT_TIMEOUT_S = 2.0
_NO_TLS = RedisTlsSettings()

#: Pattern for an error of Redis (its code, or its text where redis-py strips the code), and the explanation.
_MEANINGS = (
    (r"LOADING|loading the dataset", "Redis is loading its data after a start (LOADING)"),
    (
        r"MISCONF|stop-writes-on-bgsave-error|unable to persist",
        "Redis refuses writes because it can't save to disk (MISCONF): see its log and the free space",
    ),
    (
        r"OOM |> .maxmemory.",
        "Redis is full and refuses writes (OOM): raise its maxmemory, or shorten 'history'",
    ),
    (
        r"READONLY|read only replica|readonly replica",
        "this Redis is a read-only replica (READONLY): redis.url must name the primary",
    ),
    (
        r"NOAUTH|Authentication required",
        "Redis requires a password (NOAUTH): set redis.password_file",
    ),
    (
        r"WRONGPASS|invalid password|invalid username-password",
        "Redis refuses the user name or the password (WRONGPASS)",
    ),
    (
        r"without any password configured|no password is set",
        "Redis has no password, but one is configured: remove redis.password_file",
    ),
    (r"NOREPLICAS", "Redis refuses writes because too few replicas are connected (NOREPLICAS)"),
    (
        r"certificate required|CERTIFICATE_REQUIRED|EOF occurred in violation of protocol",
        "Redis closed the TLS connection: it requires a client certificate (redis.tls.certificate)",
    ),
    (
        r"(Hostname|IP address) mismatch",
        "the certificate of Redis is not for the host in redis.url (ssl_check_hostname)",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "the certificate of Redis is not trusted: set redis.tls.ca_file to the CA that signed it",
    ),
)


class StoreError(Exception):
    """Redis can't be reached or refused a command. The message says why."""


class StoreRefused(StoreError):
    """A retry can't help: another agent writes this gateway, or the data is of a newer version."""


class StoreTaken(StoreRefused):
    """Another agent writes this gateway's store."""


def connect(
    url: str, password: str | None, tls: RedisTlsSettings = _NO_TLS, timeout_s: float = TIMEOUT_S
) -> Client:
    """Create a client. Sends nothing yet.

    :param url: ``redis://``, ``rediss://`` or ``unix://``; see :func:`netify_agent.config.types.redis_url`.
    :param password: overrides the one in the URL.
    :param tls: files for ``rediss://``; override those in the URL.
    :param timeout_s: longest wait for a reply, seconds.
    :returns: a client that decodes replies to text and never repeats a command. redis-py 6 and later repeat
        by default, and a repeated flush would count twice.
    :raises ConfigError: if a file of ``tls`` can't be used.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "encoding_errors": "replace",
        "socket_timeout": timeout_s,
    }
    if url.startswith("rediss:"):
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
    client = redis.Redis.from_url(url, **options)
    if password is not None:
        # Not an option of from_url: in redis-py 3.5 the URL overrides it, even without a password.
        client.connection_pool.connection_kwargs["password"] = password
    return client


def undecoded(client: Client) -> Client:
    """Create a client like ``client`` whose replies are bytes, with connections of its own. Sends nothing."""
    pool = client.connection_pool
    options = {**pool.connection_kwargs, "decode_responses": False}
    return redis.Redis(connection_pool=redis.ConnectionPool(pool.connection_class, **options))


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


def reason(error: Exception) -> str:
    """Explain an error of Redis in one line, without passwords or data."""
    # redis-py puts the failed command of a pipeline, with its data, before the error.
    text = str(error).rpartition("of pipeline caused error: ")[2]
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, text):
            return meaning
    return " ".join(text.split())[:200] or type(error).__name__


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
