"""Configuration: what is accepted, and that every mistake is named where it stands, secrets never."""

import dataclasses
import os
import socket
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from netify_agent.config.settings import (
    ConfigError,
    DeviceSettings,
    Endpoint,
    MetricsSettings,
    RedisSettings,
    Resolution,
    Settings,
    TlsSettings,
    WebSettings,
    load,
    parse,
)

CONFFILE = Path(__file__).parents[2] / "etc" / "netify-agent.yaml"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml")
    return list(caught.value.problems)


def problem(text: str) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


# What is accepted


@pytest.mark.parametrize(
    "text", ["", "\n", "# nothing\n", "---\n", "null", "{}", "\ufeff", "netifyd:\nweb: {}\nhistory:\n"]
)
def test_what_is_not_given_has_its_default(text: str) -> None:
    assert parse(text, "f.yaml") == Settings() == load(None)


def test_the_defaults_are_the_documented_ones() -> None:
    settings = Settings()
    assert (settings.interval_s, settings.log_level) == (15, "info")
    assert settings.netifyd.endpoints == (Endpoint("unix", path="/var/run/netifyd/netifyd.sock"),)
    assert (settings.netifyd.max_record_bytes, settings.netifyd.max_flows) == (1048576, 200000)
    assert settings.redis == RedisSettings(url="redis://127.0.0.1:6379/0", password_file=None)
    assert settings.web.listen == Endpoint("tcp", host="127.0.0.1", port=7000)
    assert (settings.web.threads, settings.web.hosts, settings.web.allow_unauthenticated) == (4, (), False)
    assert (settings.web.tokens_file, settings.web.cors_origins) == (None, ())
    assert settings.web.tls == TlsSettings(certificate=None, key=None)
    assert settings.metrics == MetricsSettings(devices=100, applications=100)
    assert settings.history == (
        Resolution(300, 172800, "5m"),
        Resolution(3600, 2678400, "1h"),
        Resolution(86400, 34560000, "1d"),
    )
    assert settings.devices == DeviceSettings(10_000, 34560000, ())
    assert settings.names.vendors == "/usr/share/ieee-data"
    assert settings.names.hosts == ("/etc/hosts",)
    assert len(settings.names.leases) == 7
    assert settings.names.ethers == ("/etc/ethers",)
    assert settings.names.reverse_dns is False
    assert settings.names.categories == "/etc/netify.d/netify-categories.json"


def test_every_key_is_read_into_its_setting() -> None:
    settings = parse(
        """
gateway: Gw-1.lan_x
interval: 3600
log_level: debug
netifyd: {endpoints: ["unix:///run/n.sock", "tcp://Netifyd:7150", "tcp://[0:0::1]:1"],
          max_record: 4096, max_flows: 1_000}
redis: {url: "rediss://r.example:6380/3", password_file: /run/pw}
web: {listen: "[::]:80", threads: 64, hosts: [Gw.LAN, "[FD00::1]", 192.0.2.1], allow_unauthenticated: yes,
      tokens_file: /t, tls: {certificate: /c.pem, key: /k.pem},
      cors_origins: ["https://Grafana.lan:443", "http://[0:0::1]:3000/"]}
metrics: {devices: 0, applications: 10000}
history: {24h: 400d, 60s: 1m}
devices: {forget_after: 24h, max: 1, by_ip: [192.0.2.0/24, "2001:DB8::/32", 192.0.2.1, 02-AA-00-00-33-33]}
names: {vendors: /v, hosts: [], ethers: [/e], leases: [/l*, /m], reverse_dns: true, categories: /c}
""",
        "f.yaml",
    )
    assert (settings.gateway, settings.interval_s, settings.log_level) == ("Gw-1.lan_x", 3600, "debug")
    assert settings.netifyd.endpoints == (
        Endpoint("unix", path="/run/n.sock"),
        Endpoint("tcp", host="netifyd", port=7150),
        Endpoint("tcp", host="::1", port=1),
    )
    assert (settings.netifyd.max_record_bytes, settings.netifyd.max_flows) == (4096, 1000)
    assert settings.redis == RedisSettings("rediss://r.example:6380/3", "/run/pw")
    assert settings.web.listen == Endpoint("tcp", host="::", port=80)
    assert (settings.web.threads, settings.web.allow_unauthenticated) == (64, True)
    assert settings.web.hosts == ("gw.lan", "fd00::1", "192.0.2.1")
    assert (settings.web.tokens_file, settings.web.tls) == ("/t", TlsSettings("/c.pem", "/k.pem"))
    assert settings.web.cors_origins == ("https://grafana.lan", "http://[::1]:3000")
    assert settings.metrics == MetricsSettings(0, 10000)
    assert settings.history == (Resolution(60, 60, "1m"), Resolution(86400, 34560000, "1d"))
    assert settings.devices == DeviceSettings(
        1, 86400, ("192.0.2.0/24", "2001:db8::/32", "192.0.2.1/32", "02:aa:00:00:33:33")
    )
    assert settings.names == type(settings.names)("/v", (), ("/e",), ("/l*", "/m"), True, "/c")


