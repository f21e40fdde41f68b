"""A reload applies what may change and refuses a wrong configuration."""

from __future__ import annotations

import http.client
import signal
import socket
from pathlib import Path

import pytest
from records import FLOW, account, stats_record, status_record
from support import WAIT_S, Daemon, StandIn, eventually, framed, free_port

# -- reload ----------------------------------------------------------------------------------------


def test_a_reload_applies_changed_settings(daemon: Daemon, directory: Path, netifyd: StandIn) -> None:
    daemon.start()
    account(netifyd, daemon)
    other = StandIn(directory / "other.sock")
    daemon.settings["interval"] = 2
    daemon.settings["netifyd"]["endpoints"] = [f"unix://{other.path}"]
    daemon.write_config()
    daemon.signal(signal.SIGHUP)
    other.accept()
    other.send(framed(stats_record(FLOW, 1000, 2000)))
    eventually(lambda: daemon.get("/status")[1]["interval"] == 2, "the new interval")
    eventually(lambda: daemon.get("/")[1]["totals"]["bytes_down"] == 2000, "the other netifyd is read")
    assert daemon.stop() == 0
    other.close()


def test_a_reload_applies_names_and_groups(daemon: Daemon, netifyd: StandIn) -> None:
    daemon.start()
    account(netifyd, daemon)
    eventually(lambda: daemon.get("/")[1]["devices"], "the device is in the store")
    mac = daemon.get("/")[1]["devices"][0]["mac"]
    daemon.settings["devices"] = {"names": {mac: "Kids tablet"}}
    daemon.settings["groups"] = {"kids": ["kids*"]}
    daemon.write_config()
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.get("/?group=kids")[0] == 200, "the group is known")
    device = daemon.get("/?group=kids")[1]["devices"][0]
    assert (device["mac"], device["name"], device["groups"]) == (mac, "Kids tablet", ["kids"])
    assert daemon.stop() == 0


def test_a_reload_moves_the_api(daemon: Daemon) -> None:
    daemon.start()
    port = free_port()
    daemon.settings["web"]["listen"] = f"127.0.0.1:{port}"
    daemon.write_config()
    daemon.signal(signal.SIGHUP)
    daemon.base = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return daemon.get("/healthz")[0] == 200
        except OSError:
            return False

    eventually(answers, "the API answers at its new place")
    assert daemon.stop() == 0


def test_a_reload_to_a_taken_port_keeps_the_api_where_it_was(daemon: Daemon) -> None:
    daemon.start()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon.settings["web"]["listen"] = f"127.0.0.1:{taken.getsockname()[1]}"
        daemon.write_config()
        daemon.signal(signal.SIGHUP)
        eventually(lambda: "listens there already" in daemon.log.read_text(), "the refusal is logged")
        eventually(lambda: daemon.get("/healthz")[0] == 200, "the API answers where it was")
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("interval: soon", "interval"),
        ("netifyd: {endpoints: [ftp://x]}", "netifyd.endpoints[0]"),
        ("{", "netify-agent.yaml:"),
        ("intervall: 15", "did you mean"),
    ],
)
def test_a_reload_of_a_broken_file_is_refused_and_nothing_changes(
    text: str, complaint: str, daemon: Daemon, netifyd: StandIn
) -> None:
    daemon.start()
    account(netifyd, daemon)
    daemon.write_config(text)
    daemon.signal(signal.SIGHUP)
    eventually(lambda: "reload refused" in daemon.log.read_text(), "the refusal is logged")
    assert complaint in daemon.log.read_text()
    daemon.flushed()
    assert daemon.get("/")[1]["totals"]["bytes_down"] == 1000
    daemon.write_config()
    assert daemon.stop() == 0


def test_settings_of_the_store_take_effect_at_a_restart(daemon: Daemon) -> None:
    daemon.start()
    daemon.settings["gateway"] = "gw2"
    daemon.write_config()
    daemon.signal(signal.SIGHUP)
    eventually(lambda: "gateway changed, which takes effect" in daemon.log.read_text(), "it is logged")
    daemon.flushed()
    assert daemon.get("/")[1]["gateway"] == "gw1"
    assert daemon.stop() == 0


def test_a_reload_changes_the_tokens_of_the_http_endpoint_and_refuses_wrong_ones(
    daemon: Daemon, directory: Path
) -> None:
    port, tokens = free_port(), directory / "netifyd-tokens"
    tokens.write_text("the-first-token-of-two\n")
    endpoints = [f"http://127.0.0.1:{port}/flows"]
    daemon.settings["netifyd"] = {"endpoints": endpoints, "token_file": str(tokens)}
    daemon.write_config()
    daemon.start()

    def post(token: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        try:
            connection.request("POST", "/flows", status_record(), {"Authorization": f"Bearer {token}"})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    eventually(lambda: post("the-first-token-of-two") == 204, "POSTs are taken")
    tokens.write_text("short\n")
    daemon.signal(signal.SIGHUP)
    eventually(lambda: "reload refused" in daemon.log.read_text(), "it is refused")
    assert post("the-first-token-of-two") == 204
    tokens.write_text("the-second-token-of-two\n")
    daemon.signal(signal.SIGHUP)
    eventually(lambda: post("the-second-token-of-two") == 204, "the new token is known")
    assert post("the-first-token-of-two") == 401
