"""The metrics of plans: bounded, however many devices a plan is of."""

from __future__ import annotations

from collections.abc import Iterator

from netify_agent.api.exposition import Exposition, Labels, Value
from netify_agent.plans.standing import Standings, forecast


def expose_plans(out: Exposition, standings: Standings | None, max_devices: int) -> None:
    """Add the metrics of all plans.

    :param standings: None: no flush was counted yet, and nothing is added.
    :param max_devices: of a plan of each device, so many with the most bytes.
    """
    if standings is None:
        return
    plans = standings.plans

    def by_plan(value: int) -> Iterator[tuple[Labels, Value]]:
        for name, one in plans.items():
            yield {"plan": name}, (one.plan.limit, one.period.start, one.period.end)[value]

    rows = [
        ({"plan": name, "device": who if one.plan.device is not None else None}, used, one.period)
        for name, one in plans.items()
        for who, used in sorted(one.used.items(), key=lambda item: (-item[1], item[0]))[: max(max_devices, 1)]
    ]
    for metric, help_text, samples in (
        ("used_bytes", "Bytes used in the current period.", [(labels, used) for labels, used, _ in rows]),
        (
            "forecast_bytes",
            "Bytes used at the end of the period, at the average rate so far; absent early in the period.",
            [(labels, forecast(used, period, standings.at_ms)) for labels, used, period in rows],
        ),
        ("limit_bytes", "Limit of the plan.", list(by_plan(0))),
        ("period_start_timestamp_seconds", "Start of the current period.", list(by_plan(1))),
        ("period_end_timestamp_seconds", "End of the current period.", list(by_plan(2))),
    ):
        out.family(f"netify_plan_{metric}", "gauge", help_text, samples)