def test_settings_can_not_be_changed_by_accident() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        parse("", "f.yaml").web.threads = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("host_name", "gateway"),
    [("gw1.lan", "gw1.lan"), ("(none)", "-none-"), ("", "gateway"), ("g" * 64, "g" * 63)],
)
def test_a_gateway_without_a_name_takes_the_host_name(
    host_name: str, gateway: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host_name)
    assert parse("", "f.yaml").gateway == parse("gateway: null", "f.yaml").gateway == gateway


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://localhost",
        "redis://[::1]:6379/",
        "redis://h?db=3",
        "redis://user:s3cr3t@h:6379/1",
        "redis://:pa%23%2Fs@h",
        "unix:///run/a@b.sock",
        "rediss://h/1?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
        "rediss://h?db=1&ssl_cert_reqs=none&ssl_check_hostname=false",
        "rediss://:s3cr3t@redis.example:6380",
        "unix:///run/redis.sock",
        "unix:///run/redis.sock?db=2",
        "unix://:s3cr3t@/run/redis.sock?db=2",
    ],
)
def test_every_form_of_redis_url_is_accepted_as_it_is(url: str) -> None:
    assert parse(f"redis: {{url: '{url}'}}", "f.yaml").redis.url == url


# The conffile


def yaml_keys(node: yaml.MappingNode, path: str = "") -> set[str]:
    keys = set()
    for key, value in node.value:
        keys.add(path + key.value)
        if isinstance(value, yaml.MappingNode):
            keys |= yaml_keys(value, f"{path}{key.value}.")
    return keys


def known_keys(cls: type[Any], path: str = "") -> set[str]:
    keys = set()
    for field in dataclasses.fields(cls):
        name = path + (field.metadata["key"] or field.name)
        keys.add(name)
        of = get_type_hints(cls)[field.name]
        if isinstance(of, type) and of.__name__.endswith("Settings"):
            keys |= known_keys(of, f"{name}.")
    return keys


def test_the_conffile_says_exactly_the_defaults() -> None:
    assert load(str(CONFFILE)) == Settings()


