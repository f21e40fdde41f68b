"""The form in which a gateway's store is copied to a collector: items, and messages of changed items. No I/O.

The copied part of a store is divided into *items*. An item is the absolute content of a few keys:

* ``head``: the gateway's own rows, the state of the history, the list of devices, and those settings of the
  gateway that its answers depend on; in every message,
* ``device:<device>``: the rows of a device,
* ``open:<start>``: the open buckets of all series,
* ``chunk:<step>:<start>``: the chunks of all series, as they are stored.

Each item has a digest. The collector stores the digests beside the contents, so that a gateway finds out by
comparison what to send. See docs/fleet.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netify_agent.store.layout import COUNTERS, FIRST_SEEN, GATEWAY, LAST_SEEN, OPEN, Keys, Unit

HEAD = "head"
VERSION = 1  # of messages
_DEVICE, _OPEN, _CHUNK = "device:", "open:", "chunk:"
_MAX_TTL_S = 100 * 366 * 86_400
_INTEGER = re.compile(r"-?[0-9]{1,30}")
_NUMBER = re.compile(r"[0-9]{1,12}")
_POSITION = re.compile(r"[0-9a-f]{32}")
_TEXTS = frozenset(("interface", "hint"))  # fields of a device's row that are no integers
_ROWS = frozenset((*COUNTERS, "lu", "ld", FIRST_SEEN, LAST_SEEN))


class Invalid(ValueError):
    """The text is no message. It says what was expected."""


@dataclass
class Content:
    """The content of an item.

    :ivar hashes: name of a hash to its fields. :func:`places` says which names an item has.
    :ivar scores: name of a sorted set to its members.
    :ivar sets: name of a set to its members, sorted.
    :ivar chunks: series to its chunk.
    """

    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    scores: dict[str, dict[str, int]] = field(default_factory=dict)
    sets: dict[str, list[str]] = field(default_factory=dict)
    chunks: dict[str, bytes] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The content as JSON has it."""
        return {
            "hashes": self.hashes,
            "scores": self.scores,
            "sets": self.sets,
            "chunks": {name: base64.b64encode(data).decode() for name, data in self.chunks.items()},
        }

    def digest(self) -> str:
        """A digest of the content: 32 hexadecimal digits."""
        text = json.dumps(self.document(), sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass
class Message:
    """What a gateway sends at once. It is applied whole, or not at all.

    :ivar base: the position that the collector must have; empty: none.
    :ivar position: the position that it has afterwards, chosen at random.
    :ivar at_ms: the gateway's clock at the flush that the contents belong to, milliseconds since the epoch.
    :ivar elapsed_ms: the time since the flush before.
    :ivar items: id to the content of items that changed, and of the head.
    :ivar ttl_s: id of a ``chunk:`` item that is closed to the time that it is kept from now on; others are
        kept until they are closed.
    :ivar gone: ids of items that no longer exist.
    """

    base: str
    position: str
    at_ms: int
    elapsed_ms: int
    items: dict[str, Content]
    ttl_s: dict[str, int] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def digest(self, item: str) -> str:
        """The digest of one of ``items``. It changes with the content, and when a chunk is closed."""
        return self.items[item].digest() + ("-closed" if item in self.ttl_s else "")

    def encode(self) -> bytes:
        """The message as JSON in UTF-8."""
        document = {
            "version": VERSION,
            **{
                name: getattr(self, name)
                for name in ("base", "position", "at_ms", "elapsed_ms", "ttl_s", "gone")
            },
            "items": {name: content.document() for name, content in self.items.items()},
        }
        return json.dumps(document, separators=(",", ":")).encode()


def device_item(device: str) -> str:
    """The id of a device's item."""
    return _DEVICE + device


def unit_item(unit: Unit) -> str:
    """The id of the item of a chunk, or of open buckets."""
    step, start = unit
    return f"{_OPEN}{start}" if step == OPEN else f"{_CHUNK}{step}:{start}"


def device_of(item: str) -> str | None:
    """The device whose item it is; None for another item."""
    return item[len(_DEVICE) :] if item.startswith(_DEVICE) else None


def unit_of(item: str) -> Unit | None:
    """The unit whose item it is; None for another item."""
    kind, _, rest = item.partition(":")
    numbers = rest.split(":")
    if kind + ":" not in (_OPEN, _CHUNK) or len(numbers) != (1 if kind == "open" else 2):
        return None
    if not all(map(_NUMBER.fullmatch, numbers)):
        return None
    step, start = (OPEN, int(numbers[0])) if kind == "open" else (int(numbers[0]), int(numbers[1]))
    return None if kind == "chunk" and step == OPEN else (step, start)


@dataclass(frozen=True)
class Places:
    """The keys of an item by the names that its content uses."""

    hashes: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)


