"""What a forwarder does after an exchange of which it does not know whether the collector has applied it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from collector_run import CollectorRun
from forwarder_rig import Rig
from real_store import LAPTOP, NETFLIX
from support import RedisServer

from netify_agent.fleet import forwarder as forwarder_module
from netify_agent.fleet.line import NotForwarded
from netify_agent.store.client import connect


@pytest.fixture
def rig(
    directory: Path, redis_server: RedisServer, collector: CollectorRun, collector_redis: RedisServer
) -> Rig:
    made = Rig(directory, redis_server.url, collector, connect(collector_redis.url, None))
    made.move((LAPTOP, NETFLIX, 5, 7))
    assert made.forwarder.send()
    made.check()
    return made


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_it_goes_on_from_what_the_collector_says(rig: Rig, lost: str) -> None:
    rig.move((LAPTOP, NETFLIX, 5, 7))
    rig.lost = lost
    with pytest.raises(NotForwarded):
        rig.forwarder.send()
    rig.move((LAPTOP, NETFLIX, 5, 7))
    rig.asked.clear()
    assert rig.forwarder.send()
    ((method, position), _) = rig.asked
    assert method == "GET" and position["items"] is None  # it remembers what is behind the position
    rig.check()


def test_a_collector_that_lost_its_copy_gets_it_again(rig: Rig) -> None:
    rig.client.flushall()
    rig.move((LAPTOP, NETFLIX, 5, 7))
    with pytest.raises(NotForwarded, match="409"):
        rig.forwarder.send()
    assert rig.forwarder.send()
    rig.check()


def test_a_collector_with_other_contents_gets_them_again(rig: Rig) -> None:
    rig.client.hincrby(f"netify:{{gw1}}:device:{LAPTOP}", "bu", 1)
    rig.move((LAPTOP, NETFLIX, 5, 7))
    with pytest.raises(NotForwarded, match="409"):
        rig.forwarder.send()
    assert rig.forwarder.send()
    rig.check()


class Stop:
    """Stands for the event that stops the thread. Time passes only while the thread waits for it."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self._end = seconds

    def is_set(self) -> bool:
        return self.now >= self._end

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.is_set()


def test_it_tries_again_less_and_less_often_up_to_its_interval(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, attempts = Stop(1500), []

    def fail(*_: object) -> dict[str, Any]:
        attempts.append(stop.now)
        if len(attempts) == 6:
            rig.forwarder._line.exchange = rig.exchange  # type: ignore[method-assign]
        raise NotForwarded("no route to host")

    monkeypatch.setattr(forwarder_module.time, "monotonic", lambda: stop.now)
    rig.forwarder._line.exchange = fail  # type: ignore[method-assign]
    rig.forwarder.run(stop, lambda: None)  # type: ignore[arg-type]
    assert attempts == [0, 30, 90, 210, 450, 750]
    status = rig.forwarder.status
    assert (status.failures, status.error, status.complete) == (6, None, True)
    rig.check()