def test_the_conffile_names_every_key() -> None:
    root = yaml.compose(CONFFILE.read_text(), Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    assert {key for key in yaml_keys(root) if not key.startswith("history.")} == known_keys(Settings)


def test_an_http_endpoint_is_on_loopback_or_has_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("a-token-that-is-long-enough\n")
    settings = parse(
        f"netifyd: {{endpoints: ['http://[::1]:7001', 'http://0.0.0.0:7002/flows'], token_file: {file}}}", "f"
    )
    assert settings.netifyd.endpoints == (
        Endpoint("http", path="/", host="::1", port=7001),
        Endpoint("http", path="/flows", host="0.0.0.0", port=7002),
    )
    assert [str(one) for one in settings.netifyd.endpoints] == [
        "http://[::1]:7001/",
        "http://0.0.0.0:7002/flows",
    ]
    assert settings.netifyd.tokens() == ("a-token-that-is-long-enough",)
    file.write_text("short\n")
    with pytest.raises(ConfigError, match=r"netifyd\.token_file: .*:1: expected a token of 16"):
        settings.netifyd.tokens()


def test_only_the_default_endpoint_has_others_to_try_where_it_does_not_stream() -> None:
    assert [one.path for one in parse("", "f").netifyd.fallbacks] == [
        "/var/run/netifyd/flows.sock",
        "/var/run/netifyd/netify-sink.sock",
    ]
    assert parse("netifyd: {endpoints: ['unix:///run/n.sock']}", "f").netifyd.fallbacks == ()


# Problems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "gateway: a b",
            "gateway: expected a name of 1 to 63 letters, digits, '.', '_' and '-', found 'a b'",
        ),
        (
            f"gateway: {'a' * 64}",
            "gateway: expected a name of 1 to 63 letters, digits, '.', '_' and '-', found",
        ),
        ("gateway: ''", "gateway: expected a name of 1 to 63 letters, digits, '.', '_' and '-', found ''"),
        (
            "gateway: no",
            "gateway: expected a name of 1 to 63 letters, digits, '.', '_' and '-', found no (not text)",
        ),
        ("gateway: !x y", "found a value tagged '!x' (not text)"),
        ("gateway: [a]", "found a list"),
        ("interval: 0", "interval: expected a whole number from 1 to 3600, found 0"),
        ("interval: 3601", "interval: expected a whole number from 1 to 3600, found 3601"),
        ("interval: true", "interval: expected a whole number from 1 to 3600, found true"),
        ("interval: '15'", "interval: expected a whole number from 1 to 3600, found '15'"),
        ("interval: 1.5", "interval: expected a whole number from 1 to 3600, found 1.5"),
        ("interval: 010", "interval: expected a whole number from 1 to 3600, found 010"),
        ("interval: 1:30", "interval: expected a whole number from 1 to 3600, found 1:30"),
        ("interval: -5", "interval: expected a whole number from 1 to 3600, found -5"),
        ("interval:", "interval: expected a whole number from 1 to 3600, found nothing"),
        ("interval: null", "interval: expected a whole number from 1 to 3600, found null"),
        ("interval: !!int x", "interval: expected a whole number from 1 to 3600, found x"),
        ("interval: [1]", "interval: expected a whole number from 1 to 3600, found a list"),
        ("interval: {a: 1}", "interval: expected a whole number from 1 to 3600, found keys with values"),
        ("log_level: INFO", "log_level: expected debug, info, warning or error, found 'INFO'"),
        ("netifyd: 5", "netifyd: expected keys with values, found 5"),
        ("netifyd: !!set {a}", "netifyd: expected keys with values, found keys with values"),
        ("netifyd: {endpoints: []}", "netifyd.endpoints: expected a list of 1 or more, found 0"),
        ("netifyd: {endpoints: tcp://a:1}", "netifyd.endpoints: expected a list, found 'tcp://a:1'"),
        ("netifyd: {endpoints: }", "netifyd.endpoints: expected a list, found nothing"),
        (
            "netifyd: {endpoints: ['ftp://x']}",
            "netifyd.endpoints[0]: expected unix:///path, tcp://host:port or http://host:port/path, found",
        ),
        (
            "netifyd: {endpoints: ['udp://127.0.0.1:9000']}",
            "netifyd.endpoints[0]: expected unix:// or tcp:// (records that UDP loses",
        ),
        (
            "netifyd: {endpoints: ['mqtt://b/x']}",
            "netifyd.endpoints[0]: expected unix:// or tcp:// of netifyd's",
        ),
        (
            "netifyd: {endpoints: ['ws://127.0.0.1:80']}",
            "netifyd.endpoints[0]: expected tcp://, as netifyd's",
        ),
        (
            "netifyd: {endpoints: ['https://a/x']}",
            "netifyd.endpoints[0]: expected http:// on a loopback address",
        ),
        (
            "netifyd: {endpoints: ['http://a/x']}",
            "expected unix:///path, tcp://host:port or http://host:port/path",
        ),
        (
            "netifyd: {endpoints: ['http://127.0.0.1:1/a?b']}",
            "expected unix:///path, tcp://host:port or http://host:port/path",
        ),
        (
            "netifyd: {endpoints: ['http://192.0.2.1:7001/flows']}",
            "expected a loopback address, as there is no netifyd.token_file, found 'http://192.0.2.1:7001/flows'",
        ),
        (
            "netifyd: {endpoints: ['http://[::1]:7001/a', 'http://[::1]:7001/b']}",
            "expected a port of its own for each http:// endpoint, found 'http://[::1]:7001/b'",
        ),
        ("netifyd: {token_file: x}", "netifyd.token_file: expected an absolute path, found 'x'"),
        (
            "netifyd: {endpoints: ['tcp://a:1', 'tcp://A:01']}",
            "netifyd.endpoints[1]: expected each entry once, found 'tcp://A:01' again",
        ),
        (
            "netifyd: {interfaces: {include: ['role:dmz']}}",
            "netifyd.interfaces.include[0]: expected role:lan or role:wan, found 'role:dmz'",
        ),
        (
            "netifyd: {interfaces: {exclude: ['a/b']}}",
            "netifyd.interfaces.exclude[0]: expected the name of an interface (1 to 15 characters)",
        ),
        (
            "netifyd: {interfaces: {include: [a], exclude: [b]}}",
            "netifyd.interfaces.include: expected one of include and exclude, found both",
        ),
        ("netifyd: {max_record: 4095}", "netifyd.max_record: expected a whole number from 4096 to 67108864"),
        (
            "netifyd: {max_record: 67108865}",
            "netifyd.max_record: expected a whole number from 4096 to 67108864",
        ),
        ("netifyd: {max_flows: 999}", "netifyd.max_flows: expected a whole number from 1000 to 10000000"),
        (
            "netifyd: {max_flows: 10000001}",
            "netifyd.max_flows: expected a whole number from 1000 to 10000000",
        ),
        (
            "redis: {tls: {ca_file: /ca.pem}}",
            "redis.tls: expected a redis.url that begins with rediss://, found 'redis://127.0.0.1:6379/0'",
        ),
        (
            "redis: {url: 'rediss://h', tls: {key: /k.pem}}",
            "redis.tls.key: expected redis.tls.certificate beside it, found none",
        ),
        ("redis: {password_file: pw}", "redis.password_file: expected an absolute path, found 'pw'"),
        (
            "redis: {password_file: /pw, url: 'redis://:x@h'}",
            "redis.password_file: expected one password, found one in redis.url too",
        ),
        (
            "web: {listen: 7000}",
            "web.listen: expected host:port, [v6]:port or unix:///path, found 7000 (not text)",
        ),
        ("web: {threads: 65}", "web.threads: expected a whole number from 1 to 64, found 65"),
        (
            "web: {hosts: [a, 'b:80']}",
            "web.hosts[1]: expected a host name or address without a port, found 'b:80'",
        ),
        ("web: {tokens_file: tokens}", "web.tokens_file: expected an absolute path, found 'tokens'"),
        (
            "web: {tls: {certificate: /c.pem}}",
            "web.tls.certificate: expected web.tls.key beside it, found none",
        ),
        (
            "web: {tls: {key: /k.pem, certificate: null}}",
            "web.tls.key: expected web.tls.certificate beside it, found none",
        ),
        (
            "web: {listen: 'unix:///run/a.sock', tls: {certificate: /c.pem, key: /k.pem}}",
            "web.tls: expected no TLS on a Unix socket, found web.listen: unix:///run/a.sock",
        ),
        ("metrics: {devices: -1}", "metrics.devices: expected a whole number from 0 to 10000, found -1"),
        (
            "metrics: {applications: 10001}",
            "metrics.applications: expected a whole number from 0 to 10000, found 10001",
        ),
        ("web: {allow_unauthenticated: 1}", "web.allow_unauthenticated: expected true or false, found 1"),
        (
            "web: {allow_unauthenticated: !!bool x}",
            "web.allow_unauthenticated: expected true or false, found x",
        ),
        ("history: {}", "history: expected 1 to 6 resolutions, found 0"),
        (
            "history: {1m: 7m, 2m: 7m, 3m: 7m, 4m: 7m, 5m: 7m, 6m: 7m, 7m: 7m}",
            "history: expected 1 to 6 resolutions",
        ),
        (
            "history: [5m]",
            "history: expected resolutions with how long each is kept, such as 5m: 2d, found a list",
        ),
        (
            "history: {59s: 2d}",
            "history.59s: expected a duration such as 90s, 5m, 1h or 31d, from 1m to 36500d",
        ),
        (
            "history: {300: 2d}",
            "history.300: expected a duration such as 90s, 5m, 1h or 31d, from 1m to 36500d",
        ),
        (
            "history: {5m: 299s}",
            "history.5m: expected a duration such as 90s, 5m, 1h or 31d, from 5m to 36500d",
        ),
        (
            "history: {5m: 2w}",
            "history.5m: expected a duration such as 90s, 5m, 1h or 31d, from 5m to 36500d",
        ),
        (
            "history: {5m: 36501d}",
            "history.5m: expected a duration such as 90s, 5m, 1h or 31d, from 5m to 36500d",
        ),
        (
            "history: {5m: 2d, 7m: 2d}",
            "history.7m: expected a multiple of the shortest resolution, 5m, found '7m'",
        ),
        (
            "history: {5m: 2d, 300s: 2d}",
            "history.300s: expected each resolution once (5m), found '300s' again",
        ),
        ("devices: {forget_after: 23h}", "devices.forget_after: expected a duration such as"),
        ("devices: {max: 0}", "devices.max: expected a whole number from 1 to 100000, found 0"),
        (
            "devices: {by_ip: [192.0.2.1/24]}",
            "devices.by_ip[0]: expected a network such as 192.0.2.0/24 without host bits, or a MAC address",
        ),
        (
            "devices: {by_ip: [02:00:00:00:33]}",
            "devices.by_ip[0]: expected a network such as 192.0.2.0/24, or a MAC address, found",
        ),
        ("names: {vendors: x}", "names.vendors: expected an absolute path, found 'x'"),
        ("names: {vendors: }", "names.vendors: expected an absolute path, found nothing"),
        ('names: {vendors: "/a\\0b"}', "names.vendors: expected an absolute path, found '/a\\x00b'"),
        ('names: {vendors: "/\\ud800"}', "names.vendors: expected an absolute path, found '/\\ud800'"),
        ("names: {hosts: [/a, /a]}", "names.hosts[1]: expected each entry once, found '/a' again"),
        ("names: {reverse_dns: maybe}", "names.reverse_dns: expected true or false, found 'maybe'"),
        ("names: {categories: []}", "names.categories: expected an absolute path, found a list"),
        ("- a", "expected keys with values, found a list"),
        ("text", "expected keys with values, found 'text'"),
        ("? [a]\n: b", "expected a plain key, found a list"),
        ("<<: {interval: 0}", "'<<': unknown key, expected gateway, interval"),
    ],
)
def test_a_problem_names_key_expectation_and_finding(text: str, expected: str) -> None:
    found = problem(text)
    assert found.startswith("f.yaml:1: ")
    assert expected in found


