"""Endpoints and URLs of the configuration."""

from __future__ import annotations

import socket

import pytest
from config_problems import problem

from netify_agent.config.settings import (
    Endpoint,
)

# Endpoints and URLs


@pytest.mark.parametrize(
    "url", ["unix:///run/a b.sock", "tcp://h-1.x_y:1", "tcp://[::1]:65535", "tcp://[fe80::1%eth0]:7150"]
)
def test_an_endpoint_prints_as_its_url(url: str) -> None:
    assert str(Endpoint.from_url(url)) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "unix:",
        "unix://run/x",
        "unix:///",
        "unix:///run/",
        "unix:///" + "x" * 107,
        "unix:///" + "ä" * 54,
        "tcp://h",
        "tcp://:1",
        "tcp://h:0",
        "tcp://h:65536",
        "tcp://h:1/",
        "tcp://::1:7150",
        "tcp://[::1]",
        "tcp://[h]:1",
        "tcp://[::g]:1",
        "tcp://1.2.3:4",
        "tcp://256.1.1.1:4",
        "tcp://-h:1",
        "tcp://h..x:1",
        "tcp://a b:1",
        "tcp://u@h:1",
        "tcp://h:1\n",
        "tcp://h:१",
        "TCP://h:1",
    ],
)
def test_an_invalid_endpoint_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"unix:///path or tcp://host:port|socket path"):
        Endpoint.from_url(url)


def test_the_longest_socket_path_that_a_socket_can_have_is_accepted() -> None:
    path = "/" + "x" * 106
    assert Endpoint.from_url(f"unix://{path}").path == path
    with (
        socket.socket(socket.AF_UNIX) as sock,
        pytest.raises(FileNotFoundError),
    ):
        sock.connect(path)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("tcp://127.0.0.1:1", True),
        ("tcp://127.255.0.1:1", True),
        ("tcp://LocalHost:1", True),
        ("tcp://[::1]:1", True),
        ("tcp://[::ffff:127.0.0.1]:1", True),
        ("tcp://[::ffff:192.0.2.1]:1", False),
        ("tcp://0.0.0.0:1", False),
        ("tcp://[::]:1", False),
        ("tcp://localhost.example:1", False),
        ("unix:///run/x", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(url: str, loopback: bool) -> None:
    assert Endpoint.from_url(url).is_loopback is loopback


@pytest.mark.parametrize(
    "url",
    [
        "''",
        "redis://",
        "redis://:6379",
        "redis://h:0",
        "redis://h:65536",
        "redis://h:x",
        "redis://[::1",
        "redis://h/x",
        "redis://h/0/1",
        "redis://h/0?db=1",
        "redis://h?ssl=1",
        "redis://h?db=",
        "redis://h/0#1",
        "redis://a b",
        "'redis://h '",
        "REDIS://h",
        "http://h",
        "unix:/run/r.sock",
        "unix://run/r.sock",
        "unix:///",
        "unix:///" + "x" * 107,
        "h:6379",
    ],
)
def test_an_invalid_redis_url_is_refused(url: str) -> None:
    assert "f.yaml:1: redis.url: expected " in problem(
        f"redis: {{url: {url if url[0] == chr(39) else repr(url)}}}"
    )


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis+sentinel://h:26379", "the name of the service after the addresses"),
        ("rediss+sentinel://h/m", "redis+sentinel://host:port,host:port/service/db, each address"),
        ("sentinel://h", "redis+sentinel://host:port,host:port/service/db"),
        ("redis-sentinel://h", "redis+sentinel://host:port,host:port/service/db"),
        ("redis+cluster://h", "redis+cluster://host:port,host:port, each address"),
        ("redis+cluster://h:1/3", "no database but 0"),
        ("redis+cluster://h:1,h:1", "each host:port once"),
        ("redis://:pa#ss@h:6379/0", "'#' in the password as %23 (percent-encoded), or redis.password_file"),
        ("rediss://u:pa/ss@h", "'/' in the password as %2F"),
        ("redis://:pa?ss@h", "'?' in the password as %3F"),
        ("unix://:p#s@/run/r.sock", "'#' in the password as %23"),
        ("redis://h?ssl_ca_certs=/ca.pem", "nothing but db=<number> after"),
        ("rediss://h?ssl_ca_certs=ca.pem", "ssl_ca_certs=/<path>"),
        ("rediss://h?ssl_check_hostname=no", "ssl_check_hostname=true"),
        ("rediss://h?db=1&db=2", "nothing but db="),
    ],
)
def test_the_error_for_a_redis_url_says_how_to_correct_it(url: str, told: str) -> None:
    assert told in problem(f"redis: {{url: '{url}'}}")
