"""The settings of ``alerts:``: the configured rules.

Each kind of alert is a class. Names of receivers and groups are checked in ``settings``.
"""

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import yaml

from netify_agent.config import types, yaml_reader
from netify_agent.config.device_types import group_name, mac_address
from netify_agent.config.yaml_reader import Conflict, Expected, one_of, parsed, reads, section

MAX_ALERTS = 100
EACH = "each"  #: in place of the name of a device or application: each one by itself
NETIFYD = "netifyd"  #: in place of the name of a device: each endpoint of netifyd
SEVERITIES = ("info", "warning", "critical")
DIRECTIONS = ("both", "up", "down")
CHECKS = ("netifyd", "redis", "flushes", "sums", "lost")
MAX_SCORE = 65535

_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True)
class QuietHours:
    """A part of each day, in minutes since midnight of the calendar's zone. It may pass midnight."""

    begin: int
    end: int


@dataclass(frozen=True)
class Reference:
    """A name that another section defines, a receiver or a group, and the line that it is used in."""

    name: str
    line: int = field(default=0, compare=False)


def quiet_hours(text: str) -> QuietHours:
    """Read ``22:00-07:00``. Raises Expected."""
    match = _WINDOW.fullmatch(text)
    hours = QuietHours(*(int(match[i]) * 60 + int(match[i + 1]) for i in (1, 3))) if match else None
    if hours is None or hours.begin == hours.end:
        raise Expected("a part of the day such as 22:00-07:00")
    return hours


def device_or(*others: str) -> Callable[[str], str]:
    """Return a parser of a MAC or IP address, in the spelling of the store, that also accepts ``others``."""

    def parse(text: str) -> str:
        if text in others:
            return text
        mac = mac_address(text)
        if mac is not None:
            return mac
        try:
            family = socket.AF_INET6 if ":" in text else socket.AF_INET
            return socket.inet_ntop(family, socket.inet_pton(family, text))
        except (OSError, ValueError):
            also = ", or ".join(("a MAC address", "the IP address of a device without one", *others))
            raise Expected(also) from None

    return parse


def application(text: str) -> str:
    """Read the tag of an application, or ``each``. Raises Expected."""
    if not 1 <= len(text) <= 256:
        raise Expected("the tag of an application such as netify.netflix, or each")
    return text


def reference(parse: Callable[[str], str]) -> yaml_reader.Reader[Reference]:
    """Return a reader of a name that ``parse`` accepts."""

    def read(node: yaml.Node) -> Reference:
        return Reference(parsed(parse)(node), yaml_reader.line_of(node))

    return read


def _duration(least_s: int) -> yaml_reader.Reader[int]:
    return parsed(types.duration(least_s))


@dataclass(frozen=True)
class Alert:
    """What all kinds have in common.

    :ivar quiet: when no notification is sent; None: never.
    :ivar notify: receivers; None: all.
    """

    kind: ClassVar[str]

    severity: str = field(default="warning", metadata=reads(parsed(one_of(*SEVERITIES))))
    quiet: QuietHours | None = field(default=None, metadata=reads(yaml_reader.optional(parsed(quiet_hours))))
    notify: tuple[Reference, ...] | None = field(
        default=None, metadata=reads(yaml_reader.optional(yaml_reader.list_of(reference(types.plain_name))))
    )


@dataclass(frozen=True)
class RateAlert(Alert):
    """A rate above ``above`` bit/s for ``for_s`` seconds, of gateway, device, group or application.

    :ivar device: its name, :data:`EACH`, or None for all together; ``group`` and ``application`` likewise.
        A ``group`` beside :data:`EACH` limits the devices to those of the group.
    """

    kind = "rate"

    above: int = field(default=0, metadata=reads(parsed(types.bit_rate), required=True))
    for_s: int = field(default=300, metadata=reads(_duration(1), "for"))
    direction: str = field(default="both", metadata=reads(parsed(one_of(*DIRECTIONS))))
    device: str | None = field(default=None, metadata=reads(yaml_reader.optional(parsed(device_or(EACH)))))
    group: Reference | None = field(default=None, metadata=reads(yaml_reader.optional(reference(group_name))))
    application: str | None = field(default=None, metadata=reads(yaml_reader.optional(parsed(application))))


def _one_subject(alert: RateAlert) -> Conflict | None:
    group = alert.group and alert.group.name
    if alert.device is not None and group is not None and (alert.device != EACH or group == EACH):
        text = "expected one of device and group, found both (only device: each takes the name of a group)"
        return Conflict(("group", "device"), text)
    if alert.application != EACH:
        return None
    for key, name in (("device", alert.device), ("group", group)):
        if name == EACH:
            text = f"expected the tag of an application beside {key}: each"
            return Conflict(("application", key), text)
    return None


@dataclass(frozen=True)
class NewDeviceAlert(Alert):
    """A device that was not known.

    :ivar resolve_after_s: how long the alert lasts.
    :ivar learn_s: time after the creation of the store in which new devices are not reported.
    """

    kind = "new_device"

    resolve_after_s: int = field(default=86400, metadata=reads(_duration(60), "resolve_after"))
    learn_s: int = field(default=86400, metadata=reads(_duration(0), "learn"))


@dataclass(frozen=True)
class SilentAlert(Alert):
    """No record of a device, or of an endpoint of netifyd (:data:`NETIFYD`), for ``for_s`` seconds."""

    kind = "silent"

    device: str = field(default="", metadata=reads(parsed(device_or(NETIFYD)), required=True))
    for_s: int = field(default=900, metadata=reads(_duration(60), "for"))


@dataclass(frozen=True)
class RiskAlert(Alert):
    """A device with a flow of at least the risk score ``score``.

    :ivar resolve_after_s: how long after the last record of such a flow the alert lasts.
    """

    kind = "risk"

    score: int = field(default=1, metadata=reads(yaml_reader.integer(1, MAX_SCORE), required=True))
    resolve_after_s: int = field(default=3600, metadata=reads(_duration(60), "resolve_after"))


@dataclass(frozen=True)
class HealthAlert(Alert):
    """A check of the agent itself that fails for ``for_s`` seconds."""

    kind = "health"

    for_s: int = field(default=120, metadata=reads(_duration(1), "for"))
    checks: tuple[str, ...] = field(
        default=CHECKS, metadata=reads(yaml_reader.list_of(parsed(one_of(*CHECKS)), least=1))
    )


Alerts = dict[str, Alert]

read_alerts: yaml_reader.Reader[Alerts] = yaml_reader.mapping_of(
    parsed(types.plain_name),
    yaml_reader.variants(
        "kind",
        {
            RateAlert.kind: section(RateAlert, _one_subject),
            NewDeviceAlert.kind: section(NewDeviceAlert),
            SilentAlert.kind: section(SilentAlert),
            RiskAlert.kind: section(RiskAlert),
            HealthAlert.kind: section(HealthAlert),
        },
    ),
    "names of alerts with their keys, such as busy: {kind: rate, above: 80 Mbit/s}",
    MAX_ALERTS,
    "names",
)