def test_problems_name_their_own_line_in_order() -> None:
    text = "interval: 0\nweb:\n  threads: 99\n\n  hosts:\n    - ok\n    - 'no no'\nnames:\n  hosts: 5\n"
    assert [line.split(" ")[:2] for line in problems(text)] == [
        ["f.yaml:1:", "interval:"],
        ["f.yaml:3:", "web.threads:"],
        ["f.yaml:7:", "web.hosts[1]:"],
        ["f.yaml:9:", "names.hosts:"],
    ]


def test_an_error_prints_as_one_line_per_problem() -> None:
    error = ConfigError("a\nb", "c\x1b[2J\u2028d")
    assert str(error) == "a\\nb\nc\\x1b[2J\\u2028d"


def test_all_problems_are_told_at_once() -> None:
    text = """
a: 1
interval: x
redis: {url: ftp://, b: 2}
history: {1s: 2d, 5m: x}
web: {threads: 0, listen: 0.0.0.0:80}
"""
    paths = [line.split(": ")[1] for line in problems(text)]
    assert paths == [
        "a",
        "interval",
        "redis.url",
        "redis.b",
        "history.1s",
        "history.5m",
        "web.threads",
        "web.listen",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("intervall: 15", "intervall: unknown key, did you mean 'interval'?"),
        ("netifyd: {endpoint: []}", "netifyd.endpoint: unknown key, did you mean 'endpoints'?"),
        ("web: {allow-unauthenticated: true}", "did you mean 'allow_unauthenticated'?"),
        ("devices: {x: 1}", "devices.x: unknown key, expected "),
        ("interval_s: 15", "did you mean 'interval'?"),
    ],
)
def test_an_unknown_key_is_an_error_with_a_hint(text: str, expected: str) -> None:
    assert expected in problem(text)


