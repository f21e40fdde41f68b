"""``/plans`` and ``/plans/<plan>``: rows, forecasts and what is not known yet."""

from __future__ import annotations

from typing import Any

import jsonschema
from api_server import Scene, assert_problem, changed
from real_store import LAPTOP, TUNNEL

from netify_agent.api.spec import period_schemas
from netify_agent.config.calendar import Period
from netify_agent.plans.standing import elapsed_share, forecast


def get(scene: Scene, path: str) -> dict[str, Any]:
    document: dict[str, Any] = scene.get(path)
    jsonschema.validate(document, period_schemas.PLANS)
    return document


def test_plans_come_with_the_largest_share_first(scene: Scene) -> None:
    document = get(scene, "/plans")
    assert [(one["plan"], one["device"], one["share"]) for one in document["plans"]] == [
        ("each", LAPTOP, 1.2),
        ("uplink", None, 0.9501),
        ("each", TUNNEL, 0.3),
        ("kids", None, 0.0),
    ]
    assert (document["timezone"], document["total"]) == ("UTC", 4)
    assert document["generated_at"] == "2026-11-30T12:00:00.000Z"
    by_use = get(scene, "/plans?sort=used&limit=1")["plans"]
    assert [one["plan"] for one in by_use] == ["uplink"]


def test_a_row_says_what_is_used_left_and_to_be_expected(scene: Scene) -> None:
    (row,) = get(scene, "/plans/uplink")["plans"]
    thresholds = row.pop("thresholds")
    assert row == {
        "plan": "uplink",
        **dict.fromkeys(("device", "device_name", "group", "application", "category")),
        "direction": "both",
        "local": False,
        "per": "month",
        "start": "2026-11-01T00:00:00.000Z",
        "end": "2026-12-01T00:00:00.000Z",
        "elapsed": 0.9833,
        "limit": 10_000,
        "used": 9_501,
        "left": 499,
        "share": 0.9501,
        "forecast": 9_662,  # 9,501 * 60 / 59
    }
    assert [(one["percent"], one["bytes"], one["severity"], one["passed_at"]) for one in thresholds] == [
        (75, 7_500, "warning", "2026-11-18T11:06:40.000Z"),
        (90, 9_000, "warning", "2026-11-30T12:00:00.000Z"),
        (100, 10_000, "critical", None),
    ]


def test_a_plan_of_each_device_has_a_row_for_each(scene: Scene) -> None:
    rows = get(scene, "/plans/each")["plans"]
    assert [(one["device"], one["left"], one["forecast"]) for one in rows] == [
        (LAPTOP, -200, 16_800),
        (TUNNEL, 700, 4_200),
    ]
    assert rows[0]["device_name"] == "laptop"
    assert [one["passed_at"] is not None for one in rows[0]["thresholds"]] == [True, True]
    assert [one["passed_at"] for one in rows[1]["thresholds"]] == [None, None]


def test_what_is_not_configured_or_not_counted_yet_is_told(scene: Scene) -> None:
    assert_problem(scene.ask("/plans/other"), 404)
    with changed(scene.parts, plans=lambda: None):
        assert_problem(scene.ask("/plans?limit=99"), 503)


def test_a_forecast_needs_a_part_of_the_period() -> None:
    day = Period(86_400, 172_800)
    assert forecast(100, day, (86_400 + 4_319) * 1000) is None
    assert forecast(100, day, (86_400 + 4_320) * 1000) == 2_000
    assert forecast(7, day, 172_900_000) == 7  # its last bytes come in with the next day
    assert (elapsed_share(day, 172_900_000), elapsed_share(day, 0)) == (1.0, 0.0)
