"""Nagios-compatible monitoring: the check of contrib in all its states, and Debian's check_http."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from gateway import CHECK, PLUGINS, Gateway, need, run
from real_store import Netifyd
from support import Daemon, RedisServer, StandIn, eventually, framed

from netify_agent import __version__

OK, WARNING, CRITICAL, UNKNOWN = range(4)
# Monitoring Plugins guidelines: 'label'=value[UOM];[warn];[crit];[min];[max]
PERFDATA = re.compile(r"[A-Za-z0-9._-]+=[0-9.]+(s|ms|B|c|%|);([0-9@~:.]*);([0-9@~:.]*);0")


def check(base: str, *words: str) -> tuple[int, str]:
    """Exit code and first line of the check, whose output must follow the guidelines."""
    done = run(CHECK, "--url", base, *words)
    assert done.stderr == ""
    line, *more = done.stdout.splitlines()
    assert not more or "-v" in words
    text, bar, data = line.partition(" | ")
    assert text.startswith(f"NETIFY {('OK', 'WARNING', 'CRITICAL', 'UNKNOWN')[done.returncode]} - ")
    assert not bar or all(PERFDATA.fullmatch(piece) for piece in data.split(" ")), data
    return done.returncode, line


def device_of(gateway: Gateway) -> str:
    """The MAC address of the device with the most traffic."""
    return next(str(device["mac"]) for device in gateway.get("/")["devices"] if device["mac"])


# --- ready ----------------------------------------------------------------------------------------------


def test_a_ready_agent_is_ok_with_its_lag(gateway: Gateway) -> None:
    code, line = check(gateway.base)
    assert code == OK, line
    assert re.search(
        r"NETIFY OK - ready, last record [0-9.]+ s ago, version \S+ \| lag=[0-9.]+s;0:30;0:60;0 ", line
    )


def test_the_lag_is_compared_with_the_thresholds(gateway: Gateway) -> None:
    assert check(gateway.base, "-w", "@0:100000")[0] == WARNING
    assert check(gateway.base, "-w", "@0:100000", "-c", "@0:100000")[0] == CRITICAL


def test_an_outage_of_agent_redis_or_netifyd_is_critical_and_named(
    daemon: Daemon, netifyd: StandIn, redis_server: RedisServer
) -> None:
    assert check(daemon.base) == (CRITICAL, f"NETIFY CRITICAL - {daemon.base}: no answer: Connection refused")
    daemon.start()
    netifyd.accept()
    netifyd.send(framed(b'{"type":"agent_status"}\n'))
    eventually(lambda: check(daemon.base)[0] == OK, "the check is OK")

    redis_server.kill()
    eventually(lambda: "not ready: redis: " in check(daemon.base)[1], "the outage of Redis is reported")
    assert check(daemon.base)[0] == CRITICAL
    assert check(daemon.base, "-m", "rate")[0] == CRITICAL
    redis_server.start()
    eventually(lambda: check(daemon.base)[0] == OK, "the check is OK again")

    netifyd.close()
    eventually(
        lambda: f"not ready: netifyd: unix://{netifyd.path}: " in check(daemon.base)[1], "netifyd's outage"
    )
    assert check(daemon.base)[0] == CRITICAL
    assert daemon.stop() == 0
    assert check(daemon.base)[0] == CRITICAL


# --- traffic and devices --------------------------------------------------------------------------------


def test_traffic_equals_the_api_to_the_byte(gateway: Gateway) -> None:
    counted = gateway.get("/")["totals"]
    up, down = counted["bytes_up"], counted["bytes_down"]
    code, line = check(gateway.base, "-m", "traffic", "--hours", "1")
    assert code == OK
    assert line.endswith(f"| bytes={up + down}B;;;0 bytes_up={up}B;;;0 bytes_down={down}B;;;0")
    device = gateway.get(f"/{device_of(gateway)}")
    code, line = check(gateway.base, "-m", "traffic", "--hours", "1", "--device", device["mac"])
    assert f"bytes_up={device['bytes_up']}B;;;0 bytes_down={device['bytes_down']}B;;;0" in line


@pytest.mark.parametrize(
    ("threshold", "alerts"),
    [
        ("{0}", False),
        ("{1}", True),
        ("{0}:", False),
        ("{2}:", True),
        ("~:{0}", False),
        ("~:{1}", True),
        ("{1}:{2}", False),
        ("{2}:{2}", True),
        ("@{1}:{2}", True),
        ("@{2}:{2}", False),
        ("@{2}:", False),
        ("0.001k", True),
    ],
)
def test_thresholds_follow_the_guidelines(gateway: Gateway, threshold: str, alerts: bool) -> None:
    counted = gateway.get("/")["totals"]
    total = counted["bytes_up"] + counted["bytes_down"]
    words = ("-m", "traffic", "--hours", "1")
    limit = threshold.format(total, total - 1, total + 1)
    assert check(gateway.base, *words, "-w", limit)[0] == (WARNING if alerts else OK)
    assert check(gateway.base, *words, "-c", limit)[0] == (CRITICAL if alerts else OK)


def test_rates_of_gateway_and_device_are_compared_with_the_thresholds(gateway: Gateway) -> None:
    for words in ((), ("--device", device_of(gateway))):
        assert check(gateway.base, "-m", "rate", *words)[0] == OK
        assert check(gateway.base, "-m", "rate", *words, "-w", "1T,@0:1T")[0] == WARNING
        assert check(gateway.base, "-m", "rate", *words, "-w", "@0:1T,1T", "-c", "@0:1T")[0] == CRITICAL


def test_a_device_is_active_or_unknown(daemon: Daemon, netifyd: StandIn) -> None:
    daemon.start()
    netifyd.accept()
    source, device = Netifyd(), "02:00:00:00:00:0a"
    now_ms = int(time.time() * 1000)
    flow = source.flow("a" * 40, device, last_seen_at=now_ms)
    told = (flow, source.stats("a" * 40, 1, 2, last_seen_at=now_ms))
    netifyd.send(framed(*(json.dumps(record).encode() + b"\n" for record in told)))
    eventually(lambda: daemon.get(f"/{device}")[0] == 200, "the device is in Redis")
    code, line = check(daemon.base, "-m", "device", "--device", device)
    assert code == OK, line
    assert ": active, last seen " in line
    assert check(daemon.base, "-m", "device", "--device", device.replace(":", "-").upper())[0] == OK
    assert check(daemon.base, "-m", "device", "--device", device, "-w", "@0:100000")[0] == WARNING
    assert check(daemon.base, "-m", "device", "--device", device, "-c", "0.000001")[0] == CRITICAL
    code, line = check(daemon.base, "-m", "device", "--device", "02:00:00:00:00:99")
    assert (code, line) == (CRITICAL, "NETIFY CRITICAL - device 02:00:00:00:00:99 has never been seen")
    assert check(daemon.base, "-m", "rate", "--device", "02:00:00:00:00:99")[0] == UNKNOWN


def test_alerts_have_the_state_of_their_severity(daemon: Daemon, netifyd: StandIn) -> None:
    def configure(**severities: str) -> None:
        new = {"kind": "silent", "device": "02:00:00:00:00:99", "for": "1h"}
        rules = {
            name: {"kind": "new_device", "learn": "0s", "severity": one} for name, one in severities.items()
        }
        daemon.settings["alerts"] = {"silent": new, **rules}
        daemon.write_config()

    configure(new="warning", worse="critical", note="info")
    daemon.start()
    netifyd.accept()
    source, device = Netifyd(), "02:00:00:00:00:0a"
    told = (source.flow("a" * 40, device), source.stats("a" * 40, 1, 2))
    netifyd.send(framed(*(json.dumps(record).encode() + b"\n" for record in told)))
    eventually(lambda: check(daemon.base, "-m", "alerts")[0] == CRITICAL, "the alerts fire")
    line = check(daemon.base, "-m", "alerts")[1]
    assert line.startswith(f"NETIFY CRITICAL - 3 alerts fire: worse: New device: {device}; new: ")
    assert line.endswith("| info=1;;;0 warning=1;;;0 critical=1;;;0")
    assert check(daemon.base, "-m", "alerts", "--alert", "new")[0] == WARNING
    assert check(daemon.base, "-m", "alerts", "--alert", "note")[0] == OK
    assert check(daemon.base, "-m", "alerts", "--device", device.upper().replace(":", "-"))[0] == CRITICAL
    silent = "NETIFY OK - no alert fires | info=0;;;0 warning=0;;;0 critical=0;;;0"
    assert check(daemon.base, "-m", "alerts", "--device", "02:00:00:00:00:0b") == (OK, silent)
    assert check(daemon.base, "-m", "alerts", "--alert", "none") == (OK, silent)


def test_plans_have_the_state_of_their_thresholds(daemon: Daemon, netifyd: StandIn) -> None:
    daemon.settings["plans"] = {
        "uplink": {"limit": "2 kB", "per": "month", "warn_at": {"75%": "info", "90%": "warning"}},
        "each": {"limit": "1 kB", "per": "day", "device": "each"},
    }
    daemon.write_config()
    daemon.start()
    netifyd.accept()
    source, device = Netifyd(), "02:00:00:00:00:0a"
    told = [source.flow("a" * 40, device), source.stats("a" * 40, 600, 900)]
    netifyd.send(framed(*(json.dumps(record).encode() + b"\n" for record in told)))
    eventually(lambda: check(daemon.base, "-m", "plans")[0] == CRITICAL, "the device passed its limit")
    line = check(daemon.base, "-m", "plans")[1]
    assert line.startswith(f"NETIFY CRITICAL - each ({device}): 150.0% of 1 kB a day used")
    assert "; uplink: 75.0% of 2 kB a month used" in line
    assert line.endswith("| each=150%;;;0 uplink=75%;;;0")
    assert check(daemon.base, "-m", "plans", "--plan", "uplink")[0] == OK
    assert check(daemon.base, "-m", "plans", "--plan", "uplink", "-w", "70")[0] == WARNING
    assert check(daemon.base, "-m", "plans", "--plan", "uplink", "-w", "70", "-c", "74.9")[0] == CRITICAL
    assert check(daemon.base, "-m", "plans", "--device", device.upper().replace(":", "-"))[0] == CRITICAL
    unused = (OK, "NETIFY OK - no plan is used")
    assert check(daemon.base, "-m", "plans", "--device", "02:00:00:00:00:0b") == unused
    code, line = check(daemon.base, "-m", "plans", "--plan", "other", "--device", device)
    assert (code, "no plan 'other' in the configuration" in line) == (UNKNOWN, True)


# --- invalid arguments and answers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-w", "x"], "--warning: 'x' is not a range like 10, 10:"),
        (["-c", "20:10"], "--critical: '20:10': its start is above its end"),
        (["-w", ""], "--warning: '' is not a range"),
        (["-w", "@"], "--warning: '@' is not a range"),
        (["-w", "1,2"], "--warning: '1,2' is not a range"),
        (["-m", "rate", "-c", "1,2,3"], "--critical: '1,2,3': expected a range, or two"),
        (["-m", "rats"], "--mode: 'rats' is not one of ready, rate, traffic, device, alerts, plans"),
        (["--alert", "x"], "--alert: not for --mode ready"),
        (["--plan", "x"], "--plan: not for --mode ready"),
        (["-m", "alerts", "-w", "1"], "--warning and --critical: not for --mode alerts"),
        (["-m", "device"], "--device: needed for --mode device"),
        (["--device", "02:00:00:00:00:01"], "--device: not for --mode ready"),
        (["-m", "rate", "--device", "status"], "--device: 'status' is neither a MAC nor an IP address"),
        (["-m", "rate", "--device", ""], "--device: '' is neither a MAC nor an IP address"),
        (["-m", "rate", "--device", "12"], "expected a MAC address"),
        (["-t", "0"], "--timeout: '0' is not a whole number from 1 to 3600"),
        (["-t", "1.5"], "--timeout: '1.5' is not a whole number"),
        (["--hours", "49"], "--hours: '49' is not a whole number from 1 to 48"),
        (["--url", "ftp://gw"], "--url: 'ftp://gw' is not like http://host:7000"),
        (["--url", "http://gw:port"], "--url: 'http://gw:port' is not like"),
        (["--url", "http://user:secret@gw"], "--url: "),
        (["--url", "http://[::1"], "--url: 'http://[::1' is not like"),
        (["--url", "http://a..b"], "--url: 'http://a..b' is not like"),
        (["--ca", "/nowhere", "--url", "https://gw"], "--ca: /nowhere: No such file or directory"),
        (["--ca", str(CHECK), "--url", "https://gw"], "no PEM certificate"),
        (["--ca", str(CHECK)], "--ca: it is for https"),
        (["--token-file", "/nowhere"], "--token-file: /nowhere: No such file or directory"),
        (["--token-file", "/dev/null"], "--token-file: /dev/null contains no token"),
        (["--frob"], "unrecognized arguments: --frob"),
        (["-t"], "expected one argument"),
    ],
)
def test_invalid_arguments_are_unknown(gateway: Gateway, words: list[str], said: str) -> None:
    code, line = check(gateway.base, *words)
    assert code == UNKNOWN
    assert said in line


def test_help_and_version_exit_with_unknown(gateway: Gateway) -> None:
    version = f"check_netify_agent {__version__}\n"
    for word, begin in (("--help", "usage: check_netify_agent"), ("-V", version)):
        done = run(CHECK, word)
        assert (done.returncode, done.stderr) == (UNKNOWN, "")
        assert done.stdout.startswith(begin)


def test_verbose_output_lists_the_requests(gateway: Gateway) -> None:
    done = run(CHECK, "--url", gateway.base, "-v")
    assert [line.split(":")[0] for line in done.stdout.splitlines()[1:]] == ["GET http", "GET http"]


@pytest.fixture
def other() -> Iterator[tuple[str, list[bytes]]]:
    """A server that is no agent. It sends what the test puts into the list, with a pause after each piece."""
    says: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        ending = threading.Event()

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    for piece in says:
                        client.sendall(piece)
                        if len(says) > 1 and ending.wait(0.2):
                            return
                    if not says:
                        ending.wait()
                    else:
                        client.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", says
        ending.set()
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_silent_server_is_critical_after_the_timeout(other: tuple[str, list[bytes]]) -> None:
    base = other[0]
    assert check(base, "-t", "1") == (CRITICAL, f"NETIFY CRITICAL - {base}: no whole answer within 1 s")


def test_a_slow_server_is_critical_after_the_timeout(other: tuple[str, list[bytes]]) -> None:
    base, says = other
    says += [b"HTTP/1.1 200 OK\r\n", *(b"X-%d: y\r\n" % number for number in range(90))]
    assert check(base, "-t", "1") == (CRITICAL, f"NETIFY CRITICAL - {base}: no whole answer within 1 s")


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", CRITICAL, "the answer is not HTTP: BadStatusLine"),
        (
            b"HTTP/1.0 200 OK\r\n\r\n<html>",
            UNKNOWN,
            "answered 200 without a JSON object: ",
        ),
        (b"HTTP/1.0 200 OK\r\n\r\n[1]", UNKNOWN, "answered 200 without a JSON object: "),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", UNKNOWN, "the answer lacks a key (KeyError('checks'))"),
        (
            b"HTTP/1.0 302 Found\r\nLocation: http://x/\r\n\r\n{}",
            UNKNOWN,
            "/readyz answered 302: no reason given",
        ),
        (b'HTTP/1.0 500 X\r\n\r\n{"detail":"a|b\\nc"}', UNKNOWN, "/readyz answered 500: a?b?c"),
    ],
)
def test_an_answer_of_another_server_is_reported(
    other: tuple[str, list[bytes]], answer: bytes, code: int, said: str
) -> None:
    base, says = other
    says.append(answer)
    found, line = check(base, "-t", "5")
    assert found == code
    assert said in line


# --- check_http -----------------------------------------------------------------------------------------


def test_check_http_polls_the_agent(gateway: Gateway) -> None:
    need(f"{PLUGINS}/check_http")
    words = (f"{PLUGINS}/check_http", "-H", "127.0.0.1", "-p", str(gateway.daemon.port))
    for path in ("/readyz", "/healthz", "/", "/applications", "/status", "/metrics", "/openapi.json"):
        done = run(*words, "-u", path, "-w", "20", "-c", "30", "-e", "HTTP/1.1 200")
        assert done.returncode == OK, done.stdout
        assert "|time=" in done.stdout
    done = run(*words, "-u", "/readyz", "-s", '"status":"ready"', "-j", "GET")
    assert done.returncode == OK, done.stdout
    done = run(*words, "-u", "/02:00:00:00:00:99", "-e", "HTTP/1.1 404")
    assert done.returncode == OK, done.stdout
    done = run(*words, "-u", "/", "-j", "POST", "-e", "HTTP/1.1 405")
    assert done.returncode == OK, done.stdout


def test_check_http_reports_an_agent_that_is_not_ready(daemon: Daemon, netifyd: StandIn) -> None:
    need(f"{PLUGINS}/check_http")
    netifyd.close()
    daemon.start()
    done = run(f"{PLUGINS}/check_http", "-H", "127.0.0.1", "-p", str(daemon.port), "-u", "/readyz")
    assert done.returncode == CRITICAL
    assert "HTTP/1.1 503 Service Unavailable" in done.stdout