def test_a_duplicate_key_is_an_error_that_names_both_lines() -> None:
    text = "web:\n  threads: 1\n  threads: 2\n"
    assert problem(text) == "f.yaml:3: web.threads: expected each key once, found it again (first on line 2)"


@pytest.mark.parametrize("listen", ["0.0.0.0:7000", "'[::]:7000'", "192.0.2.1:7000", "gw.lan:7000"])
def test_listening_beyond_this_machine_must_be_allowed(listen: str) -> None:
    found = problem(f"web:\n  listen: {listen}\n")
    assert found.startswith("f.yaml:2: web.listen: expected a loopback address or a unix socket")
    assert "set web.tokens_file; or" in found
    assert "web.allow_unauthenticated: true" in found
    assert found.endswith(f"found '{listen.strip(chr(39))}'")
    assert parse(f"web: {{listen: {listen}, allow_unauthenticated: true}}", "f").web.listen.port == 7000


def test_tokens_permit_to_listen_beyond_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "web: {listen: '0.0.0.0:7000', tokens_file: %s}"
    assert parse(text % "/t", "f.yaml").web.tokens_path == "/t"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert "as there are no tokens" in problem(text % "null")
    (tmp_path / "tokens").touch()
    assert parse(text % "null", "f.yaml").web.tokens_path == str(tmp_path / "tokens")
    assert parse(text % "/t", "f.yaml").web.tokens_path == "/t"


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "grafana.lan", "ftp://a", "https://", "https://a/b", "https://a:0", "https://a:65536",
     "https://u@a", "https://[::g]", "https://1.2.3", "https://a?b", "https://a b", "https://a:"],
)  # fmt: skip
def test_what_is_no_origin_of_a_web_page_is_refused(origin: str) -> None:
    expected = "f.yaml:1: web.cors_origins[0]: expected an origin of web pages such as https://grafana"
    assert problem(f"web: {{cors_origins: ['{origin}']}}").startswith(expected)


