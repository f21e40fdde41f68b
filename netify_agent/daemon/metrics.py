"""The metrics of the daemon and of netifyd, for ``/metrics``; the network's traffic is added elsewhere.

Counters start at zero with the process, and when a reload changes ``netifyd:``; Prometheus handles such
resets. Nothing is read from Redis here.
"""

from __future__ import annotations

import os
import platform
import resource
from typing import TYPE_CHECKING

from netify_agent import __version__
from netify_agent.api.exposition import Exposition
from netify_agent.daemon.status import Status
from netify_agent.netifyd.agent_status import DROPS
from netify_agent.netifyd.listener import ListenerStatus
from netify_agent.netifyd.records import DROP_REASONS

if TYPE_CHECKING:
    from netify_agent.fleet.forwarder import ForwarderStatus


def expose(status: Status, out: Exposition, redis_up: bool) -> None:
    """Add the daemon's families to ``out``.

    :param redis_up: whether Redis has just answered; being ready needs that too.
    """
    _process(status, out)
    _records(status, out)
    _flushes(status, out)
    _fleet(status.forwarder, out)
    ready = redis_up and not any(status.checks(ask_redis=False).values())
    out.single("netify_agent_ready", "gauge", "Whether /readyz would say ready.", int(ready))
    out.single(
        "netify_agent_sums_agree",
        "gauge",
        "Whether the sums in Redis agree; 0 once keys were lost.",
        int(status.writer.inconsistency is None),
    )
    out.single(
        "netify_agent_web_queue_length",
        "gauge",
        "Requests that wait for a thread of the web server.",
        status.web_queue(),
    )
    out.single(
        "netify_agent_event_clients", "gauge", "Clients of /events connected now.", status.event_clients()
    )
    _streams(status.listeners, out)
    _netifyd(status.listeners, out)


