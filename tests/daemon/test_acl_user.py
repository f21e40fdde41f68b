"""The whole agent, and the other commands, as the Redis user that ``netify-agent acl`` prints."""

from __future__ import annotations

import urllib.request
from typing import Any

from records import FLOW, account, flow_record, stats_record
from service_manager import command
from support import WAIT_S, Daemon, RedisServer, StandIn, eventually, framed

from netify_agent.store.client import connect

DEVICE = "02:00:00:00:00:01"


def test_the_user_suffices_for_every_route_alert_and_command(
    daemon: Daemon, netifyd: StandIn, redis_server: RedisServer
) -> None:
    admin: Any = connect(redis_server.url, None)
    done = command("acl", "gw1")
    admin.execute_command(*done.stdout.split(), ">s3cr3t")
    url = redis_server.url.replace("unix://", "unix://netify-agent-gw1:s3cr3t@")
    daemon.settings["redis"] = {"url": url}
    daemon.settings["alerts"] = {"new": {"kind": "new_device", "resolve_after": "1h", "learn": "0s"}}
    daemon.settings["plans"] = {"each": {"limit": "1 kB", "per": "month", "device": "each"}}
    daemon.write_config()
    daemon.start()
    account(netifyd, daemon)
    daemon.flushed()
    eventually(lambda: daemon.get("/alerts")[1]["total"] == 4, "the alert and three thresholds fire")

    paths = daemon.get("/openapi.json")[1]["paths"]
    assert len(paths) > 15
    for path in paths:
        address = daemon.base + path.format(device=DEVICE, tag="netify.netflix", plan="each")
        with urllib.request.urlopen(address, timeout=WAIT_S) as answer:
            assert answer.status == 200, path

    assert command("forget", "--config", str(daemon.config), DEVICE).returncode == 0
    netifyd.send(framed(flow_record("second"), stats_record(FLOW, 500, 1500)))
    eventually(lambda: daemon.get("/")[1]["devices"], "the device is back")
    assert daemon.stop() == 0

    daemon.start()  # the stored flows and alerts are read
    netifyd.accept()
    eventually(lambda: daemon.get("/alerts")[1]["total"], "the stored alert is read")
    assert "ok    redis:" in command("check", "--config", str(daemon.config)).stdout
    assert daemon.stop() == 0
    assert admin.execute_command("ACL", "LOG") == []
    assert "NOPERM" not in daemon.log.read_text()
    assert "s3cr3t" not in daemon.log.read_text()