def test_origins_that_mean_the_same_are_the_same() -> None:
    text = "web: {cors_origins: ['https://a:443', 'HTTPS://A/']}"
    assert "cors_origins[1]: expected each entry once" in problem(text)


@pytest.mark.parametrize("listen", ["127.9.9.9:7000", "'[::1]:7000'", "localhost:7000", "unix:///run/a.sock"])
def test_listening_within_this_machine_needs_no_permission(listen: str) -> None:
    assert parse(f"web: {{listen: {listen}}}", "f.yaml").web.allow_unauthenticated is False


def test_a_conflict_is_not_told_of_a_key_that_is_wrong_itself() -> None:
    assert "true or false" in problem("web: {listen: 0.0.0.0:1, allow_unauthenticated: sure}")


def test_long_values_and_keys_are_shortened() -> None:
    assert len(problem(f"log_level: {'x' * 5000}")) < 150
    assert len(problem(f"devices: {{{'x' * 500}: 1}}")) < 150


# Hostile and broken YAML


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("interval: 15\nweb: [", 2),
        ("interval: 15\n\tweb: 1", 2),
        ("a: b: c", 1),
        ("interval: 15\n---\ninterval: 16", 2),
        ("interval: 15\nx: \x07", 2),
        ('\ngateway: "\\UFFFFFFFF"', 2),
        ("%YAML " + "9" * 5000 + ".1\n---\n", 1),
        ("\ud800", 1),
    ],
)
def test_broken_yaml_is_one_problem_with_its_line(text: str, line: int) -> None:
    assert problem(text).startswith(f"f.yaml:{line}: expected valid YAML: ")


def test_anchors_and_aliases_are_refused_before_they_can_multiply() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    found = problems(bomb)
    assert len(found) == 60 + 2 * 59
    assert found[0] == "f.yaml:1: expected plain values, found a YAML anchor or alias (& or *)"


def test_a_structure_that_contains_itself_is_refused() -> None:
    assert "anchor or alias" in problems("&a [*a]")[0]


@pytest.mark.parametrize("text", ["[" * 50_000, "{a: " * 50_000, "- " * 400 + "x"])
def test_deep_nesting_is_refused(text: str) -> None:
    assert problem(text) == "f.yaml:1: expected at most 20 levels, found more"


TEXTS = st.one_of(
    st.text(),
    st.text(alphabet="abw:-#&*!|>%@`'\"{}[],?\n\t \\x0uU<~=.15m\ufeff\x85", max_size=80),
    st.builds(
        lambda at, size, new, text: text[:at] + new + text[at + size :],
        st.integers(0, 4000),
        st.integers(0, 30),
        st.text(max_size=10),
        st.just("".join(f"{line}\n" for line in CONFFILE.read_text().splitlines() if "#" not in line)),
    ),
)


@given(TEXTS)
def test_any_text_gives_settings_or_a_config_error(text: str) -> None:
    try:
        assert isinstance(parse(text, "f.yaml"), Settings)
    except ConfigError as error:
        assert error.problems
        assert all(line.startswith("f.yaml:") and line.isprintable() for line in error.problems)


