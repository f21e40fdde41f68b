"""Every mistake in the configuration is named with file, line and key; broken YAML is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_problems import problem, problems

from netify_agent.config.settings import (
    ConfigError,
    parse,
)

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
            "redis.tls: expected a redis.url that begins with rediss, found 'redis://127.0.0.1:6379/0'",
        ),
        (
            "redis: {url: 'rediss://h', tls: {key: /k.pem}}",
            "redis.tls.key: expected redis.tls.certificate as well, found none",
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
            "web.tls.certificate: expected web.tls.key as well, found none",
        ),
        (
            "web: {tls: {key: /k.pem, certificate: null}}",
            "web.tls.key: expected web.tls.certificate as well, found none",
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
            "history: {1m: 2h, 2m: 2h, 4m: 2h, 8m: 2h, 16m: 2h, 32m: 2h, 64m: 2h}",
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
            "history.7m: expected a multiple of the next shorter resolution, 5m, found '7m'",
        ),
        (
            "history: {5m: 2d, 20m: 2d, 30m: 2d}",
            "history.30m: expected a multiple of the next shorter resolution, 20m, found '30m'",
        ),
        (
            "history: {7d: 1y, 1mo: 5y}",
            "history.1mo: expected a multiple of the next shorter resolution, 7d, found '1mo'",
        ),
        (
            "history: {1y: 2y}",
            "history.1y: expected a duration such as 90s, 5m, 1h or 31d, from 1m to 36500d",
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
        (
            "devices: {names: [a]}",
            "devices.names: expected addresses with names, such as 192.0.2.7: printer, found a list",
        ),
        (
            "devices: {names: {laptop: 192.0.2.7}}",
            "devices.names.laptop: expected a MAC address or an IP address, found 'laptop'",
        ),
        (
            "devices: {names: {192.0.2.7: ''}}",
            "devices.names.'192.0.2.7': expected a name of 1 to 253 printable characters, found ''",
        ),
        (
            "devices: {names: {192.0.2.7: 12}}",
            "devices.names.'192.0.2.7': expected a name of 1 to 253 printable characters, found 12 (not",
        ),
        (
            "devices: {names: {02-00-00-00-00-AA: a, '02:00:00:00:00:aa': b}}",
            "devices.names.'02:00:00:00:00:aa': expected each key once, found '02:00:00:00:00:aa' again",
        ),
        ("groups: [kids]", "groups: expected groups with lists of their members, found a list"),
        ("groups: {kids: laptop}", "groups.kids: expected a list, found 'laptop'"),
        (
            "groups: {' kids': []}",
            "groups.' kids': expected a name of 1 to 63 letters, digits, spaces, '.', '_'",
        ),
        ("groups: {'a,b': []}", "groups.'a,b': expected a name of 1 to 63 letters, digits, spaces, '.', '_'"),
        (
            "groups: {no: []}",
            "groups.no: expected a name of 1 to 63 letters, digits, spaces, '.', '_' and '-'",
        ),
        (
            "groups: {kids: [a, 192.0.2.300]}",
            "groups.kids[1]: expected a MAC address, an IP address, a network such as 192.0.2.0/24, or a",
        ),
        ("groups: {kids: [02:00:00:00:00]}", "groups.kids[0]: expected a MAC address, an IP address"),
        ("groups: {kids: ['']}", "groups.kids[0]: expected a MAC address, an IP address"),
        (
            "groups: {kids: [192.0.2.1/24]}",
            "groups.kids[0]: expected a MAC address, an IP address, a network such as 192.0.2.0/24 without "
            "host bits, or a pattern of names such as kids-*, found '192.0.2.1/24'",
        ),
        (
            "groups: {kids: [192.0.2.1, 192.0.2.1/32]}",
            "groups.kids[1]: expected each entry once, found '192.0.2.1/32' again",
        ),
        (
            "groups: {" + ", ".join(f"g{number}: []" for number in range(101)) + "}",
            "groups: expected at most 100 keys, found 101",
        ),
        (
            "calendar: {timezone: Europe/Berlim}",
            "calendar.timezone: expected a time zone of the system's database, such as Europe/Berlin",
        ),
        ("calendar: {month_starts_on: 32}", "calendar.month_starts_on: expected a whole number from 1 to 31"),
        ("calendar: {week_starts_on: mon}", "calendar.week_starts_on: expected a weekday such as monday"),
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
def test_a_problem_names_the_key_and_what_was_expected_and_found(text: str, expected: str) -> None:
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


def test_all_problems_are_reported_at_once() -> None:
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
def test_an_invalid_origin_is_refused(origin: str) -> None:
    expected = "f.yaml:1: web.cors_origins[0]: expected an origin of web pages such as https://grafana"
    assert problem(f"web: {{cors_origins: ['{origin}']}}").startswith(expected)


def test_origins_that_mean_the_same_are_the_same() -> None:
    text = "web: {cors_origins: ['https://a:443', 'HTTPS://A/']}"
    assert "cors_origins[1]: expected each entry once" in problem(text)


@pytest.mark.parametrize("listen", ["127.9.9.9:7000", "'[::1]:7000'", "localhost:7000", "unix:///run/a.sock"])
def test_listening_within_this_machine_needs_no_permission(listen: str) -> None:
    assert parse(f"web: {{listen: {listen}}}", "f.yaml").web.allow_unauthenticated is False


def test_a_conflict_is_not_reported_for_an_invalid_key() -> None:
    assert "true or false" in problem("web: {listen: 0.0.0.0:1, allow_unauthenticated: sure}")


def test_long_values_and_keys_are_shortened() -> None:
    assert len(problem(f"log_level: {'x' * 5000}")) < 150
    assert len(problem(f"devices: {{{'x' * 500}: 1}}")) < 150
