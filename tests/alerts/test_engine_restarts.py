"""Alerts over restarts, lost flushes and changes of the configuration: none is repeated, none forgotten."""

from __future__ import annotations

from typing import Any

from alert_gateway import BUSY, LAPTOP, NEW, PHONE, TABLET, Gateway, flushes, gateway_rate, said

from netify_agent.alerts.engine import Released


def test_a_restart_neither_repeats_nor_forgets() -> None:
    gateway = Gateway(BUSY + "\n" + PHONE)
    said_so_far = []
    for rate in (2_000_000, 0):
        for _ in range(8):
            said_so_far += gateway.flush(rates=gateway_rate(rate))
            gateway.start()  # killed after each flush
    assert said_so_far == ["firing gateway", "resolved gateway"]
    assert len(gateway.tables["alerts"]) == 1


def test_what_redis_did_not_take_was_not_announced() -> None:
    gateway = Gateway(NEW)
    gateway.evaluate(devices=[LAPTOP])
    assert gateway.engine.release() == Released([], [])  # killed before the flush
    gateway.devices = []
    gateway.start()
    assert gateway.flush(devices=[LAPTOP]) == [f"firing {LAPTOP}"]


def test_a_flush_that_is_tried_again_stores_the_same() -> None:
    gateway = Gateway(NEW)
    gateway.evaluate(devices=[LAPTOP])
    changes, _ = gateway.engine.changes(gateway.sequence + 1)
    before = dict(changes)
    gateway.evaluate(batch=None, checks={})  # Redis is away
    assert changes == before
    assert [said(one) for one in gateway.store().alerts] == [f"firing {LAPTOP}"]


def test_a_redis_that_lost_flushes_gets_everything_again() -> None:
    gateway = Gateway(NEW)
    gateway.flush(devices=[LAPTOP])
    kept = {name: dict(table) for name, table in gateway.tables.items()}
    gateway.tables = {"alerts": {"x": "y"}, "state": {}, "outbox": {}}
    gateway.sequence -= 4
    assert gateway.flush(devices=[LAPTOP]) == []
    assert gateway.tables["alerts"] == kept["alerts"]
    assert gateway.tables["outbox"] == kept["outbox"]
    gateway.start()
    assert flushes(gateway, 240) == [f"resolved {LAPTOP}"]


def test_undelivered_notifications_survive_and_delivered_ones_do_not() -> None:
    gateway = Gateway(NEW)
    gateway.flush(devices=[LAPTOP])
    (key,) = gateway.start()
    assert key == f"{gateway.engine.known_alerts[0].id}-firing"
    gateway.engine.take_outcomes([(f"phone:{key}", True)])
    gateway.flush()
    assert gateway.start() == []


def test_what_became_of_notifications_is_kept_with_the_alert() -> None:
    gateway = Gateway(NEW)
    gateway.flush(devices=[LAPTOP, TABLET])
    taken, lost = (one.id for one in gateway.engine.known_alerts)
    gateway.engine.take_outcomes([(f"phone:{taken}-firing", True), (f"phone:{lost}-firing", False)])

    def outcomes() -> dict[str, Any]:
        return {one.id: (one.sent, one.failed) for one in gateway.engine.known_alerts}

    expected = {taken: (("phone:firing",), ()), lost: ((), ("phone:firing",))}
    assert outcomes() == expected
    gateway.flush()
    gateway.start()
    assert outcomes() == expected


def test_an_outcome_known_before_the_next_announcement_is_kept() -> None:
    gateway = Gateway(NEW)
    gateway.flush(devices=[LAPTOP])
    (alert,) = gateway.engine.known_alerts
    gateway.configure(PHONE)
    gateway.evaluate()  # resolves it, with the next flush
    gateway.engine.take_outcomes([(f"phone:{alert.id}-firing", True)])
    assert [said(one) for one in gateway.store().alerts] == [f"resolved {LAPTOP}"]
    assert gateway.engine.known_alerts[0].sent == ("phone:firing",)


def test_damaged_entries_are_left_out() -> None:
    gateway = Gateway(NEW)
    gateway.flush(devices=[LAPTOP])
    (ident,) = gateway.tables["alerts"]
    gateway.tables["alerts"]["bad"] = "[]"
    gateway.tables["state"]["new:x"] = '[1,null,"gone"]'
    gateway.tables["outbox"]["phone:y"] = "{}"
    gateway.start()
    assert [one.id for one in gateway.engine.known_alerts] == [ident]
    gateway.flush()
    assert "bad" not in gateway.tables["alerts"]
    assert "new:x" not in gateway.tables["state"]


def test_alerts_of_a_removed_rule_are_resolved() -> None:
    gateway = Gateway(NEW)
    gateway.flush(devices=[LAPTOP])
    gateway.configure(PHONE)
    assert gateway.flush() == [f"resolved {LAPTOP}"]
    assert gateway.flush(devices=[TABLET]) == []


def test_notifications_for_a_removed_receiver_are_dropped() -> None:
    gateway = Gateway(NEW)
    gateway.flush(devices=[LAPTOP])
    gateway.configure(NEW.replace("phone", "other"))
    gateway.flush()
    assert gateway.tables["outbox"] == {}


def test_a_named_receiver_alone_is_told() -> None:
    text = NEW.replace("learn: 0s", "learn: 0s, notify: [b]").replace(
        "{phone: {type: ntfy, url: 'http://127.0.0.1/x'}}",
        "{a: {type: ntfy, url: 'http://127.0.0.1/x'}, b: {type: ntfy, url: 'http://127.0.0.1/y'}}",
    )
    gateway = Gateway(text)
    gateway.flush(devices=[LAPTOP])
    assert [name.partition(":")[0] for name in gateway.tables["outbox"]] == ["b"]
