"""Delivery to one receiver: at least once, in order, given up after its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from alert_receivers import Hook, hook
from support import eventually

from netify_agent.alerts.alert import Alert, Notification
from netify_agent.alerts.clock import RunClock
from netify_agent.alerts.delivery import Delivery, DeliveryLimits
from netify_agent.alerts.receivers import sender_of
from netify_agent.config.settings import parse

HOUR_S = 3600.0
QUICK = DeliveryLimits(backoff_first_s=0.01, backoff_longest_s=0.02, idle_s=0.01)
ALERT = Alert("0" * 16, "new", "new_device", "info", "new device: {who}", 1_796_000_000_000)


class Gateway:
    """A delivery whose run clock stands still unless the test moves it.

    :ivar done: names of notifications that were delivered or given up.
    """

    def __init__(self, receiver: Hook, give_up_after_s: float) -> None:
        self.elapsed_s = 0.0
        self.done: list[str] = []
        settings = parse(f"notify: {{x: {{type: webhook, url: '{receiver.url}'}}}}", "f").notify["x"]
        self.delivery = Delivery(
            "x",
            sender_of("x", settings, "gw1", lambda alert: alert.summary()),
            give_up_after_s,
            RunClock(lambda: self.elapsed_s),
            firing=lambda: (),
            on_done=lambda name, delivered: self.done.append(name),
            limits=QUICK,
        )

    @contextmanager
    def running(self) -> Iterator[Delivery]:
        stop = threading.Event()
        thread = threading.Thread(target=self.delivery.run, args=(stop, lambda: None))
        thread.start()
        try:
            yield self.delivery
        finally:
            stop.set()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Hook]:
    with hook() as running:
        yield running


def notifications(count: int) -> list[Notification]:
    return [Notification("x", replace(ALERT, id=f"{number:016x}"), 0) for number in range(count)]


def test_a_receiver_that_was_away_for_an_hour_is_told_all_in_order(receiver: Hook) -> None:
    gateway = Gateway(receiver, give_up_after_s=2 * HOUR_S)
    receiver.close()
    waiting = notifications(5)
    with gateway.running() as delivery:
        delivery.put(waiting)
        eventually(lambda: delivery.status.failures >= 3, "it is tried again")
        gateway.elapsed_s += HOUR_S
        failures = delivery.status.failures
        eventually(lambda: delivery.status.failures >= failures + 2, "it is tried after an hour")
        assert (delivery.waiting, delivery.status.error) == (5, "Connection refused")
        receiver.open()
        eventually(lambda: not delivery.waiting, "all are delivered")
    assert receiver.keys == [one.key for one in waiting]
    assert (delivery.status.sent, delivery.status.given_up, delivery.status.error) == (5, 0, None)
    assert gateway.done == [one.name for one in waiting]


@pytest.mark.parametrize(("ends_in_s", "is_sent"), [(-1, True), (2 * HOUR_S, False), (26 * HOUR_S, True)])
def test_quiet_hours_hold_a_notification_unless_the_clock_was_set_back(
    receiver: Hook, ends_in_s: float, is_sent: bool
) -> None:
    """An agent whose clock was days ahead when an alert fired does not hold it for days."""
    gateway = Gateway(receiver, give_up_after_s=HOUR_S)
    held, free = notifications(2)
    held = replace(held, hold_until=int((time.time() + ends_in_s) * 1000))
    with gateway.running() as delivery:
        delivery.put([held, free])
        eventually(lambda: free.key in receiver.keys, "the other one is delivered")
    assert receiver.keys == [held.key, free.key][not is_sent :]


@pytest.mark.parametrize("behaviour", ["refuse", "reject", "cut", "break", "redirect", "garbage"])
def test_a_notification_is_given_up_after_its_time(receiver: Hook, behaviour: str) -> None:
    receiver.behaviour = behaviour
    gateway = Gateway(receiver, give_up_after_s=HOUR_S)
    (one,) = notifications(1)
    with gateway.running() as delivery:
        delivery.put([one])
        eventually(lambda: delivery.status.failures >= 2, "it is tried again")
        assert delivery.status.given_up == 0
        gateway.elapsed_s += HOUR_S
        eventually(lambda: delivery.status.given_up == 1 and not delivery.waiting, "it is given up")
        receiver.behaviour = "take"
        resolved = replace(one.alert, resolved_at=one.alert.started_at)
        delivery.put([replace(one, alert=resolved, queued=int(HOUR_S * 1000))])
        eventually(lambda: delivery.status.sent == 1, "the next one is delivered")
    assert receiver.keys == [f"{one.alert.id}-resolved"]
