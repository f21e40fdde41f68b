"""The form in which a gateway's store is copied to a collector: items and their contents. No I/O.

The copied part of a store is divided into *items*. An item is the absolute content of a few keys:

* ``head``: the gateway's own rows, the state of the history, devices with their names, alerts, plans, and
  those settings of the gateway that its answers depend on; in every message,
* ``device:<device>``: the rows of a device,
* ``open:<start>``: the open buckets of all series,
* ``chunk:<step>:<start>``: the chunks of all series, as they are stored.

Each item has a digest. The collector stores the digests beside the contents, so that a gateway finds out by
comparison what to send. See docs/fleet.md.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netify_agent.store.history_blocks import plain, unpacked_size
from netify_agent.store.layout import ALL_COUNTERS, FIRST_SEEN, GATEWAY, LAST_SEEN, OPEN, Keys, Unit
from netify_agent.store.replica_columns import Invalid
from netify_agent.store.replica_rows import SCORE, Rows, fields_of, rows_of, scores_of

HEAD = "head"
MAX_SERIES = 200_000  # of a gateway
MAX_UNPACKED = 256 << 20  # bytes of all chunks of a message
_DEVICE, _OPEN, _CHUNK = "device:", "open:", "chunk:"
_NUMBER = re.compile(r"[0-9]{1,12}")
_HINTS = ("interface", "hint")  # fields of a device's row that are no numbers
_CODES = frozenset((*ALL_COUNTERS, FIRST_SEEN, LAST_SEEN))
_CLOSED = "-closed"


@dataclass
class Content:
    """The content of an item. :func:`places` says which names it has.

    :ivar rows: name of a hash, set or sorted set to its numbers; of open buckets: series to them.
    :ivar texts: name of a hash to the fields that are no numbers.
    :ivar rates: device to its rates; the gateway has the empty name.
    :ivar chunks: series to its chunk.
    """

    rows: dict[str, Rows] = field(default_factory=dict)
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    rates: dict[str, Rows] = field(default_factory=dict)
    chunks: dict[str, bytes] = field(default_factory=dict)

    def digest(self, is_closed: bool = False) -> str:
        """A digest of the content: 32 hexadecimal digits, and whether it is that of closed chunks.

        Of chunks it covers the records, not how they are compressed.
        """
        chunks = {
            name: hashlib.blake2b(plain(data), digest_size=16).hexdigest()
            for name, data in self.chunks.items()
        }
        content = (self.rows, self.texts, self.rates, chunks)
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest() + (_CLOSED if is_closed else "")


def is_closed(digest: str) -> bool:
    """Whether the digest is that of closed chunks, which mostly stay as they are."""
    return digest.endswith(_CLOSED)


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


def units_of(items: Iterable[str]) -> list[Unit]:
    """The units among items, in order."""
    return sorted(unit for unit in map(unit_of, items) if unit is not None)


def check_item(name: str) -> str:
    """Return the name of an item. Raises Invalid: it is no such name, or that of the head."""
    if not device_of(name) and unit_of(name) is None:
        raise Invalid(f"expected the name of an item, found '{name[:100]}'")
    return name


@dataclass(frozen=True)
class Places:
    """The keys of an item by the names that its content uses.

    :ivar counters: hashes with the fields ``code`` and ``code:row``; :ivar numbers: hashes of a number each.
    :ivar texts: hashes, or the fields of ``counters`` of that name that are no numbers.
    """

    counters: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


def places(keys: Keys, item: str) -> Places | None:
    """The keys of the head or of a device's item; None for another item, whose names are series."""
    if item == HEAD:
        return Places(
            counters={
                "totals": keys.totals(GATEWAY),
                "applications": keys.applications(GATEWAY),
                "protocols": keys.protocols(GATEWAY),
                "unattributed": keys.unattributed,
                "mirrored": keys.mirrored,
                "forgotten": keys.forgotten,
            },
            numbers={
                "categories": keys.categories,
                "numbers": keys.history_applications,
                "used": keys.copy_used,
            },
            scores={"devices": keys.devices},
            sets={"series": keys.history_series},
            texts={
                "history": keys.history,
                "settings": keys.copy_settings,
                "names": keys.copy_names,
                "plans": keys.copy_plans,
                "alerts": keys.alerts,
            },
        )
    device = device_of(item)
    if device is None:
        return None
    return Places(
        counters={
            "totals": keys.totals(device),
            "applications": keys.applications(device),
            "protocols": keys.protocols(device),
        },
        scores={"addresses": keys.addresses(device)},
        texts={"totals": keys.totals(device)},
    )


