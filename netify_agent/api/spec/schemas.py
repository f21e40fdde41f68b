"""JSON Schemas of the API's answers. The order of properties is the order of keys in the answers."""

from __future__ import annotations

from typing import Any

from netify_agent.api.http.route import Schema
from netify_agent.enrich.risks import SEVERITIES

COUNT: Schema = {"type": "integer"}
POSITIVE: Schema = {"type": "integer", "minimum": 0}
TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
ADDRESS: Schema = {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
ADDRESS_OR_NULL: Schema = {"type": ["string", "null"], "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
MAC_OR_NULL: Schema = {"type": ["string", "null"], "pattern": "^([0-9a-f]{2}:){5}[0-9a-f]{2}$"}
DEVICE_NAME: Schema = {
    "type": "string",
    "description": "MAC address, the IP address of a device without one, or `other`",
}


def record(title: str | None, properties: dict[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """An object with exactly these keys.

    :param title: name of the schema in the OpenAPI document; None: it is written in place.
    :param optional: keys that may be missing.
    """
    schema: Schema = {"title": title} if title else {}
    required = [name for name in properties if name not in optional]
    return {
        **schema,
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def listing(items: Schema, **rules: Any) -> Schema:
    """An array of ``items``, with further JSON Schema keywords."""
    return {"type": "array", "items": items, **rules}


def table(values: Schema) -> Schema:
    """An object with arbitrary keys."""
    return {"type": "object", "additionalProperties": values}


GROUPS = listing(TEXT, description="Groups of the configuration that the device is in.")
_NAMED = {"name": TEXT_OR_NULL, "groups": GROUPS}
_VOLUME = {"bytes_up": COUNT, "bytes_down": COUNT, "packets_up": COUNT, "packets_down": COUNT}
_COUNTERS = {**_VOLUME, "flows": COUNT}
_RATED = {**_COUNTERS, "rate_up": POSITIVE, "rate_down": POSITIVE}
_SEEN = {"first_seen": TIME_OR_NULL, "last_seen": TIME_OR_NULL}

COUNTERS = record("Counters", _COUNTERS)
RATED = record("CountersAndRates", _RATED)

_APPLICATION = {"tag": TEXT, "name": TEXT, "category": TEXT_OR_NULL, **_RATED, **_SEEN}
APPLICATION = record("Application", _APPLICATION)
DEVICE_APPLICATION = record("DeviceApplication", {**_APPLICATION, "since": TIME_OR_NULL}, optional=("since",))
USER = record("User", {"device": DEVICE_NAME, "bytes": POSITIVE, **_NAMED})
USED_APPLICATION = record("UsedApplication", {**_APPLICATION, "devices": listing(USER)})
PROTOCOL = record("Protocol", {"name": TEXT, **_COUNTERS})

_DEVICE = {
    "mac": MAC_OR_NULL,
    "ip": ADDRESS_OR_NULL,
    "ips": listing(ADDRESS),
    **_NAMED,
    "vendor": TEXT_OR_NULL,
    "randomized": {"type": ["boolean", "null"]},
    "interface": TEXT_OR_NULL,
    **_SEEN,
    "active": FLAG,
    **_RATED,
    "applications": listing(DEVICE_APPLICATION),
}
DEVICE = record("Device", _DEVICE)
_RISK = {"id": POSITIVE, "name": TEXT, "severity": {"enum": [*SEVERITIES, None]}}
RISK = record("Risk", _RISK)
RISK_OF_DEVICE = record(
    "RiskOfDevice",
    {**_RISK, "flows": POSITIVE, "score": POSITIVE, "last_seen": TIME_OR_NULL},
)
ONE_DEVICE = record(
    "DeviceInDetail", {**_DEVICE, "protocols": listing(PROTOCOL), "risks": listing(RISK_OF_DEVICE)}
)

HEAD = {"gateway": TEXT, "generated_at": TIME_OR_NULL, "interval": POSITIVE}


def any_fields(element: Schema) -> Schema:
    """``element`` with all keys optional, since a client may select keys with ``fields``."""
    return {key: value for key, value in element.items() if key != "required"}


def page(title: str, name: str, element: Schema, beside: dict[str, Schema] | None = None) -> Schema:
    """A page of a list.

    :param title: name of the schema in the OpenAPI document.
    :param name: key of the list.
    :param element: schema of an element; clients may select its keys with ``fields``.
    :param beside: further keys, before the list.
    """
    return record(
        title,
        {
            **HEAD,
            **(beside or {}),
            name: listing(any_fields(element)),
            "total": POSITIVE,
            "next": {"type": ["string", "null"], "description": "`cursor` of the next page."},
        },
    )


NETWORK = page(
    "Network",
    "devices",
    DEVICE,
    {
        "totals": RATED,
        "unattributed": COUNTERS,
        "local": COUNTERS,
        "forgotten": COUNTERS,
        "active": POSITIVE,
    },
)
APPLICATIONS = page("Applications", "applications", USED_APPLICATION)
APPLICATION_USER = record("ApplicationUser", {"device": DEVICE_NAME, **_NAMED, **_RATED, **_SEEN})
APPLICATION_USERS = page("ApplicationUsers", "devices", APPLICATION_USER, {"application": APPLICATION})
USED_PROTOCOL = record("UsedProtocol", {"name": TEXT, **_COUNTERS, "devices": listing(USER)})
PROTOCOLS = page("Protocols", "protocols", USED_PROTOCOL)
CATEGORY = record(
    "Category", {"category": TEXT_OR_NULL, **_RATED, "applications": listing(TEXT), "devices": listing(USER)}
)
CATEGORIES = page("Categories", "categories", CATEGORY)

_PORT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 1, "maximum": 65535}
FLOW = record(
    "Flow",
    {
        "digest": TEXT,
        "endpoint": TEXT,
        "device": {**DEVICE_NAME, "type": ["string", "null"]},
        "device_name": TEXT_OR_NULL,
        "groups": GROUPS,
        "peer": {**DEVICE_NAME, "type": ["string", "null"]},
        "peer_name": TEXT_OR_NULL,
        "interface": TEXT_OR_NULL,
        "ip_version": {"enum": [4, 6, None]},
        "transport": TEXT_OR_NULL,
        "local_ip": ADDRESS_OR_NULL,
        "local_port": _PORT_OR_NULL,
        "other_ip": ADDRESS_OR_NULL,
        "other_port": _PORT_OR_NULL,
        "other_type": {"enum": ["remote", "local", "multicast", "broadcast", "unsupported", "error", None]},
        "local_origin": {"type": ["boolean", "null"]},
        "host": TEXT_OR_NULL,
        "application": TEXT,
        "application_name": TEXT,
        "category": TEXT_OR_NULL,
        "protocol": TEXT,
        "risk_score": POSITIVE,
        "risks": listing(RISK),
        **_SEEN,
        "active": FLAG,
        **_VOLUME,
    },
)
FLOWS = page("Flows", "flows", FLOW)

_SHARE = record("BucketOfApplication", {"tag": TEXT, "bytes_up": COUNT, "bytes_down": COUNT})
BUCKET = record(
    "Bucket",
    {"start": TIME, "end": TIME, **_VOLUME, "applications": listing(_SHARE)},
    optional=("applications",),
)
HISTORY = record("History", {"gateway": TEXT, "resolution": POSITIVE, "buckets": listing(BUCKET)})
DEVICE_HISTORY = record(
    "DeviceHistory",
    {"gateway": TEXT, "device": DEVICE_NAME, "resolution": POSITIVE, "buckets": listing(BUCKET)},
)

CHECKS = record(None, {"netifyd": TEXT, "redis": TEXT, "flushes": TEXT, "sums": TEXT})
HEALTH = record("Health", {"status": {"enum": ["ok", "stuck"]}, "checks": table(TEXT)})
READINESS = record("Readiness", {"status": {"enum": ["ready", "unready"]}, "checks": CHECKS})

_NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
_COUNT_OR_NULL: Schema = {"type": ["integer", "null"]}
_NETIFYD = record(
    "Netifyd",
    {
        "uptime_s": _COUNT_OR_NULL,
        "flows": _COUNT_OR_NULL,
        "memory_bytes": _COUNT_OR_NULL,
        "cpu_user_s": _NUMBER_OR_NULL,
        "cpu_system_s": _NUMBER_OR_NULL,
        "interfaces": table(record(None, {"packets": POSITIVE, "dropped": table(POSITIVE)})),
    },
)
_LISTENER = record(
    "Listener",
    {
        "endpoint": TEXT,
        "connected": FLAG,
        "connections": POSITIVE,
        "connected_since": TIME_OR_NULL,
        "error": TEXT_OR_NULL,
        "last_record": TIME_OR_NULL,
        "records": POSITIVE,
        "bytes": POSITIVE,
        "repaired": POSITIVE,
        "drops": table(POSITIVE),
        "agent": TEXT_OR_NULL,
        "netifyd": _NETIFYD,
        "unknown_types": listing(TEXT),
        "lag_s": _NUMBER_OR_NULL,
    },
)
STATUS = record(
    "Status",
    {
        "version": TEXT,
        "gateway": TEXT,
        "started_at": TIME,
        "uptime_s": POSITIVE,
        "interval": POSITIVE,
        "checks": CHECKS,
        "listeners": listing(_LISTENER),
        "accounting": record(
            None,
            {
                "live_flows": POSITIVE,
                "pending_changes": POSITIVE,
                "devices": POSITIVE,
                "max_devices": POSITIVE,
                "devices_full": FLAG,
                "records": table(POSITIVE),
                "rejected": table(POSITIVE),
                "counters": {"type": ["object", "null"], "additionalProperties": COUNT},
                "left_out": {"type": ["object", "null"], "additionalProperties": COUNT},
                "interfaces": listing(
                    record(
                        "CapturePoint",
                        {
                            "endpoint": TEXT,
                            "name": TEXT,
                            "role": {"enum": ["lan", "wan", None]},
                            "counted": FLAG,
                        },
                    )
                ),
            },
        ),
        "flushes": record(
            None,
            {
                "restored": FLAG,
                "sequence": POSITIVE,
                "last_flush": TIME_OR_NULL,
                "flush_ms": _NUMBER_OR_NULL,
                "flushes": POSITIVE,
                "failures": POSITIVE,
                "repeated": POSITIVE,
                "lost": POSITIVE,
                "pending": POSITIVE,
                "finished": FLAG,
                "error": TEXT_OR_NULL,
                "warning": TEXT_OR_NULL,
                "inconsistency": TEXT_OR_NULL,
            },
        ),
        "alerts": record(None, {"configured": POSITIVE, "active": POSITIVE}),
        "receivers": listing(
            record(
                "Receiver",
                {
                    "name": TEXT,
                    "waiting": POSITIVE,
                    "sent": POSITIVE,
                    "failures": POSITIVE,
                    "given_up": POSITIVE,
                    "last_sent": TIME_OR_NULL,
                    "error": TEXT_OR_NULL,
                },
            )
        ),
        "fleet": {
            "oneOf": [
                record(
                    "Forwarder",
                    {
                        "messages": POSITIVE,
                        "failures": POSITIVE,
                        "bytes_sent": POSITIVE,
                        "message_bytes": POSITIVE,
                        "max_rate": _COUNT_OR_NULL,
                        "last_sent": TIME_OR_NULL,
                        "complete": FLAG,
                        "bytes_left": POSITIVE,
                        "error": TEXT_OR_NULL,
                    },
                ),
                {"type": "null"},
            ]
        },
        "web": record(None, {"queue": POSITIVE, "event_clients": POSITIVE}),
    },
)

_ALERT = {
    "id": TEXT,
    "alert": TEXT,
    "kind": {"enum": ["rate", "new_device", "silent", "risk", "health", "plan"]},
    "severity": {"enum": ["info", "warning", "critical"]},
    "status": {"enum": ["firing", "resolved"]},
    "summary": TEXT,
    "device": {**DEVICE_NAME, "type": ["string", "null"]},
    "device_name": TEXT_OR_NULL,
    "group": TEXT_OR_NULL,
    "application": TEXT_OR_NULL,
    "check": TEXT_OR_NULL,
    "grouped": FLAG,
    "count": POSITIVE,
    "value": _COUNT_OR_NULL,
    "started_at": TIME_OR_NULL,
    "resolved_at": TIME_OR_NULL,
}
NOTIFICATION = record(
    None,
    {
        "receiver": TEXT,
        "firing": {"enum": ["held", "waiting", "sent", "failed", None]},
        "resolved": {"enum": ["waiting", "sent", "failed", None]},
    },
)
EVENT_ALERT = record("AlertEvent", _ALERT)
ALERT = record("Alert", {**_ALERT, "notifications": listing(NOTIFICATION)})
ALERTS = page("Alerts", "alerts", ALERT)

CHANGES = record(
    "Changes",
    {
        "sequence": POSITIVE,
        "generated_at": TIME_OR_NULL,
        "interval": POSITIVE,
        "totals": RATED,
        "devices": listing(
            record(
                "ChangedDevice",
                {
                    "device": DEVICE_NAME,
                    "mac": MAC_OR_NULL,
                    "ip": ADDRESS_OR_NULL,
                    **_NAMED,
                    "active": FLAG,
                    "last_seen": TIME_OR_NULL,
                    **_RATED,
                },
            )
        ),
    },
    optional=("devices",),
)
# One event; those of alerts have no id. OpenAPI 3.1 cannot describe a stream of events.
PROBLEM = {
    "title": "Problem",
    "description": "RFC 9457",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": TEXT,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": TEXT,
        "parameter": {"type": "string", "description": "Name of the wrong parameter."},
    },
    "required": ["type", "title", "status", "detail"],
    "additionalProperties": False,
}
