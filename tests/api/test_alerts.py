"""``/alerts``: what fires, and the history."""

from __future__ import annotations

from typing import Any

import jsonschema
from api_server import Scene, assert_problem, changed

from netify_agent.alerts.alert import Alert
from netify_agent.api.spec import schemas

START_MS = 1_796_000_000_000
ALERTS = tuple(
    Alert(
        *(f"{number:016x}", "new", "new_device", "info", "new device: {who}", START_MS + number),
        resolved_at=START_MS + 60_000 if number % 2 else None,
        device="02:00:00:00:00:01",
    )
    for number in range(5)
)


def get(scene: Scene, path: str) -> dict[str, Any]:
    with changed(scene.parts, alerts=lambda: ALERTS):
        document: dict[str, Any] = scene.get(path)
    jsonschema.validate(document, schemas.ALERTS)
    return document


def test_alerts_are_the_latest_first_with_names(scene: Scene) -> None:
    document = get(scene, "/alerts")
    assert [one["id"] for one in document["alerts"]] == [one.id for one in reversed(ALERTS)]
    assert document["total"] == 5
    first = document["alerts"][0]
    assert first["summary"] == f"New device: {first['device_name']} (02:00:00:00:00:01)"
    assert (first["status"], first["resolved_at"]) == ("firing", None)


def test_alerts_are_active_or_resolved(scene: Scene) -> None:
    assert {one["status"] for one in get(scene, "/alerts?active=true")["alerts"]} == {"firing"}
    resolved = get(scene, "/alerts?active=false")["alerts"]
    assert [one["resolved_at"] for one in resolved] == ["2026-11-30T00:54:20.000Z"] * 2


def test_alerts_have_pages(scene: Scene) -> None:
    found, cursor = [], ""
    while cursor is not None:
        page = get(scene, f"/alerts?limit=2&fields=id{f'&cursor={cursor}' if cursor else ''}")
        found += [one["id"] for one in page["alerts"]]
        cursor = page["next"]
    assert found == [one.id for one in reversed(ALERTS)]
    assert_problem(scene.ask("/alerts?active=maybe"), 400)
