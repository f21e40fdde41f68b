"""The settings of the collector: reads ``/etc/netify-collector.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field

from netify_agent.config import secrets, types, yaml_reader
from netify_agent.config.settings import (
    Endpoint,
    RedisSettings,
    TlsSettings,
    WebSettings,
    both_or_none,
    consistent_redis,
)
from netify_agent.config.yaml_reader import parsed, reads, section

_path = parsed(types.absolute_path)


@dataclass(frozen=True)
class CollectorWebSettings:
    """The address, as in the settings of the agent. Each request needs a token."""

    listen: Endpoint = field(
        default=Endpoint("tcp", host="127.0.0.1", port=7001), metadata=reads(parsed(types.listen))
    )
    threads: int = field(default=4, metadata=reads(yaml_reader.integer(1, 64)))
    hosts: tuple[str, ...] = field(default=(), metadata=reads(yaml_reader.list_of(parsed(types.host_header))))
    tls: TlsSettings = field(default=TlsSettings(), metadata=reads(section(TlsSettings, both_or_none)))

    def for_server(self) -> WebSettings:
        """The same as the web server takes it."""
        return WebSettings(self.listen, self.threads, self.hosts, tls=self.tls)


def _tls_or_loopback(web: CollectorWebSettings) -> yaml_reader.Conflict | None:
    """Tokens must not cross a network in the clear."""
    is_unix = web.listen.scheme == "unix"
    if is_unix and web.tls.certificate is not None:
        text = f"expected no TLS on a Unix socket, found web.listen: {web.listen}"
        return yaml_reader.Conflict(("tls", "listen"), text)
    if is_unix or web.listen.is_loopback or web.tls.certificate is not None:
        return None
    found = str(web.listen)[len("tcp://") :]
    text = f"expected a loopback address or a unix socket, as there is no web.tls, found '{found}'"
    return yaml_reader.Conflict(("listen", "tls"), text)


@dataclass(frozen=True)
class CollectorSettings:
    """The whole configuration of a collector.

    ``silent_after_s``: time without a message after which a gateway is silent, seconds. ``gateways_file`` and
    ``readers_file``: see :mod:`netify_agent.fleet.tokens`.
    """

    log_level: str = field(default="info", metadata=reads(parsed(yaml_reader.one_of(*types.LOG_LEVELS))))
    redis: RedisSettings = field(
        default=RedisSettings(), metadata=reads(section(RedisSettings, consistent_redis))
    )
    web: CollectorWebSettings = field(
        default=CollectorWebSettings(), metadata=reads(section(CollectorWebSettings, _tls_or_loopback))
    )
    silent_after_s: int = field(default=900, metadata=reads(parsed(types.duration(10)), "silent_after"))
    gateways_file: str = field(default="/etc/netify-collector/gateways", metadata=reads(_path))
    readers_file: str = field(default="/etc/netify-collector/readers", metadata=reads(_path))


def load(path: str) -> CollectorSettings:
    """Read the settings of a file. Raises ConfigError with all problems."""
    return yaml_reader.read_document(secrets.text_of_file(path), path, section(CollectorSettings))
