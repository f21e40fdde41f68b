"""What a message costs, of a gateway of 100 devices with half of its rows moving."""

from __future__ import annotations

import math
import random

from real_store import RealStore, everything
from replica_copy import copied
from support import RedisServer

from netify_agent.accounting.accountant import Accountant
from netify_agent.config.calendar import DAY_S, HOUR_S, MONTH_S
from netify_agent.store.client import connect
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.replica_sink import ReplicaSink
from netify_agent.store.replica_source import Known, ReplicaSource

STEPS = HistorySteps({300: 2 * DAY_S, HOUR_S: 31 * DAY_S, DAY_S: 400 * DAY_S, MONTH_S: 1825 * DAY_S})
BEGIN = 1_790_006_400 - 1500  # 25 minutes before a full hour
FLUSHES = (75, 60, 60, 60, 30, 15)  # seconds from one to the next, in the time of a message
MOST = 15_000  # bytes of a message

Row = tuple[str, str, str]  # device, application, protocol


class Traffic:
    """100 devices with 10 applications in three protocols each.

    Bytes of a row in five minutes are log-normal with a median of 160 kB down, and up to a third of it up.
    """

    def __init__(self, url: str) -> None:
        self.chance = random.Random(15)
        self.store = RealStore(url, "gw1", history=STEPS)
        self.store.accountant = Accountant(200_000, BEGIN)  # its first bucket is not today's
        self.at = BEGIN
        self.rows: list[Row] = [
            (f"02:00:00:00:00:{device:02x}", f"netify.app-{(7 * device + 3 * number) % 40}", protocol)
            for device in range(100)
            for number, protocol in enumerate(("HTTP/S", "QUIC", "HTTP/S", "DNS", "HTTP/S") * 2)
        ]
        self._flows: dict[Row, str] = {}
        self._carried: dict[str, tuple[int, int]] = {}  # bytes and packets of each flow

    def move(self, rows: list[Row]) -> None:
        """Five minutes in which the rows move bytes, in each flush."""
        amounts = [(row, 160_000 * math.exp(self.chance.gauss(0, 1.5))) for row in rows]
        for seconds in FLUSHES:
            self.at += seconds
            netifyd, records = self.store.netifyd, []
            for row, amount in amounts:
                if row not in self._flows or self.chance.random() < 0.2:
                    device, application, protocol = row
                    digest = self._flows[row] = f"{len(self._carried):040x}"
                    self._carried[digest] = 0, 0
                    fields = {
                        "detected_protocol_name": protocol,
                        "local_ip": f"10.0.0.{int(device[-2:], 16)}",
                    }
                    records.append(netifyd.flow(digest, device, application, **fields))
                down = int(amount * seconds / 300 * self.chance.uniform(0.5, 1.5))
                up = int(down * self.chance.uniform(0.05, 0.33))
                records.append(self._stats(self._flows[row], up, down))
            self.store.bucket = STEPS.bucket(self.at)
            self.store.flush(*records, at_ms=1000 * self.at + self.chance.randrange(900))

    def _stats(self, digest: str, up: int, down: int) -> dict[str, object]:
        packets_up, packets_down = 1 + down // 1700, 1 + down // self.chance.randrange(700, 1400)
        carried, packets = self._carried[digest]
        self._carried[digest] = carried + up + down, packets + packets_up + packets_down
        fields = {
            "local_packets": packets_up,
            "other_packets": packets_down,
            "total_bytes": self._carried[digest][0],
            "total_packets": self._carried[digest][1],
            "last_seen_at": 1000 * self.at - self.chance.randrange(15_000),
        }
        return self.store.netifyd.stats(digest, up, down, **fields)


def test_a_message_each_five_minutes_has_at_most_15_kb(shared_redis: RedisServer) -> None:
    connect(shared_redis.url, None).flushall()
    client = connect(shared_redis.url.replace("db=0", "db=1"), None)
    traffic = Traffic(shared_redis.url)
    source = ReplicaSource(traffic.store.client, "gw1", STEPS, {"interval": "15"})
    sink, known = ReplicaSink(lambda gateway: client, lambda settings: STEPS), Known()
    traffic.move(traffic.rows)
    sizes, full_hours = [], {BEGIN // HOUR_S}
    for _ in range(7):
        data, known = source.message(known)
        sink.apply("gw1", data)
        assert known.complete
        assert copied(everything(client)) == copied(everything(traffic.store.client))
        sizes.append(len(data))
        full_hours.add(traffic.at // HOUR_S)
        traffic.move([row for row in traffic.rows if traffic.chance.random() < 0.5])
    assert len(full_hours) == 2  # an hour was summed up meanwhile
    assert max(sizes[1:]) <= MOST, sizes