KEYS = st.sampled_from(sorted({part for key in known_keys(Settings) for part in key.split(".")}))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.dates(),
    st.from_regex(r"(unix|tcp|redis|rediss)://[a-z0-9@:/?=.%\[\]-]{0,20}", fullmatch=True),
    st.from_regex(r"[0-9]{1,20}[smhd]", fullmatch=True),
    st.from_regex(r"[\[\]a-z0-9.:%-]{1,12}:[0-9]{1,6}", fullmatch=True),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | SCALARS.filter(bool), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=6) | VALUES)
def test_any_value_gives_settings_or_a_config_error(value: Any) -> None:
    try:
        text = yaml.safe_dump(value)
    except TypeError:  # PyYAML sorts keys, and not every two can be compared
        text = yaml.safe_dump(value, sort_keys=False)
    try:
        assert isinstance(parse(text, "f.yaml"), Settings)
    except ConfigError as error:
        assert all(line.startswith("f.yaml:") and line.isprintable() for line in error.problems)


# Secrets


def test_a_password_in_the_url_is_in_no_representation_of_the_settings() -> None:
    settings = parse("redis: {url: 'redis://me:s3cr3t@h:6379/1'}", "f.yaml")
    assert settings.redis.safe_url == "redis://***@h:6379/1"
    assert "redis://***@h:6379/1" in repr(settings)
    for text in (repr(settings), str(settings), f"{settings.redis}"):
        assert "s3cr3t" not in text


@pytest.mark.parametrize(
    "where", ["redis: {url: %s}", "netifyd: {endpoints: [%s]}", "web: {listen: %s}", "web: %s"]
)
@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cr3t@h:99999/0",
        "redis://u:s3cr3t@h/zero",
        "redis://u:p@s3cr3t@h:x",
        "redis:/:s3cr3t@h",
        "rediss://:pa/s3cr3t@h:1",
        "redis://:pa?s3cr3t@h:1",
        "redis://h:6379/0?db=0&password=s3cr3t",
        "redis://h:6379/0?password=s3cr3t",
        "unix://:s3cr3t@h/run/redis.sock",
        "http://:s3cr3t@h",
        "redis://:s3cr3t@" + "h" * 300,
    ],
)
def test_a_password_is_in_no_error(where: str, url: str) -> None:
    assert "s3cr3t" not in problem(where % f"'{url}'")


@pytest.mark.parametrize(
    "url", ["'s3cr3t'", "'redis://:s3cr3t'", "!s3cr3t x", "s3cr3t://", "{s3cr3t://:x@h}", "1234567"]
)
def test_a_refused_redis_url_shows_no_more_than_its_scheme(url: str) -> None:
    for line in problems(f"redis:\n  url: {url}"):
        assert "s3cr3t" not in line
        assert "1234567" not in line


def test_the_password_is_the_content_of_the_file_without_its_line_end(tmp_path: Path) -> None:
    file = tmp_path / "pw"
    for content, password in ((b"s3cr3t\n", "s3cr3t"), (b" pa ss\r\n", " pa ss"), ("pä".encode(), "pä")):
        file.write_bytes(content)
        assert parse(f"redis: {{password_file: {file}}}", "f.yaml").redis.password() == password
    assert RedisSettings().password() is None


def test_a_password_file_that_gives_none_is_an_error_naming_it(tmp_path: Path) -> None:
    for name, content in (("empty", b"\n"), ("binary", b"s3cr3t\xff"), ("big", b"s3cr3t" * 200_000)):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "dir").mkdir()
    for name in ("empty", "binary", "big", "dir", "missing"):
        with pytest.raises(ConfigError) as caught:
            RedisSettings(password_file=str(tmp_path / name)).password()
        assert str(tmp_path / name) in str(caught.value)
        assert "s3cr3t" not in str(caught.value)


