"""The real daemon: plans over kills and reloads, in the API, the metrics and the journal."""

from __future__ import annotations

import signal
import urllib.request
from typing import Any

from records import FLOW, flow_record, stats_record, status_record
from support import Daemon, StandIn, eventually, framed

LAPTOP = "02:00:00:00:00:01"


def configure(daemon: Daemon, limit: str) -> None:
    daemon.settings["plans"] = {
        "uplink": {"limit": limit, "per": "month", "warn_at": ["90%", "200%"]},
        "each": {"limit": "1 MB", "per": "week", "device": "each", "direction": "down"},
    }
    daemon.write_config()


def used(daemon: Daemon) -> dict[str, Any]:
    status, document = daemon.get("/plans")
    return {one["plan"]: one["used"] for one in document["plans"]} if status == 200 else {}


def statuses(daemon: Daemon) -> dict[str, str]:
    return {one["alert"]: one["status"] for one in daemon.get("/alerts")[1]["alerts"]}


def metrics(daemon: Daemon) -> str:
    with urllib.request.urlopen(daemon.base + "/metrics") as answer:
        text: str = answer.read().decode()
    return text


def test_plans_are_counted_and_announced_once_over_kills_and_reloads(
    daemon: Daemon, netifyd: StandIn
) -> None:
    configure(daemon, "2 kB")
    daemon.start()
    netifyd.accept()
    netifyd.send(framed(status_record(), flow_record(FLOW), stats_record(FLOW, 2000, 2000)))
    eventually(lambda: used(daemon) == {"uplink": 2000, "each": 2000}, "the bytes are counted")
    assert statuses(daemon) == {"uplink 90%": "firing"}
    (row,) = daemon.get("/plans/uplink")[1]["plans"]
    assert (row["left"], row["share"]) == (0, 1.0)
    passed = row["thresholds"][0]["passed_at"]
    (of_laptop,) = daemon.get("/plans/each")[1]["plans"]
    assert of_laptop["device"] == LAPTOP
    text = metrics(daemon)
    assert 'netify_plan_used_bytes{plan="uplink",device=""} 2000' in text
    assert 'netify_alert_active{alert="uplink 90%",severity="warning",kind="plan"} 1' in text
    (usage,) = daemon.get("/usage?period=month")[1]["usage"]
    assert usage["bytes_up"] + usage["bytes_down"] == 2000

    daemon.kill()
    daemon.start()
    eventually(lambda: used(daemon) == {"uplink": 2000, "each": 2000}, "the next run knows them")
    (row,) = daemon.get("/plans/uplink")[1]["plans"]
    assert row["thresholds"][0]["passed_at"] == passed

    configure(daemon, "5 kB")
    daemon.signal(signal.SIGHUP)
    eventually(lambda: statuses(daemon) == {"uplink 90%": "resolved"}, "the limit was raised")
    (row,) = daemon.get("/plans/uplink")[1]["plans"]
    assert (row["limit"], row["left"], row["thresholds"][0]["passed_at"]) == (5000, 3000, None)
    assert daemon.get("/plans/other")[0] == 404
    assert daemon.stop() == 0
    log = daemon.log.read_text()
    assert log.count("alert uplink 90% firing") == log.count("alert uplink 90% resolved") == 1
