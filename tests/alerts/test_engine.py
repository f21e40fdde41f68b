"""Alerts fire once and resolve once, whatever wobbles or floods."""

from __future__ import annotations

from typing import Any

import pytest
from alert_gateway import BUSY, LAPTOP, NEW, PHONE, TABLET, Gateway, flushes, gateway_rate, said

from netify_agent.accounting.batch import Batch, FlowState
from netify_agent.alerts.engine import GROUP_FROM
from netify_agent.alerts.state import MAX_QUEUED, MAX_RESOLVED
from netify_agent.netifyd.flow_record import Key

GROUPS = "groups: {kids: [], all: []}"
IN = {LAPTOP: ["kids", "all"], TABLET: ["kids"]}


def test_a_rate_fires_after_its_time_and_resolves_after_the_same_time() -> None:
    gateway = Gateway(BUSY)
    high, low = gateway_rate(700_000, 700_000), gateway_rate(10)
    assert flushes(gateway, 3, rates=high) == []
    assert flushes(gateway, 5, rates=high) == ["firing gateway"]
    assert flushes(gateway, 3, rates=low) == []
    assert flushes(gateway, 5, rates=low) == ["resolved gateway"]


def test_a_rate_exactly_at_the_bound_is_not_above_it() -> None:
    gateway = Gateway(BUSY)
    assert flushes(gateway, 9, rates=gateway_rate(1_000_000)) == []


def test_a_wobbling_rate_fires_once() -> None:
    gateway = Gateway(BUSY)
    flushes(gateway, 4, rates=gateway_rate(1_000_001))
    for _ in range(20):
        assert flushes(gateway, 3, rates=gateway_rate(10)) == []  # shorter than the minute
        assert flushes(gateway, 1, rates=gateway_rate(950_000)) == []  # between 90 % and the bound
    assert flushes(gateway, 4, rates=gateway_rate(900_000)) == ["resolved gateway"]


@pytest.mark.parametrize(
    ("keys", "rates", "expected"),
    [
        ("direction: up", gateway_rate(2_000_000), "firing gateway"),
        ("direction: down", gateway_rate(2_000_000), None),
        (f"device: '{LAPTOP}'", {LAPTOP: ((2_000_000, 0), {})}, f"firing {LAPTOP}"),
        ("device: each", {LAPTOP: ((2_000_000, 0), {}), **gateway_rate(9_000_000)}, f"firing {LAPTOP}"),
        ("device: each", {"other": ((2_000_000, 0), {})}, None),
        ("application: netify.x", {"": ((0, 0), {"netify.x": (2_000_000, 0)})}, "firing netify.x"),
        ("application: each", {"": ((9_000_000, 0), {"netify.x": (2_000_000, 0)})}, "firing netify.x"),
        (
            "device: each, application: a",
            {LAPTOP: ((9_000_000, 0), {"a": (2_000_000, 0)})},
            f"firing {LAPTOP}",
        ),
        ("device: each, application: a", {LAPTOP: ((9_000_000, 0), {"b": (2_000_000, 0)})}, None),
        ("group: kids", {LAPTOP: ((600_000, 0), {}), TABLET: ((0, 400_001), {})}, "firing kids"),
        ("group: kids", {LAPTOP: ((600_000, 0), {}), TABLET: ((0, 400_000), {})}, None),
        ("group: all", {LAPTOP: ((600_000, 0), {}), TABLET: ((600_000, 0), {})}, None),
        ("group: each", {TABLET: ((900_000, 0), {}), LAPTOP: ((200_000, 0), {})}, "firing kids"),
        ("group: kids", gateway_rate(2_000_000), None),
        ("device: each, group: all", {one: ((2_000_000, 0), {}) for one in IN}, f"firing {LAPTOP}"),
        ("device: each, group: kids", {one: ((600_000, 0), {}) for one in IN}, None),
        (
            "device: each, group: all, application: a",
            {one: ((9_000_000, 0), {"a": (2_000_000, 0)}) for one in IN},
            f"firing {LAPTOP}",
        ),
        (
            "group: kids, application: a",
            {LAPTOP: ((9_000_000, 0), {"a": (600_000, 0)}), TABLET: ((0, 0), {"a": (400_001, 0)})},
            "firing kids",
        ),
        ("group: kids, application: a", {LAPTOP: ((9_000_000, 0), {"b": (9_000_000, 0)})}, None),
        (
            "group: kids, application: each",
            {LAPTOP: ((0, 0), {"a": (600_000, 0), "b": (1, 0)}), TABLET: ((0, 0), {"a": (400_001, 0)})},
            "firing kids",
        ),
    ],
)
def test_a_rate_is_of_what_its_keys_name(keys: str, rates: dict[str, Any], expected: str | None) -> None:
    gateway = Gateway(f"alerts: {{busy: {{kind: rate, above: 1 Mbit/s, for: 15s, {keys}}}}}\n{GROUPS}")
    assert gateway.flush(rates=rates, groups=lambda device: IN.get(device, [])) == (
        [expected] if expected else []
    )


