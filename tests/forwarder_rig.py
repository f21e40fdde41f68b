"""A gateway's store and forwarder, without a daemon: the clock is the test's own, the collector is real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collector_run import GATEWAYS, CollectorRun
from real_store import RealStore, everything
from replica_copy import KEYS, copied

from netify_agent.accounting.accountant import Accountant
from netify_agent.config.settings import FleetSettings, Settings
from netify_agent.fleet import gateway_settings
from netify_agent.fleet.forwarder import Forwarder
from netify_agent.fleet.line import NotForwarded
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import prefix
from netify_agent.store.replica_message import Incoming
from netify_agent.store.replica_source import MAX_HISTORY, ReplicaSource

SETTINGS = Settings()
STEPS = HistorySteps.of(SETTINGS.history, SETTINGS.calendar.calendar)
BEGIN = 1_790_000_100  # a multiple of 300

Moved = tuple[str, str, int, int]  # device, application, bytes up and down


class Rig:
    """A store, its forwarder, and a line that loses what the test tells it to.

    :ivar lost: what of the next message is lost: ``request`` or ``answer``; empty: nothing.
    :ivar asked: method of each exchange, and what was answered.
    :ivar bodies: the messages so far.
    """

    def __init__(
        self,
        directory: Path,
        redis_url: str,
        collector: CollectorRun,
        client: Any,
        max_history: int = MAX_HISTORY,
    ) -> None:
        """``client``: of the collector's Redis."""
        token = directory / "token"
        token.write_text(GATEWAYS["gw1"] + "\n")
        self.settings = FleetSettings(collector.url, str(token))
        self.store = RealStore(redis_url, "gw1", history=STEPS, bucket=BEGIN)
        self.store.accountant = Accountant(200_000, BEGIN)  # its first bucket is not today's
        self.client = client
        self.at = BEGIN
        self.lost = ""
        self.asked: list[tuple[str, Any]] = []
        self.bodies: list[bytes] = []
        self._max_history = max_history
        self.restart()

    def restart(self) -> None:
        """The agent starts again: its forwarder knows nothing."""
        settings = gateway_settings.encode(SETTINGS)
        source = ReplicaSource(self.store.client, "gw1", STEPS, settings, self._max_history)
        self.forwarder = Forwarder(self.settings, "gw1", source)
        self._exchange = self.forwarder._line.exchange
        self.forwarder._line.exchange = self.exchange  # type: ignore[method-assign]

    def exchange(self, method: str, query: str = "", body: bytes | None = None) -> dict[str, Any]:
        lost = self.lost if body is not None else ""
        self.lost = "" if lost else self.lost
        if body is not None:
            self.bodies.append(body)
        if lost == "request":
            raise NotForwarded("lost")
        found = self._exchange(method, query, body)
        self.asked.append((method, found))
        if lost == "answer":
            raise NotForwarded("lost")
        return found

    def repeat(self, body: bytes) -> None:
        """A message comes late. It may change something only if it is the next one."""
        before = self._stored()
        position = before.get(KEYS.copy, {}).get("position", "")
        try:
            self._exchange("POST", "", body)
        except NotForwarded as error:
            assert "status 409" in str(error)
        assert self._stored() == before or Incoming(body).header.base == position

    def _stored(self) -> dict[str, Any]:
        """What the collector has of the gateway, without the summary of its latest contact."""
        return {key: found for key, found in everything(self.client).items() if key.startswith(prefix("gw1"))}

    def move(self, *moved: Moved, seconds: int = 15) -> None:
        """A flush ``seconds`` after the last."""
        self.at += seconds
        netifyd, records = self.store.netifyd, []
        for device, application, up, down in moved:
            digest = f"{device}/{application}"
            records += [netifyd.flow(digest, device, application), netifyd.stats(digest, up, down)]
        self.store.bucket = STEPS.bucket(self.at)
        self.store.flush(*records, at_ms=self.at * 1000)

    def forward(self) -> int:
        """Send until the collector has everything, also after a doubt. Returns how many times."""
        for count in range(1, 1000):
            try:
                if self.forwarder.send():
                    return count
            except NotForwarded as error:
                assert "409" in str(error)
        raise AssertionError("the collector never has everything")

    def check(self) -> None:
        """The collector has what the gateway has."""
        there, here = copied(everything(self.client)), copied(everything(self.store.client))
        different = {key for key in there.keys() | here.keys() if there.get(key) != here.get(key)}
        assert not different, sorted(different)[:9]
