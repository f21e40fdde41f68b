"""Fixtures that several tests of the API share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import Scene, a_scene, a_small_network, emptied, served
from events_scene import Events
from real_store import NETFLIX
from support import RedisServer

from netify_agent.api.services import EventLimits


@pytest.fixture
def limits() -> EventLimits:
    """Of the streams; parametrized where a test must not wait."""
    return EventLimits()


@pytest.fixture
def events(shared_redis: RedisServer, tmp_path: Path, limits: EventLimits) -> Iterator[Events]:
    scene = a_scene(shared_redis.url, tmp_path, gateway=f"gw-{tmp_path.name}")
    scene.event_limits = limits
    scene.start()
    events = Events(scene)
    yield events
    for client in events.clients:
        client.close()
    scene.flushes.close()
    scene.stop()


@pytest.fixture(scope="module")
def large(shared_redis: RedisServer) -> Iterator[Scene]:
    """Forty devices, with equal counters among them, and as many applications, protocols and categories."""
    with emptied(shared_redis.url, "gw-large") as scene:
        said = scene.store.netifyd
        records = []
        for number in range(40):
            mac, digest = f"02:00:00:00:01:{number:02x}", f"d{number}"
            fields: dict[str, Any] = {
                "local_ip": f"192.168.3.{number}",
                "detected_protocol_name": f"P{number % 7}",
                "category": {"application": number % 5},
                "first_seen_at": 1_700_000_000_000 + number % 3,
            }
            records.append(said.flow(digest, mac, f"netify.app-{number % 13}", **fields))
            records.append(said.stats(digest, number % 4, 100 * (number % 6)))
            records.append(said.flow(f"n{number}", mac, NETFLIX))
            records.append(said.stats(f"n{number}", 1 + number % 3, 10))
        scene.store.flush(*records, elapsed_ms=15_000)
        with served(scene):
            yield scene


@pytest.fixture(scope="module")
def scene(shared_redis: RedisServer) -> Iterator[Scene]:
    with a_small_network(shared_redis.url) as scene:
        yield scene


@pytest.fixture
def own(shared_redis: RedisServer, tmp_path: Path) -> Iterator[Scene]:
    """A scene of the test's own, with nothing in its store."""
    scene = a_scene(shared_redis.url, tmp_path, gateway=f"gw-{tmp_path.name}")
    scene.start()
    yield scene
    scene.stop()
