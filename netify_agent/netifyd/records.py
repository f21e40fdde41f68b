"""Records of a stream, and the count of losses.

Shared by all framings. Works on decoded values, not on bytes.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

Record = dict[str, Any]

#: Why something was dropped, as counted in :attr:`Tally.drops`. ``aggregated``: a report of netifyd's
#: aggregator plugin, which has sums over flows instead of flows.
DROP_REASONS = ("malformed", "oversize", "truncated", "untyped", "aggregated")
#: Types that describe a flow, all in the same layout. The last by arrival says what the flow is.
DESCRIPTION_TYPES = frozenset(("flow", "flow_dpi_update", "flow_dpi_complete"))
#: All types of netifyd v4 and v5 that begin with ``flow`` (vendor's schemas). ``flow_intel`` repeats counters
#: of the flow that it judges, so nothing of it is accounted.
FLOW_TYPES = DESCRIPTION_TYPES | {"flow_stats", "flow_purge", "flow_intel"}
#: All types of netifyd v3 to v5 (recorded streams, vendor's schemas).
NETIFYD_TYPES = FLOW_TYPES | {
    "agent_hello",
    "agent_status",
    "definitions",
    "endpoints",
    "global_stats",
    "interface_stats",
    "interfaces",
}
#: Advice when aggregator reports arrive.
AGGREGATOR_ADVICE = (
    "reports of netify-proc-aggregator (log_time_start, stats), which name no flows: send 'stream-flows' and"
    " 'stream-stats' of netify-proc-core to this sink instead (docs/netifyd.md)"
)

_SAMPLE_BYTES = 64


class Unreadable(Exception):
    """The stream can't be decoded here; the message says what it is and what is missing."""


class Tally:
    """Losses of a stream.

    :ivar drops: losses by reason. A record is one loss; so is a run of bytes without a record.
    :ivar repaired: records whose text was not UTF-8. They are kept, with the bad bytes as lone surrogates
        (PEP 383), because their counters are as good as any.
    :ivar untyped: what the first object without a ``type`` looks like, as a phrase for an error message.
    :ivar garbage: the start (at most 64 bytes) of the first bytes that were dropped as malformed.
    """

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.repaired = 0
        self.garbage = b""
        self.untyped: str | None = None

    def drop(self, reason: str, sample: bytes = b"") -> None:
        """Count one loss; ``sample`` is the data found instead of a record."""
        self.drops[reason] += 1
        self.garbage = self.garbage or sample[:_SAMPLE_BYTES]

    def accept(self, value: Record, out: list[Record]) -> bool:
        """Append ``value`` to ``out`` if it is a record; a length header is skipped, the rest counted."""
        if isinstance(value.get("type"), str):
            out.append(value)
            return True
        if "log_time_start" in value and isinstance(value.get("stats"), list):
            self.drops["aggregated"] += 1
        elif not is_header(value):
            self.drops["untyped"] += 1
            self.untyped = self.untyped or _describe_keys(value)
        return False


def _describe_keys(value: Record) -> str:
    keys = ", ".join("".join(c if c.isprintable() else "." for c in str(key)[:20]) for key in list(value)[:5])
    return f"objects without 'type' (their keys: {keys or 'none'})"


class Reader(Protocol):
    """One layer that converts bytes of a stream to records.

    :ivar pending: whether input is left to decode: call ``feed(b"")``.
    :ivar broken: why nothing can be read from this stream any more; None while it can.
    :ivar held: buffered bytes.
    """

    @property
    def pending(self) -> bool: ...  # noqa: D102
    @property
    def broken(self) -> str | None: ...  # noqa: D102
    @property
    def held(self) -> int: ...  # noqa: D102

    def feed(self, data: bytes) -> list[Record]:
        """Take bytes, split anywhere; return the completed records in order."""

    def close(self) -> list[Record]:
        """End the stream: return the last records. A truncated record counts as a loss."""


def is_header(value: Record) -> bool:
    """Whether ``value`` is a length header, ``{"length": N}``."""
    return value.keys() == {"length"}
