"""Reads the counters of ``flow_stats`` and ``flow_purge`` records. The one place that knows those fields.

It keeps no state. Whatever leaves here is a usable number.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from netify_agent.netifyd.flow_record import timestamp

# No flow carries 140 TB: a counter above is no counter. Redis' own 64 bits hold 65,536 such flows.
_MAX_COUNT = 1 << 47


class BadCounters(Exception):
    """The record's counters can't be used; the message says why."""


class FlowCounters(NamedTuple):
    """The counters of one record: bytes of whole frames and packets, as netifyd 4.4.5 counts them.

    :ivar up: bytes that the local side sent since the flow's last record; ``down``: the other side. Packets
        likewise, 0 where the record does not say.
    :ivar total: bytes of the flow so far, both directions; -1 where the record does not say. Packets
        likewise.
    :ivar seen: netifyd's clock at the latest packet, milliseconds since the epoch; 0 unknown.
    """

    up: int
    down: int
    packets_up: int
    packets_down: int
    total: int
    total_packets: int
    seen: int


def read_counters(fields: dict[str, Any]) -> FlowCounters:
    """Read the ``flow`` object of a record with counters.

    Packet counters that are absent or unusable do not make the bytes unusable: they count as not given.
    So does a total that is null, or 0 although the interval is not: it can't be a total. Relays may write a
    whole number as ``100.0``.

    :param fields: as decoded; every field may be missing or of any type.
    :raises BadCounters: without the interval's bytes, or where they or the total are no such number.
    """
    try:
        up, down = fields["local_bytes"], fields["other_bytes"]
    except KeyError as error:
        raise BadCounters(f"counters without {error.args[0]}") from error
    total = fields.get("total_bytes", -1)
    # bool is an int too, so types are compared.
    if not (type(up) is type(down) is type(total) is int):
        up, down, total = _whole(up), _whole(down), -1 if total is None else _whole(total)
    # Numbers are in range if none has a bit beyond the limit.
    if not (0 <= up | down < _MAX_COUNT and -1 <= total < _MAX_COUNT):
        raise BadCounters("counters out of range")
    packets_up, packets_down = fields.get("local_packets", 0), fields.get("other_packets", 0)
    total_packets = fields.get("total_packets", -1)
    if not (type(packets_up) is type(packets_down) is type(total_packets) is int):
        packets_up, packets_down = _whole(packets_up), _whole(packets_down)
        total_packets = _whole(total_packets)
    if not (0 <= packets_up | packets_down < _MAX_COUNT and -1 <= total_packets < _MAX_COUNT):
        packets_up, packets_down, total_packets = 0, 0, -1
    if not total and (up or down):
        total = -1
    if not total_packets and (packets_up or packets_down):
        total_packets = -1
    seen = timestamp(fields.get("last_seen_at"))
    # Without the constructor, which is a function in Python.
    return _new(FlowCounters, (up, down, packets_up, packets_down, total, total_packets, seen))


def read_totals(fields: dict[str, Any]) -> FlowCounters:
    """Read the totals of a record whose interval is unusable; an interval of 0 takes its place.

    :param fields: as for :func:`read_counters`. A total that is unusable as well counts as not given.
    """
    seen: dict[str, Any] = {"local_bytes": 0, "other_bytes": 0, "last_seen_at": fields.get("last_seen_at")}
    totals: dict[str, Any] = {
        name: fields[name] for name in ("total_bytes", "total_packets") if name in fields
    }
    try:
        return read_counters({**seen, **totals})
    except BadCounters:
        return read_counters(seen)


def _whole(value: Any) -> int:
    """Return an integer, also where a float holds it; a number out of range for anything else."""
    if type(value) is int:
        return value
    return int(value) if type(value) is float and value.is_integer() else -2


_new = tuple.__new__