def _process(status: Status, out: Exposition) -> None:
    labels = {"version": __version__, "python": platform.python_version()}
    out.family("netify_agent_build_info", "gauge", "Version of netify-agent.", [(labels, 1)])
    out.single(
        "netify_agent_start_time_seconds",
        "gauge",
        "Start of the process, since the epoch.",
        int(status.started),
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    out.single(
        "process_cpu_seconds_total",
        "counter",
        "CPU time of this process, user and system, in seconds.",
        round(used.ru_utime + used.ru_stime, 6),
    )
    out.single("process_resident_memory_bytes", "gauge", "Memory of this process.", _resident_bytes())


def _resident_bytes() -> int | None:
    """Return the resident memory from proc(5); None if it is not mounted."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _records(status: Status, out: Exposition) -> None:
    accountant = status.accountant
    out.family(
        "netify_agent_records_total",
        "counter",
        "Records of netifyd taken, by type.",
        [({"type": kind}, count) for kind, count in sorted(dict(accountant.records).items())],
    )
    out.family(
        "netify_agent_records_rejected_total",
        "counter",
        "Records of netifyd that could not be used, by what was wrong with them.",
        [({"reason": reason}, count) for reason, count in sorted(dict(accountant.rejected).items())],
    )
    out.single("netify_agent_live_flows", "gauge", "Live flows.", accountant.live_flows)
    out.single("netify_agent_max_flows", "gauge", "Limit on live flows (max_flows).", accountant.max_flows)
    out.single(
        "netify_agent_max_devices",
        "gauge",
        "Limit on devices (devices.max).",
        accountant.devices.max,
    )
    out.single(
        "netify_agent_devices_full",
        "gauge",
        "Whether the device table is full.",
        int(accountant.devices.full),
    )
    out.single(
        "netify_agent_pending_changes",
        "gauge",
        "Changed rows and flows that are not in Redis yet.",
        accountant.pending_changes + status.writer.pending,
    )


def _flushes(status: Status, out: Exposition) -> None:
    writer = status.writer
    for name, help_text, count in (
        ("flushes", "Flushes that Redis took.", writer.flushes),
        ("flush_failures", "Failed attempts at a flush.", writer.failures),
        (
            "flushes_repeated",
            "Flushes applied again to a Redis that was restored to an older state.",
            writer.repeated,
        ),
        ("flushes_lost", "Flushes that Redis had taken and then lost for good.", writer.lost),
    ):
        out.single(f"netify_agent_{name}_total", "counter", help_text, count)
    out.single(
        "netify_agent_flush_interval_seconds",
        "gauge",
        "Seconds between two flushes, as configured.",
        status.settings.interval_s,
    )
    if writer.flushes:
        out.single(
            "netify_agent_flush_duration_seconds",
            "gauge",
            "How long the latest flush took.",
            round(writer.flush_ms / 1000, 6),
        )
        out.single(
            "netify_agent_last_flush_timestamp_seconds",
            "gauge",
            "When Redis took the latest flush, since the epoch.",
            writer.last_flush,
        )


def _fleet(forwarder: ForwarderStatus | None, out: Exposition) -> None:
    """The forwarder to a collector; nothing without one."""
    if forwarder is None:
        return
    for name, help_text, count in (
        ("fleet_messages", "Messages that the collector applied.", forwarder.messages),
        ("fleet_failures", "Failed exchanges with the collector.", forwarder.failures),
        ("fleet_sent_bytes", "Compressed bytes of messages to the collector.", forwarder.bytes_sent),
    ):
        out.single(f"netify_agent_{name}_total", "counter", help_text, count)
    out.single(
        "netify_agent_fleet_complete",
        "gauge",
        "Whether the collector had everything after the latest message.",
        int(forwarder.complete),
    )
    for name, help_text, number in (
        ("left_bytes", "History that the collector did not have yet, uncompressed.", forwarder.bytes_left),
        ("message_bytes", "Compressed bytes of the latest message.", forwarder.message_bytes),
        ("max_bits_per_second", "What messages may take, as configured.", forwarder.max_rate),
    ):
        if number is not None:
            out.single(f"netify_agent_fleet_{name}", "gauge", help_text, number)
    if forwarder.last_sent:
        out.single(
            "netify_agent_fleet_last_sent_timestamp_seconds",
            "gauge",
            "When the collector applied the latest message, since the epoch.",
            forwarder.last_sent,
        )


def _streams(listeners: list[ListenerStatus], out: Exposition) -> None:
    """The stream of each endpoint."""
    for name, help_text, counts in (
        ("connections", "Connections to netifyd so far.", [one.connections for one in listeners]),
        ("stream_bytes", "Bytes read from netifyd.", [one.bytes for one in listeners]),
        ("stream_records", "Records read from netifyd.", [one.records for one in listeners]),
        (
            "stream_repaired_records",
            "Records with text that is not UTF-8. They are used.",
            [one.repaired for one in listeners],
        ),
    ):
        out.family(
            f"netify_agent_{name}_total",
            "counter",
            help_text,
            [({"endpoint": one.endpoint}, count) for one, count in zip(listeners, counts, strict=True)],
        )
    out.family(
        "netify_agent_stream_drops_total",
        "counter",
        "Records, or runs of bytes without one, that were dropped from the stream, by reason.",
        [
            ({"endpoint": one.endpoint, "reason": reason}, one.drops.get(reason, 0))
            for one in listeners
            for reason in DROP_REASONS
        ],
    )
    out.family(
        "netify_agent_connected",
        "gauge",
        "Whether there is a connection to netifyd.",
        [({"endpoint": one.endpoint}, int(one.connected)) for one in listeners],
    )
    out.family(
        "netify_agent_last_record_timestamp_seconds",
        "gauge",
        "Arrival of the latest record, since the epoch.",
        [({"endpoint": one.endpoint}, one.last_record or None) for one in listeners],
    )


def _netifyd(listeners: list[ListenerStatus], out: Exposition) -> None:
    """The state of each connected netifyd. Packet counters go on over connections."""
    out.family(
        "netifyd_info",
        "gauge",
        "Version of netifyd, as reported by it.",
        [({"endpoint": one.endpoint, "version": one.agent}, 1) for one in listeners if one.connected],
    )
    for name, help_text, attribute in (
        ("netifyd_uptime_seconds", "Seconds since netifyd started, as reported by it.", "uptime_s"),
        ("netifyd_flows", "Flows that netifyd tracks.", "flows"),
        (
            "netifyd_memory_bytes",
            "Resident memory of netifyd; its peak where only that is reported (4.x).",
            "memory_bytes",
        ),
    ):
        out.family(
            name,
            "gauge",
            help_text,
            [({"endpoint": one.endpoint}, getattr(one.netifyd, attribute)) for one in listeners],
        )
    out.family(
        "netifyd_cpu_seconds_total",
        "counter",
        "CPU time of netifyd in seconds, as reported by it.",
        [
            ({"endpoint": one.endpoint, "mode": mode}, value)
            for one in listeners
            for mode, value in (("user", one.netifyd.cpu_user_s), ("system", one.netifyd.cpu_system_s))
        ],
    )
    interfaces = [
        ({"endpoint": one.endpoint, "interface": name}, counters)
        for one in listeners
        for name, counters in one.netifyd.interfaces.items()
    ]
    out.family(
        "netifyd_interface_packets_total",
        "counter",
        "Packets that netifyd captured since its first report on the interface.",
        [(labels, counters.packets) for labels, counters in interfaces],
    )
    out.family(
        "netifyd_interface_dropped_packets_total",
        "counter",
        "Packets that netifyd lost: the kernel's ring (capture), its own queue, libpcap (pcap).",
        [
            ({**labels, "reason": reason}, counters.dropped.get(reason))
            for labels, counters in interfaces
            for reason in DROPS
        ],
    )
