"""`netify-agent check`: what it reports and its exit code."""

from __future__ import annotations

import threading
from pathlib import Path

from records import status_record
from service_manager import command
from support import Daemon, RedisServer, StandIn, eventually, framed, free_port

from netify_agent.store.client import connect


def test_check_says_what_it_found_and_its_exit_code_tells(
    daemon: Daemon, netifyd: StandIn, redis_server: RedisServer
) -> None:
    greeting = threading.Thread(target=lambda: (netifyd.accept(), netifyd.send(framed(status_record()))))
    greeting.start()
    done = command("check", "--config", str(daemon.config))
    greeting.join()
    assert done.returncode == 0, done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok", "ok", "ok", "ok"]

    netifyd.close()
    redis_server.kill()
    done = command("check", "--config", str(daemon.config))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[1].startswith("WRONG redis: unix://")
    assert lines[2].startswith(f"WRONG netifyd: unix://{netifyd.path}: no such socket")


def test_check_log_and_status_warn_of_a_redis_that_evicts(
    daemon: Daemon, netifyd: StandIn, redis_server: RedisServer
) -> None:
    client = connect(redis_server.url, None)
    client.config_set("maxmemory", "64mb")
    client.config_set("maxmemory-policy", "allkeys-lru")
    done = command("check", "--config", str(daemon.config))
    assert "warn  redis: Redis evicts keys when it is full (maxmemory-policy allkeys-lru)" in done.stdout
    daemon.start()
    eventually(lambda: daemon.get("/status")[1]["flushes"]["warning"], "/status has the warning")
    assert "maxmemory-policy allkeys-lru" in daemon.log.read_text()
    for _ in range(2):  # the check's connection comes first
        netifyd.accept()
    netifyd.send(framed(status_record()))
    eventually(lambda: daemon.get("/readyz")[0] == 200, "it is no reason to be unready")
    assert daemon.stop() == 0


def test_check_says_what_to_configure_where_a_socket_is_silent_as_v5_s_api(
    daemon: Daemon, netifyd: StandIn
) -> None:
    done = command("check", "--config", str(daemon.config))
    assert done.returncode == 1
    assert "nothing (netifyd v5 streams to the socket of its sink-socket plugin" in done.stdout
    assert '"types": ["stream-flows", "stream-stats"]' in done.stdout
    assert '"bind_address": "unix:///var/run/netifyd/flows.sock"' in done.stdout


def test_check_of_an_http_endpoint_looks_at_its_port_and_its_tokens(daemon: Daemon, directory: Path) -> None:
    url, tokens = f"http://127.0.0.1:{free_port()}/flows", directory / "netifyd-tokens"
    daemon.settings["netifyd"] = {"endpoints": [url], "token_file": str(tokens)}
    daemon.write_config()
    done = command("check", "--config", str(daemon.config))
    assert done.returncode == 1
    assert f"WRONG netifyd.token_file: {tokens}: can't be read" in done.stdout
    tokens.write_text("a-token-that-is-long-enough\n")
    done = command("check", "--config", str(daemon.config))
    assert done.returncode == 0
    assert f"ok    netifyd: {url}: free" in done.stdout
    assert f'"url": "{url}"' in done.stdout
    assert "a-token-that-is-long-enough" not in done.stdout
    daemon.start()
    done = command("check", "--config", str(daemon.config))
    assert f"ok    netifyd: {url}: something listens" in done.stdout


def test_check_of_an_http_endpoint_names_a_host_that_does_not_resolve(
    daemon: Daemon, directory: Path
) -> None:
    tokens = directory / "netifyd-tokens"
    tokens.write_text("a-token-that-is-long-enough\n")
    url = f"http://no-such-host.invalid:{free_port()}/flows"
    daemon.settings["netifyd"] = {"endpoints": [url], "token_file": str(tokens)}
    daemon.write_config()
    done = command("check", "--config", str(daemon.config))
    assert done.returncode == 1
    assert f"WRONG netifyd: {url}: can't listen: " in done.stdout
    assert "API" in done.stdout or "web" in done.stdout, "the checks after it are made"
    assert done.stderr == ""


def test_check_reads_the_token_of_the_fleet(daemon: Daemon, directory: Path) -> None:
    token = directory / "fleet-token"
    daemon.settings["fleet"] = {"url": "https://collector.example.net", "token_file": str(token)}
    daemon.write_config()
    done = command("check", "--config", str(daemon.config))
    assert f"WRONG fleet.token_file: {token}: can't be read" in done.stdout
    token.write_text("a-token-that-is-long-enough\n")
    done = command("check", "--config", str(daemon.config))
    assert "ok    fleet: https://collector.example.net, not tried" in done.stdout