def test_tokens_stand_one_on_a_line_with_comments(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# of the monitors\n\n  0123456789abcdef  # Icinga\r\nABC-._~+/89abcde==\n")
    settings = parse(f"web: {{tokens_file: {file}}}", "f.yaml")
    assert settings.web.tokens() == ("0123456789abcdef", "ABC-._~+/89abcde==")
    assert "0123456789abcdef" not in repr(settings)
    assert WebSettings().tokens() == ()


def test_a_credential_of_systemd_gives_tokens_where_no_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert WebSettings().tokens() == ()
    (tmp_path / "tokens").write_text("0123456789abcdef\n")
    assert WebSettings().tokens() == ("0123456789abcdef",)
    assert WebSettings(tokens_file=str(tmp_path / "tokens")).tokens() == ("0123456789abcdef",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ": expected a token on a line of its own, found none"),
        (b"# nothing\n\n", ": expected a token on a line of its own, found none"),
        (b"\ns3cr3t\n", ":2: expected a token of 16 to 512 characters, found 6"),
        (b"s3cr3t" * 100, ":1: expected a token of 16 to 512 characters, found 600"),
        ("s3cr3t-s3cr3t-s3cr3t-ä".encode(), ":1: expected a token of ASCII letters, digits and any of"),
        (b"s3cr3t s3cr3t s3cr3t", ":1: expected a token of ASCII letters, digits and any of"),
        (b"s3cr3t#s3cr3t#s3cr3t", ":1: expected a token of ASCII letters, digits and any of"),
        (b"s3cr3t=s3cr3t=s3cr3t", ":1: expected a token of ASCII letters, digits and any of"),
        (b"ok-0123456789abcdef\ns3cr3t\xff", ":2: expected UTF-8, found other bytes"),
        (b"# " + b"s3cr3t" * 200_000, ": expected at most 1048576 bytes, found more"),
        (None, ": can't be read: No such file or directory"),
    ],
)
def test_a_token_that_is_none_is_an_error_naming_file_and_line(
    content: bytes | None, expected: str, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"\A.+\Z") as caught:
        WebSettings(tokens_file=str(file)).tokens()
    assert str(caught.value).startswith(f"web.tokens_file: {file}{expected}")
    assert "s3cr3t" not in str(caught.value)


def test_every_token_that_is_none_is_told(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("short\n0123456789abcdef\nshort too\n")
    with pytest.raises(ConfigError) as caught:
        WebSettings(tokens_file=str(file)).tokens()
    assert [line.split(": ")[1] for line in caught.value.problems] == [f"{file}:1", f"{file}:3"]


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
def test_what_is_no_endpoint_is_refused(url: str) -> None:
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
def test_what_is_no_redis_url_is_refused(url: str) -> None:
    assert "f.yaml:1: redis.url: expected " in problem(
        f"redis: {{url: {url if url[0] == chr(39) else repr(url)}}}"
    )


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis+sentinel://h:26379/mymaster/0", "Sentinel and Cluster are not supported yet"),
        ("rediss+sentinel://h", "Sentinel and Cluster are not supported yet"),
        ("sentinel://h", "Sentinel and Cluster are not supported yet"),
        ("redis-sentinel://h", "Sentinel and Cluster are not supported yet"),
        ("redis+cluster://h", "Sentinel and Cluster are not supported yet"),
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
def test_a_redis_url_that_can_be_mended_says_how(url: str, told: str) -> None:
    assert told in problem(f"redis: {{url: '{url}'}}")


# Files


def test_a_file_is_read_and_named_in_its_problems(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("# ä\ninterval: 0\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(str(file))
    assert str(caught.value).startswith(f"{file}:2: interval: expected ")
    file.write_text("interval: 7\n")
    assert load(str(file)).interval_s == 7


def test_what_can_not_be_read_is_a_config_error_naming_the_file(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"interval: 1\ngateway: \xe4\n")
    (tmp_path / "utf16").write_bytes("interval: 1".encode("utf-16"))
    (tmp_path / "big").write_bytes(b"#" * ((1 << 20) + 1))
    for name, reason in (
        ("missing", "can't be read: No such file or directory"),
        (".", "can't be read: Is a directory"),
        ("latin", ":2: expected UTF-8"),
        ("utf16", ":1: expected UTF-8"),
        ("big", "expected at most 1048576 bytes"),
        ("\0", "can't be read: embedded null byte"),
    ):
        with pytest.raises(ConfigError, match=r"^.+$") as caught:
            load(f"{tmp_path}/{name}")
        assert reason in str(caught.value)
        assert str(tmp_path) in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_a_config_error(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("")
    file.chmod(0)
    with pytest.raises(ConfigError, match="can't be read: Permission denied"):
        load(str(file))


@given(st.binary(max_size=60))
def test_any_bytes_give_settings_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(data)
    try:
        assert isinstance(load(str(file)), Settings)
    except ConfigError as error:
        assert str(file) in str(error)