def counters(fields: Mapping[str, str]) -> tuple[Rows, dict[str, str]]:
    """The numbers and the texts of a hash with counters. Raises ValueError."""
    texts = {name: fields[name] for name in _HINTS if name in fields}
    return rows_of({name: value for name, value in fields.items() if name not in texts}), texts


def written(content: Content, name: str, found: Places) -> dict[str, str]:
    """The fields of the hash ``name``."""
    rows = content.rows.get(name, {})
    if name in found.numbers:
        return {row: str(numbers[SCORE]) for row, numbers in rows.items()}
    return {**fields_of(rows), **content.texts.get(name, {})}


def numbers(fields: Mapping[str, Any]) -> Rows:
    """The rows of a hash of numbers, of a sorted set, or of a set whose members have 0. Raises ValueError."""
    return scores_of({name: int(value) for name, value in fields.items()})


# -- what a collector checks ---------------------------------------------------------------------------------


def check(item: str, content: Content) -> None:
    """Check that readers can use the content that a stranger may have sent. Raises Invalid."""
    found = places(Keys("any"), item)
    singles = () if found is None else (*found.numbers, *found.scores, *found.sets)
    for name, rows in content.rows.items():
        codes = frozenset((SCORE,)) if name in singles else _CODES
        for row in rows.values():
            if not row.keys() <= codes:
                raise Invalid(f"{item[:100]}: expected other numbers in {name[:100]}")
            if any(abs(number) >> 62 for number in row.values()):
                raise Invalid(f"{item[:100]}: expected smaller numbers in {name[:100]}")
    for rows in content.rates.values():
        if any(row.keys() != {"ru", "rd"} for row in rows.values()) or GATEWAY not in rows:
            raise Invalid("expected rates up and down")
    if item == HEAD:
        if any(len(content.rows[name]) > MAX_SERIES for name in ("devices", "series")):
            raise Invalid(f"expected at most {MAX_SERIES} devices and series")
        _check_history(content.texts.get("history", {}))
    elif not content.texts.get("totals", {}).keys() <= set(_HINTS):
        raise Invalid(f"{item[:100]}: expected other fields")


def check_sizes(contents: Mapping[str, Content]) -> None:
    """Check that chunks do not unpack to more than readers can read in time. Raises Invalid."""
    left = MAX_UNPACKED
    for item, content in contents.items():
        for data in content.chunks.values():
            size = unpacked_size(data)
            left -= size or 0
            if size is None or left < 0:
                raise Invalid(f"{item[:100]}: expected smaller chunks")


def _check_history(fields: Mapping[str, str]) -> None:
    """Check the JSON that readers decode. Raises Invalid."""
    try:
        due = json.loads(fields.get("due", "[]"))
        since = json.loads(fields.get("since", "{}"))
        fitting = isinstance(due, list) and isinstance(since, dict)
        fitting = fitting and all(isinstance(unit, list) and len(unit) == 2 for unit in due)
        fitting = fitting and all(map(_NUMBER.fullmatch, since))
        fitting = fitting and all(
            map(_is_integer, (*since.values(), *(part for unit in due for part in unit)))
        )
        fitting = fitting and _NUMBER.fullmatch(fields.get("numbers", "0")) is not None
    except (ValueError, RecursionError):
        fitting = False
    if not fitting:
        raise Invalid("expected the state of the history")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and not abs(value) >> 62