def test_an_alert_names_its_group_and_application() -> None:
    text = "alerts: {busy: {kind: rate, above: 1 bit/s, for: 15s, group: kids, application: each}}\n"
    gateway = Gateway(text + GROUPS)
    gateway.flush(rates={TABLET: ((2, 0), {"a": (2, 0)})}, groups=lambda device: IN[device])
    (alert,) = gateway.engine.known_alerts
    assert (alert.group, alert.application, alert.device) == ("kids", "a", None)
    assert alert.summary() == "a of group kids: 2 bit/s, above 1 bit/s for 15 s"


def test_a_new_device_fires_once() -> None:
    gateway = Gateway(NEW)
    assert gateway.flush(devices=[LAPTOP]) == [f"firing {LAPTOP}"]
    assert flushes(gateway, 239, devices=[LAPTOP]) == []
    assert flushes(gateway, 2, devices=[LAPTOP]) == [f"resolved {LAPTOP}"]
    assert flushes(gateway, 300, devices=[LAPTOP]) == []


def test_the_devices_of_a_new_store_are_learned() -> None:
    gateway = Gateway("alerts: {new: {kind: new_device, learn: 1m}}", new=True)
    assert flushes(gateway, 2, devices=[LAPTOP]) == []
    gateway.start()
    assert gateway.flush(devices=[LAPTOP]) == []
    assert gateway.flush(devices=[TABLET]) == [f"firing {TABLET}"]


def test_a_forgotten_device_is_new_again() -> None:
    gateway = Gateway(NEW)
    gateway.flush(devices=[LAPTOP])
    flushes(gateway, 241)
    gateway.evaluate(devices=[])
    gateway.engine.changes(gateway.sequence + 1)
    gateway.sequence += 1
    gateway.engine.applied(gateway.sequence, [LAPTOP])
    assert gateway.flush(devices=[LAPTOP]) == [f"firing {LAPTOP}"]


def test_a_flood_of_new_devices_is_one_alert_with_a_count() -> None:
    gateway = Gateway(NEW)
    names = [f"02:00:00:00:{number // 256:02x}:{number % 256:02x}" for number in range(1000)]
    assert gateway.flush(devices=names) == ["firing group"]
    (alert,) = gateway.engine.known_alerts
    assert (alert.count, alert.summary()) == (1000, "1,000 new devices")
    assert gateway.engine.active_by_rule() == {"new": 1000}
    assert len(gateway.tables["outbox"]) == 1
    gateway.start()
    assert flushes(gateway, 240) == ["resolved group"]


def test_later_devices_have_alerts_of_their_own_beside_a_group() -> None:
    gateway = Gateway(NEW)
    few = [f"02:00:00:00:01:{number:02x}" for number in range(GROUP_FROM)]
    many = [f"02:00:00:00:02:{number:02x}" for number in range(GROUP_FROM + 1)]
    assert gateway.flush(devices=many) == ["firing group"]
    assert len(gateway.flush(devices=few)) == GROUP_FROM
    assert gateway.flush(devices=[LAPTOP]) == []
    assert max(one.count for one in gateway.engine.known_alerts) == GROUP_FROM + 2


def test_a_silent_device_fires_and_resolves_with_its_first_record() -> None:
    gateway = Gateway(f"alerts: {{tv: {{kind: silent, device: '{LAPTOP}', for: 1m}}}}")
    assert flushes(gateway, 5, devices=[LAPTOP]) == []
    assert flushes(gateway, 3) == []
    assert flushes(gateway, 3) == [f"firing {LAPTOP}"]
    assert gateway.flush(devices=[LAPTOP]) == [f"resolved {LAPTOP}"]


