"""The alerts of one world: each new device is told once, and once that it is over. Plans: see ``plans``."""

from __future__ import annotations

import json
import signal
from typing import Any

import redis
from alert_receivers import Hook
from support import Daemon, eventually

from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.layout import Keys

SETTINGS: dict[str, Any] = {"new": {"kind": "new_device", "learn": "0s"}}


class Alerts:
    """What the agent says of alerts, and what its receiver was told.

    :ivar receiver: takes all notifications, unless a fault makes it misbehave.
    """

    def __init__(self) -> None:
        self.receiver = Hook()
        self.receiver.open()

    @property
    def settings(self) -> dict[str, Any]:
        """Keys of the configuration."""
        return {"alerts": SETTINGS, "notify": {"hook": {"type": "webhook", "url": self.receiver.url}}}

    def check(self, daemon: Daemon, client: redis.Redis, *, forgetful: bool) -> list[str]:
        """What is wrong. Removes the rule and all plans, so that all alerts are resolved.

        :param forgetful: Redis lost for good what it held: devices may be new again.
        """
        keys = Keys("gw1")
        devices = set(client.zrange(keys.devices, 0, -1)) - {OTHER_DEVICE}
        conditions = {
            name.partition(":")[2]: json.loads(text)[2]
            for name, text in client.hgetall(keys.alert_state).items()
            if name.startswith("new:")
        }
        fired = {
            one["id"]: one for one in daemon.get("/alerts?limit=1000")[1]["alerts"] if one["alert"] == "new"
        }
        wrong = []
        missing = {device for device in devices if conditions.get(device) not in fired}
        if missing and not forgetful:
            wrong.append(f"no alert fired for {missing}")
        if ended := [one for one in fired.values() if one["status"] != "firing"]:
            wrong.append(f"resolved although nothing is over: {ended}")
        daemon.settings["alerts"] = daemon.settings["plans"] = {}
        daemon.write_config()
        daemon.signal(signal.SIGHUP)
        eventually(lambda: not daemon.get("/alerts?active=true")[1]["total"], "all alerts are resolved")
        daemon.flushed()
        eventually(lambda: not daemon.get("/status")[1]["receivers"][0]["waiting"], "all are delivered")
        notifications = zip(self.receiver.keys, self.receiver.documents, strict=True)
        told = {key: _subject(document) for key, document in notifications if _is_new(document)}
        due = {f"{one}-{status}" for one in fired for status in ("firing", "resolved")}
        if lost := due - told.keys():
            wrong.append(f"notifications were not delivered: {lost}")
        if forgetful:
            return wrong
        if repeated := told.keys() - due:
            wrong.append(f"the receiver was told what did not happen, or twice: {repeated}")
        firing = [subject for key, subject in told.items() if key.endswith("-firing")]
        if len(firing) != len(set(firing)):
            wrong.append(f"more than one alert for a device: {sorted(firing)}")
        return wrong

    def close(self) -> None:
        """Leave nothing behind."""
        self.receiver.end()


def _is_new(document: Any) -> bool:
    return bool(document["alerts"][0]["labels"]["alertname"] == "new")


def _subject(document: Any) -> str:
    """The device of a notification; that of many is the alert itself."""
    labels = document["alerts"][0]["labels"]
    return str(labels.get("device", "many"))
