"""`netify-agent forget` with a real daemon: what it does, what it says and its exit code."""

from __future__ import annotations

import pytest
from real_store import LAPTOP, RealStore
from records import FLOW, account, flow_record, stats_record
from service_manager import command
from support import Daemon, RedisServer, StandIn, eventually, framed

from netify_agent.config.settings import RedisSettings, Settings
from netify_agent.forget import forget
from netify_agent.store.client import connect
from netify_agent.store.layout import Keys

DEVICE = "02:00:00:00:00:01"


def test_a_device_is_forgotten_by_the_running_agent(daemon: Daemon, netifyd: StandIn) -> None:
    daemon.start()
    account(netifyd, daemon)
    daemon.flushed()
    done = command("forget", "--config", str(daemon.config), "02-00-00-00-00-01")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{DEVICE} was removed. Its traffic is counted in 'forgotten'\n"
    network = daemon.get("/")[1]
    assert network["devices"] == []
    assert network["forgotten"] == {name: network["totals"][name] for name in network["forgotten"]}
    assert network["totals"]["bytes_down"] == 1000
    assert daemon.get(f"/{DEVICE}")[0] == 404
    assert f"forgot, as requested: {DEVICE}" in daemon.log.read_text()

    netifyd.send(framed(stats_record(FLOW, 500, 1500)))
    eventually(lambda: daemon.get("/")[1]["devices"], "the device is back")
    (device,) = daemon.get("/")[1]["devices"]
    assert (device["mac"], device["bytes_down"]) == (DEVICE, 500)
    assert daemon.stop() == 0


def test_it_is_refused_without_an_agent_and_nothing_changes(daemon: Daemon, netifyd: StandIn) -> None:
    daemon.start()
    account(netifyd, daemon)
    daemon.flushed()
    unknown = command("forget", "--config", str(daemon.config), "02:00:00:00:00:99")
    assert unknown.returncode == 1
    assert "no device 02:00:00:00:00:99 has been seen" in unknown.stderr
    daemon.kill()
    done = command("forget", "--config", str(daemon.config), DEVICE)
    assert done.returncode == 69
    assert "refused: the netify-agent on host" in done.stderr
    daemon.start()
    netifyd.accept()
    netifyd.send(framed(flow_record(FLOW)))
    eventually(lambda: daemon.get("/")[0] == 200 and daemon.get("/")[1]["devices"], "it is still there")
    assert daemon.stop() == 0
    done = command("forget", "--config", str(daemon.config), DEVICE)
    assert done.returncode == 69
    assert "no netify-agent writes gateway 'gw1' here: start it first" in done.stderr


def test_a_request_that_nobody_takes_up_is_withdrawn(
    shared_redis: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The agent hangs: its lease is valid, and it takes no flush."""
    connect(shared_redis.url, None).flushall()
    store = RealStore(shared_redis.url, "gw1")
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    seconds, _ = store.client.time()
    store.client.hset(Keys("gw1").meta, mapping={"renewed": int(seconds) * 1000, "lease": 2000})
    settings = Settings(gateway="gw1", redis=RedisSettings(shared_redis.url))
    assert forget(settings, LAPTOP) == 1
    assert f"{LAPTOP} was not removed: netify-agent took no flush in 2 s" in capsys.readouterr().err
    assert not store.client.exists(Keys("gw1").forget)
    assert store.reader.knows(LAPTOP)


def test_a_wrong_device_is_a_wrong_command_line(daemon: Daemon) -> None:
    done = command("forget", "--config", str(daemon.config), "laptop")
    assert done.returncode == 2
    assert "expected a MAC address, or the IP address of a device without one, found 'laptop'" in done.stderr


def test_without_redis_nothing_is_removed(daemon: Daemon, redis_server: RedisServer) -> None:
    redis_server.kill()
    done = command("forget", "--config", str(daemon.config), DEVICE)
    assert done.returncode == 1
    assert f"{DEVICE} was not removed: " in done.stderr