def test_a_silent_netifyd_is_told_by_its_endpoint() -> None:
    gateway = Gateway("alerts: {n: {kind: silent, device: netifyd, for: 1m}}")
    assert flushes(gateway, 9, endpoints={"unix:///a": True}) == []
    assert flushes(gateway, 5, endpoints={"unix:///a": False, "tcp://b:1": True}) == ["firing unix:///a"]
    assert gateway.flush(endpoints={"unix:///a": True}) == ["resolved unix:///a"]


def risky(score: int, capture: int = 0) -> Batch:
    state = FlowState("s", Key(LAPTOP, "a", "p"), None, 0, 0, *[0] * 8, risk=score, capture=capture)
    return Batch(0, flows={"f": state, "g": None})


def test_a_risky_flow_fires_for_its_device() -> None:
    gateway = Gateway("alerts: {r: {kind: risk, score: 100, resolve_after: 1m}}")
    assert gateway.flush(batch=risky(99)) == []
    assert gateway.flush(batch=risky(100, capture=2)) == []  # at an interface that does not count
    assert gateway.flush(batch=risky(100)) == [f"firing {LAPTOP}"]
    assert flushes(gateway, 9, batch=risky(250)) == []
    assert flushes(gateway, 4) == [f"resolved {LAPTOP}"]
    assert gateway.engine.known_alerts[0].value == 100


def test_health_is_told_without_a_flush() -> None:
    gateway = Gateway("alerts: {h: {kind: health, for: 15s}, busy: {kind: rate, above: 1 bit/s}}\n" + PHONE)
    gateway.evaluate(batch=None, checks={"redis": "Connection refused"})
    released = gateway.engine.release()
    assert [said(one) for one in released.alerts] == ["firing redis"]
    assert released.alerts[0].summary() == "redis: Connection refused"
    assert len(released.notifications) == 1
    assert gateway.flush(checks={"redis": None}) == ["resolved redis"]
    assert {one.partition("-")[2] for one in gateway.tables["outbox"]} == {"firing", "resolved"}


def test_lost_flushes_are_told_once() -> None:
    gateway = Gateway("alerts: {h: {kind: health}}")
    assert gateway.flush(checks={"lost": "Redis lost 3 flushes for good"}) == ["firing lost"]
    assert flushes(gateway, 239, checks={"lost": None}) == []
    assert flushes(gateway, 2, checks={"lost": None}) == ["resolved lost"]


# -- bounds and quiet hours ------------------------------------------------------------------------


def test_the_history_and_the_queue_are_bounded() -> None:
    gateway = Gateway(NEW.replace("resolve_after: 1h", "resolve_after: 1m"))
    for number in range(MAX_QUEUED):
        gateway.flush(devices=[f"10.0.{number // 250}.{number % 250}"])
    flushes(gateway, 8)
    assert len(gateway.engine.known_alerts) == len(gateway.tables["alerts"]) == MAX_RESOLVED
    assert len(gateway.tables["outbox"]) == MAX_QUEUED
    assert gateway.engine.dropped == MAX_QUEUED


def test_in_quiet_hours_a_notification_waits_and_is_dropped_if_all_is_well_by_then() -> None:
    # 2026-11-30T00:53:20Z
    quiet = NEW.replace("learn: 0s", "learn: 0s, quiet: 22:00-07:00") + "\ncalendar: {timezone: UTC}"
    gateway = Gateway(quiet)
    gateway.evaluate(devices=[LAPTOP])
    (notification,) = gateway.store().notifications
    assert notification.hold_until > gateway.at_ms
    assert notification.hold_until % 86_400_000 == 7 * 3_600_000
    assert flushes(gateway, 240) == [f"resolved {LAPTOP}"]
    assert gateway.tables["outbox"] == {}
    assert gateway.engine.cancelled == [notification.name]


def test_who_was_told_in_quiet_hours_is_told_the_end_too() -> None:
    """The clock was set back by days, so the notification did not wait."""
    quiet = NEW.replace("learn: 0s", "learn: 0s, quiet: 22:00-07:00") + "\ncalendar: {timezone: UTC}"
    gateway = Gateway(quiet)
    gateway.evaluate(devices=[LAPTOP])
    (notification,) = gateway.store().notifications
    gateway.engine.take_outcomes([(notification.name, True)])
    assert flushes(gateway, 240) == [f"resolved {LAPTOP}"]
    assert list(gateway.tables["outbox"]) == [f"phone:{notification.alert.id}-resolved"]
    assert gateway.engine.cancelled == []
