"""What a netifyd ``flow_stats`` or ``flow_purge`` record counted: the one place that reads those fields.

It keeps no state and believes nothing that can't be: whatever leaves here is a usable number.
"""

from __future__ import annotations

from typing import Any

from netify_agent.netifyd.flow_record import timestamp

# No flow carries 140 TB: a counter above is no counter. Redis' own 64 bits hold 65,536 such flows.
_MAX_COUNT = 1 << 47


class BadCounters(Exception):
    """The record's counters can't be used; the message says why."""


#: The numbers of one record, bytes of whole frames and packets as netifyd 4.4.5 counts them: bytes sent by
#: the local side since the flow's last record, by the other side, packets likewise; bytes and packets of the
#: flow's life so far, in both directions, -1 where the record doesn't say; netifyd's clock at the latest
#: packet, milliseconds since the epoch, 0 unknown.
Counters = tuple[int, int, int, int, int, int, int]


def read_counters(fields: dict[str, Any]) -> Counters:
    """Read the ``flow`` object of a record with counters.

    :param fields: as decoded; every field may be missing or of any type.
    :raises BadCounters: without all of the interval's counters, or where one is no such number.
    """
    try:
        up, down = fields["local_bytes"], fields["other_bytes"]
        packets_up, packets_down = fields["local_packets"], fields["other_packets"]
    except KeyError as error:
        raise BadCounters(f"counters without {error.args[0]}") from error
    total, total_packets = fields.get("total_bytes", -1), fields.get("total_packets", -1)
    # Told apart from bool too, which is an int. Together they are in range if none has a bit beyond it.
    if not (
        type(up) is type(down) is type(packets_up) is type(packets_down) is type(total) is int
        and type(total_packets) is int
        and 0 <= up | down | packets_up | packets_down < _MAX_COUNT
        and -1 <= total < _MAX_COUNT
        and -1 <= total_packets < _MAX_COUNT
    ):
        raise BadCounters("counters out of range")
    return up, down, packets_up, packets_down, total, total_packets, timestamp(fields.get("last_seen_at"))
