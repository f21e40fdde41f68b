"""Clients of /events against a real server, for tests."""

from __future__ import annotations

from typing import Any

from api_server import Scene
from event_client import Client
from support import eventually


class Events:
    """A scene and the clients that follow its events."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.said = scene.store.netifyd
        self.clients: list[Client] = []

    def flush(self, *records: dict[str, Any], at_ms: int | None = None) -> int:
        return self.scene.store.flush(*records, at_ms=at_ms, elapsed_ms=15_000).sequence

    def follow(self, last_event_id: object = None, query: str = "", **headers: str) -> Client:
        position = None if last_event_id is None else str(last_event_id)
        client = Client(self.scene.port, position, query=query, **headers)
        self.clients.append(client)
        return client

    def followers(self, count: int) -> None:
        eventually(lambda: self.scene.flushes.followers == count, f"{count} follow")
