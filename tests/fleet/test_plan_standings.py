"""A collector reads plans as the gateway has them, and nothing that no gateway sends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netify_agent.config.alerts import Reference
from netify_agent.config.calendar import Period
from netify_agent.config.plans import Plan
from netify_agent.fleet.plan_standings import decode, decode_plans, encode, encode_plans
from netify_agent.plans.standing import PlanStanding, Standings

LAPTOP = "02:00:00:00:00:01"
MONTH = Period(1_788_220_800, 1_790_812_800)
PLANS = {
    "uplink": Plan(limit=10**12, per="month", direction="down", local=True, category="streaming-media"),
    "each": Plan(limit=5, per="day", device="each", group=Reference("kids"), warn_at={50: "info"}),
}
STANDINGS = Standings(
    *(7, 1_790_000_000_000),
    {
        "uplink": PlanStanding("uplink", PLANS["uplink"], MONTH, {"": 5}, {75: {"": 3}, 90: {}, 100: {}}),
        "each": PlanStanding("each", PLANS["each"], MONTH, {LAPTOP: 6, "10.8.0.2": 0}, {50: {LAPTOP: 4}}),
    },
)


def test_plans_and_how_they_stand_are_read_as_they_were_sent() -> None:
    plans = decode_plans(encode_plans(PLANS))
    assert plans == PLANS
    texts, used = encode(STANDINGS)
    assert decode(plans, texts, {key: str(number) for key, number in used.items()}) == STANDINGS


def test_nothing_was_said_of_plans() -> None:
    assert decode(PLANS, {}, {}) is None


def wrong_plan(**changes: Any) -> str:
    document = json.loads(encode_plans(PLANS))["each"]
    return json.dumps({"each": {**document, **changes}})


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", '{"each": 1}', '{"each": {}}', wrong_plan(limit=0), wrong_plan(limit="5")),
        *(wrong_plan(per="year"), wrong_plan(direction="left"), wrong_plan(device=5), wrong_plan(group=[])),
        *(wrong_plan(warn_at={"x": "info"}), wrong_plan(warn_at={"5": "loud"}), wrong_plan(warn_at=5)),
    ],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode_plans(text)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1,2]", '[1,2,{"50":5}]', "[2,1,{}]", '[1,2,{"x":{}}]', "[" * 100_000]
)
def test_what_is_no_standing_is_not_shown(text: str) -> None:
    texts, _ = encode(STANDINGS)
    assert decode(PLANS, {**texts, "each": text}, {}) is None
