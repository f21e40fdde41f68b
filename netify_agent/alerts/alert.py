"""One alert as plain data, its text, and its form in Redis. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from typing import Any

FIRING, RESOLVED = "firing", "resolved"
#: Stands in ``text`` for the device or application, whose name is looked up when the text is shown.
WHO, COUNT = "{who}", "{count}"


@dataclass(frozen=True)
class Alert:
    """An alert that fires, or that fired and is resolved. Times are our clock, milliseconds since the epoch.

    :ivar id: 16 hex digits.
    :ivar name: its name in the configuration. An alert of one name may fire for several subjects.
    :ivar device, group, application, check: its subject, as far as it has one.
    :ivar count: subjects that it stands for; above 1 for a grouped alert: the most at any time.
    :ivar grouped: whether it stands for further subjects than those with alerts of their own.
    :ivar value: what was measured when it fired: bit/s of a rate, a risk score; None for other kinds.
    :ivar text: what happened, with :data:`WHO` and :data:`COUNT`.
    :ivar resolved_at: None while it fires.
    :ivar held_until: end of the quiet hours in which it fired; 0: it fired outside of them.
    :ivar receivers: the receivers that are notified of it.
    :ivar sent, failed: notifications that were delivered and those that were dropped undelivered, as
        :func:`notification_name` names them.
    """

    id: str
    name: str
    kind: str
    severity: str
    text: str
    started_at: int
    resolved_at: int | None = None
    device: str | None = None
    group: str | None = None
    application: str | None = None
    check: str | None = None
    count: int = 1
    grouped: bool = False
    value: int | None = None
    held_until: int = 0
    receivers: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """:data:`FIRING` or :data:`RESOLVED`."""
        return FIRING if self.resolved_at is None else RESOLVED

    def summary(self, device_name: Callable[[str], str | None] = lambda device: None) -> str:
        """What happened, in one line, with the name of the device."""
        begins = self.text.startswith(WHO) and self.application is None
        gateway = "The gateway" if begins else "the gateway"
        who = self.check or gateway
        if self.group is not None:
            who = f"{'Group' if begins else 'group'} {self.group}"
        if self.device is not None:
            name = device_name(self.device)
            who = f"{name} ({self.device})" if name and name != self.device else self.device
        if self.application is not None:
            who = self.application if who == gateway else f"{self.application} of {who}"
        text = self.text[:1].upper() + self.text[1:]  # but names are spelled as they are
        return text.replace(COUNT, f"{self.count:,}").replace(WHO, who)

    def encode(self) -> str:
        """The alert as JSON, without what has its default."""
        default = {one.name: one.default for one in fields(self)}
        members = {name: value for name, value in asdict(self).items() if value != default[name]}
        return _encode(members)

    @classmethod
    def decode(cls, text: str) -> Alert:
        """Read the result of :meth:`encode`. Raises ValueError or TypeError for anything else."""
        return cls.from_members(json.loads(text))

    @classmethod
    def from_members(cls, members: Any) -> Alert:
        """Read the decoded result of :meth:`encode`. Raises ValueError or TypeError for anything else."""
        if not isinstance(members, dict):
            raise ValueError("not an alert")
        for name, value in members.items():
            if not isinstance(value, _TYPES.get(name, str)):
                raise ValueError("not an alert")
        return cls(**{**members, **{name: tuple(members.get(name, ())) for name in _LISTS}})


_LISTS = ("receivers", "sent", "failed")
#: Types of the members that are not text.
_TYPES: dict[str, type] = {
    **dict.fromkeys(("started_at", "resolved_at", "count", "value", "held_until"), int),
    "grouped": bool,
    **dict.fromkeys(_LISTS, list),
}
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def notification_name(receiver: str, status: str) -> str:
    """Return the name of a notification, unique within its alert: the receiver and the status."""
    return f"{receiver}:{status}"


@dataclass(frozen=True)
class Notification:
    """A notification of one receiver about an alert.

    :ivar queued: when it was queued, by the run clock, milliseconds.
    :ivar hold_until: not to be sent before, our clock, milliseconds since the epoch.
    """

    receiver: str
    alert: Alert
    queued: int
    hold_until: int = 0

    @property
    def key(self) -> str:
        """Idempotency key: the same whenever this is sent again, so that the receiver can drop duplicates."""
        return f"{self.alert.id}-{self.alert.status}"

    @property
    def name(self) -> str:
        """Its field in Redis."""
        return f"{self.receiver}:{self.key}"

    def encode(self) -> str:
        """The notification as JSON, without what is in its name."""
        return f"[{self.queued},{self.hold_until},{self.alert.encode()}]"

    @classmethod
    def decode(cls, name: str, text: str) -> Notification:
        """Read :attr:`name` and the result of :meth:`encode`. Raises ValueError or TypeError."""
        queued, hold_until, members = json.loads(text)
        if type(queued) is not int or type(hold_until) is not int:
            raise ValueError("not a notification")
        return cls(name.partition(":")[0], Alert.from_members(members), queued, hold_until)


def alert_id(gateway: str, name: str, subject: str | None, at_ms: int) -> str:
    """The id of an alert that begins at ``at_ms``."""
    text = json.dumps((gateway, name, subject, at_ms))
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