def places(keys: Keys, item: str) -> Places | None:
    """The keys of the head or of a device's item; None for another item, whose names are series."""
    if item == HEAD:
        return Places(
            {
                "totals": keys.totals(GATEWAY),
                "applications": keys.applications(GATEWAY),
                "protocols": keys.protocols(GATEWAY),
                "rates": keys.rates,
                "unattributed": keys.unattributed,
                "mirrored": keys.mirrored,
                "forgotten": keys.forgotten,
                "categories": keys.categories,
                "history": keys.history,
                "numbers": keys.history_applications,
                "settings": keys.copy_settings,
            },
            {"devices": keys.devices},
            {"series": keys.history_series},
        )
    device = device_of(item)
    if device is None:
        return None
    return Places(
        {
            "totals": keys.totals(device),
            "applications": keys.applications(device),
            "protocols": keys.protocols(device),
        },
        {"addresses": keys.addresses(device)},
    )


# -- what a collector reads ----------------------------------------------------------------------------------


def decode(data: bytes) -> Message:
    """Decode a message, which is untrusted input. Raises Invalid."""
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("version") != VERSION:
            raise Invalid(f"expected a message of version {VERSION}")
        message = Message(
            _text(document["base"]),
            _text(document["position"]),
            _integer(document["at_ms"]),
            _integer(document["elapsed_ms"]),
            {_item(name): _content(name, content) for name, content in _pairs(document["items"])},
            {_item(name): min(max(_integer(ttl), 1), _MAX_TTL_S) for name, ttl in _pairs(document["ttl_s"])},
            [_item(name) for name in _texts(document["gone"])],
        )
    except Invalid:
        raise
    except (KeyError, ValueError, RecursionError) as error:
        raise Invalid(f"expected a message, found something else ({error})") from None
    if not _POSITION.fullmatch(message.position) or (message.base and not _POSITION.fullmatch(message.base)):
        raise Invalid("expected positions of 32 hexadecimal digits")
    if HEAD not in message.items or HEAD in message.gone:
        raise Invalid("expected the head in each message")
    return message


def _content(item: str, document: Any) -> Content:
    content = Content(
        {name: _fields(fields) for name, fields in _pairs(document["hashes"])},
        {
            name: {member: _integer(score) for member, score in _pairs(members)}
            for name, members in _pairs(document["scores"])
        },
        {name: _texts(members) for name, members in _pairs(document["sets"])},
        {name: base64.b64decode(_text(data), validate=True) for name, data in _pairs(document["chunks"])},
    )
    known = places(_NO_KEYS, item)
    if known is None:
        unit = unit_of(item)
        allowed = content.hashes.keys() if unit is not None and unit[0] == OPEN else ()
        fitting = content.hashes.keys() <= set(allowed) and not content.scores and not content.sets
        fitting &= unit is not None and (unit[0] != OPEN or not content.chunks)
    else:
        fitting = (
            content.hashes.keys() <= known.hashes.keys()
            and content.scores.keys() <= known.scores.keys()
            and content.sets.keys() <= known.sets.keys()
            and not content.chunks
        )
    if not fitting:
        raise Invalid(f"expected the keys of {item[:100]}, found others")
    for name, fields in content.hashes.items():
        if name not in ("rates", "history", "settings"):
            _check_counters(item, name, fields)
    _check_head(content)
    return content


def _check_counters(item: str, name: str, fields: Mapping[str, str]) -> None:
    """Check what readers convert to numbers. Raises Invalid."""
    is_table = name in ("categories", "numbers")
    for key, value in fields.items():
        if is_table or key.partition(":")[0] in _ROWS:
            if not _INTEGER.fullmatch(value):
                raise Invalid(f"{item[:100]}: {key[:100]}: expected an integer")
        elif key not in _TEXTS:
            raise Invalid(f"{item[:100]}: expected no field {key[:100]}")


def _check_head(content: Content) -> None:
    """Check the JSON that readers decode. Raises Invalid."""
    for text in content.hashes.get("rates", {}).values():
        total, rows = _two(json.loads(text))
        for pair in (total, *(pair for _, pair in _pairs(rows))):
            for rate in _two(pair):
                _number(rate)
    history = content.hashes.get("history", {})
    for unit in _list(json.loads(history.get("due", "[]"))):
        for number in _two(unit):
            _integer(number)
    for step, since in _pairs(json.loads(history.get("since", "{}"))):
        if not _NUMBER.fullmatch(step):
            raise Invalid("expected steps in seconds")
        _integer(since)


_NO_KEYS = Keys("any")


def _item(name: str) -> str:
    if name != HEAD and not device_of(name) and unit_of(name) is None:
        raise Invalid(f"expected the name of an item, found '{name[:100]}'")
    return name


def _two(value: Any) -> list[Any]:
    found = _list(value)
    if len(found) != 2:
        raise Invalid("expected two values")
    return found


def _pairs(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise Invalid("expected an object")
    return list(value.items())


def _fields(value: Any) -> dict[str, str]:
    return {name: _text(text) for name, text in _pairs(value)}


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Invalid("expected a list")
    return value


def _texts(value: Any) -> list[str]:
    return [_text(text) for text in _list(value)]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Invalid("expected a text")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Invalid("expected an integer")
    if abs(value) >= 1 << 62:
        raise Invalid("expected a smaller integer")
    return value


def _number(value: Any) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise Invalid("expected a number")
