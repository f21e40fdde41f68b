"""Redis over TLS, with certificates of our own: a real server, made with openssl."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_store import HISTORY
from support import RedisServer, certificate, free_port, short_directory

from netify_agent.accounting.batch import Batch
from netify_agent.config.settings import ConfigError, RedisTlsSettings, TlsSettings
from netify_agent.store.client import StoreError, connect
from netify_agent.store.reader import StoreReader
from netify_agent.store.writer import Flush, StoreWriter


class Redis:
    """A server whose certificate is for localhost and 127.0.0.1, and that wants one of its clients."""

    def __init__(self, directory: Path) -> None:
        self.own, self.client = certificate(directory, "redis"), certificate(directory, "client")
        self.port = free_port()
        self.base = f"rediss://127.0.0.1:{self.port}/0"
        self.elsewhere = f"rediss://127.0.0.2:{self.port}/0"
        self.files = RedisTlsSettings(self.own.certificate, self.client.certificate, self.client.key)
        options = {
            "tls-port": str(self.port),
            "bind": "127.0.0.1 127.0.0.2",
            "tls-cert-file": str(self.own.certificate),
            "tls-key-file": str(self.own.key),
            "tls-ca-cert-file": str(self.client.certificate),
            "tls-auth-clients": "yes",
        }
        self.server = RedisServer(
            directory, *(word for name, value in options.items() for word in (f"--{name}", *value.split()))
        )

    def in_url(self, url: str, more: str = "") -> str:
        ca, own, key = self.files.ca_file, self.files.certificate, self.files.key
        return f"{url}?ssl_ca_certs={ca}&ssl_certfile={own}&ssl_keyfile={key}{more}"


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with short_directory() as directory:
        if b"tls-auth-clients" not in Path(shutil.which("redis-server") or "missing").read_bytes():
            pytest.skip("this redis-server was built without TLS")
        made = Redis(directory)
        with made.server:
            yield made


@pytest.mark.parametrize("where", ["settings", "URL", "URL of another host"])
def test_a_redis_with_a_ca_of_its_own_takes_flushes(redis: Redis, where: str) -> None:
    url, tls = redis.base, redis.files
    if where != "settings":
        url, tls = redis.in_url(url), RedisTlsSettings()
    if where == "URL of another host":
        url = redis.in_url(redis.elsewhere, "&ssl_check_hostname=false")
    store = StoreWriter(connect(url, None, tls), f"gw-{len(where)}", HISTORY, 86400)
    assert store.claim().sequence == 0
    store.apply(Flush(1, Batch(0), 1_700_000_000_000, 1000))
    assert StoreReader(connect(url, None, tls), f"gw-{len(where)}").last_flush() == (1, 1_700_000_000_000)


def test_a_redis_that_is_not_trusted_is_not_used(redis: Redis) -> None:
    no_certificate = RedisTlsSettings(redis.files.ca_file)
    for url, tls, told in (
        (redis.base, RedisTlsSettings(), "set redis.tls.ca_file to the CA"),
        (redis.elsewhere, redis.files, "is not for the host in redis.url"),
        (redis.base, no_certificate, "requires a client certificate|(?i:closed|reset)"),
    ):
        with pytest.raises(StoreError, match=told) as error:
            StoreReader(connect(url, None, tls), "gw1").ping()
        assert "\n" not in str(error.value)


def test_a_file_that_can_not_be_used_is_named(redis: Redis, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("none\n")
    ca, own, key = redis.files.ca_file, redis.files.certificate, redis.files.key
    other: TlsSettings = redis.own
    for tls, told in (
        (RedisTlsSettings("/none.pem"), "redis.tls.ca_file: /none.pem: can't be read: No such file"),
        (RedisTlsSettings(str(broken)), f"redis.tls.ca_file: {broken}: expected PEM certificates"),
        (RedisTlsSettings(ca, str(broken), key), f"redis.tls.key: {key}: expected the PEM private key"),
        (RedisTlsSettings(ca, own, other.key), f"redis.tls.key: {other.key}: expected the PEM private key"),
    ):
        with pytest.raises(ConfigError) as error:
            connect(redis.base, None, tls)
        assert str(error.value).startswith(told)
