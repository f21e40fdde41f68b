"""``/alerts``: what fires, and the history."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from api_server import Scene, assert_problem, changed

from netify_agent.alerts.alert import Alert
from netify_agent.api.spec import schemas
from netify_agent.config.settings import parse

START_MS = 1_796_000_000_000
FAR_MS = 4_000_000_000_000
SOON_MS = int(time.time() + 12 * 3600) * 1000
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


@pytest.mark.parametrize(
    ("members", "firing", "resolved"),
    [
        ({}, "waiting", None),
        ({"held_until": SOON_MS}, "held", None),
        ({"held_until": FAR_MS}, "waiting", None),  # the clock was set back
        ({"sent": ("hook:firing",)}, "sent", None),
        ({"failed": ("hook:firing",)}, "failed", None),
        ({"sent": ("hook:firing",), "resolved_at": START_MS}, "sent", "waiting"),
        ({"sent": ("hook:firing",), "failed": ("hook:resolved",), "resolved_at": START_MS}, "sent", "failed"),
        ({"resolved_at": START_MS, "held_until": FAR_MS}, None, None),  # over before the end of quiet hours
        ({"sent": ("hook:firing",), "resolved_at": START_MS, "held_until": FAR_MS}, "sent", "waiting"),
        ({"receivers": ("gone",)}, None, None),
    ],
)
def test_alerts_say_what_became_of_their_notifications(
    scene: Scene, members: dict[str, Any], firing: str | None, resolved: str | None
) -> None:
    base = Alert("0" * 16, "new", "new_device", "info", "new device: {who}", START_MS, receivers=("hook",))
    alert = replace(base, **members)
    text = "notify: {hook: {type: webhook, url: 'http://127.0.0.1:1/'}}"
    settings = replace(scene.parts.settings, notify=parse(text, "f").notify)
    with changed(scene.parts, alerts=lambda: (alert,), settings=settings):
        (found,) = scene.get("/alerts")["alerts"]
    jsonschema.validate(found, schemas.ALERT)
    assert found["notifications"] == [
        {"receiver": alert.receivers[0], "firing": firing, "resolved": resolved}
    ]


def test_alerts_have_pages(scene: Scene) -> None:
    found, cursor = [], ""
    while cursor is not None:
        page = get(scene, f"/alerts?limit=2&fields=id{f'&cursor={cursor}' if cursor else ''}")
        found += [one["id"] for one in page["alerts"]]
        cursor = page["next"]
    assert found == [one.id for one in reversed(ALERTS)]
    assert_problem(scene.ask("/alerts?active=maybe"), 400)


def test_names_keep_their_spelling_in_a_summary() -> None:
    alert = Alert("0" * 16, "risk", "risk", "info", "{who}: a flow with risk score 110", START_MS)
    assert alert.summary() == "The gateway: a flow with risk score 110"
    named = replace(alert, device="02:00:00:00:00:01").summary(lambda device: "nas")
    assert named == "nas (02:00:00:00:00:01): a flow with risk score 110"
    assert replace(alert, group="kids").summary() == "Group kids: a flow with risk score 110"
