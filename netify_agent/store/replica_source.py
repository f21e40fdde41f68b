"""Reads at a gateway what a collector does not have yet, as messages. Writes nothing."""

from __future__ import annotations

import base64
import json
import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from netify_agent.store.client import Client, StoreError
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import FORGOTTEN, Keys, Unit
from netify_agent.store.query import FlushStamp, Query, retry_when_flushed
from netify_agent.store.replica import HEAD, Content, device_of, is_closed, unit_item
from netify_agent.store.replica_coder import Names
from netify_agent.store.replica_contents import ContentReader
from netify_agent.store.replica_message import Header, encode
from netify_agent.store.replica_rows import SCORE, scores_of

MAX_HISTORY = 1 << 18  # bytes of closed chunks in one message, but at least one chunk
MAX_DUE = (
    1 << 22
)  # bytes of other chunks that the collector has no earlier state of; an hour of 4,000 devices
_NEWEST = 2  # closed chunks of each step that each message compares: those that late records belong to
_IN_TURN = 8  # older ones that it compares, so that all are compared within two hours


class NotYet(StoreError):
    """There is nothing that can be copied: no flush so far, or a store that is still migrated."""


class Known(NamedTuple):
    """What a collector has of this gateway.

    :ivar position: the latest message; empty: none.
    :ivar digests: item to its digest.
    :ivar contents: item to its content, packed, if this process sent it and it will change again.
    :ivar left: bytes of closed chunks that were left for later messages; None: it is not known.
    :ivar turn: the closed chunk that was compared last; see :data:`_IN_TURN`.
    """

    position: str = ""
    digests: Mapping[str, str] = {}
    contents: Mapping[str, bytes] = {}
    left: int | None = None
    turn: Unit = (0, 0)

    @property
    def complete(self) -> bool:
        """Whether the collector has everything."""
        return self.left == 0


class Seen(NamedTuple):
    """What the store knows of a device: its addresses, the latest first, and the name that it announced."""

    ips: Sequence[str]
    hint: str | None


class Told(NamedTuple):
    """What a message says that is not in the store.

    :ivar names: device to its name, groups and vendor.
    :ivar plans: plan to how it stands; :ivar used: plan and whom to the bytes that were used.
    """

    names: Mapping[str, str] = {}
    plans: Mapping[str, str] = {}
    used: Mapping[str, int] = {}


class ReplicaSource:
    """The store of one gateway. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(
        self,
        client: Client,
        gateway: str,
        steps: HistorySteps,
        settings: Mapping[str, str],
        max_history: int = MAX_HISTORY,
        tell: Callable[[Mapping[str, Seen]], Told] = lambda devices: Told(),
    ) -> None:
        """Sends nothing yet.

        :param settings: what the head says of the gateway's settings.

        :param tell: what a message says that is not in the store, by the devices. Raises NotYet.

        :param max_history: bytes of closed chunks in a message. The next one has the other changed chunks.
        """
        self._client = client
        self._keys = Keys(gateway)
        self._contents = ContentReader(client, self._keys)
        self._steps = steps
        self._settings = dict(settings)
        self._max_history = max_history
        self._tell = tell

    @retry_when_flushed
    def message(self, known: Known) -> tuple[bytes, Known]:
        """What the collector lacks, of the state after one flush.

        :returns: the message, and what the collector has once it is applied.
        :raises NotYet: if the store has nothing to be copied.
        """
        head, due, flush, elapsed_ms = self._head()
        draft = _Draft(known)
        devices, seen = sorted(head.rows["devices"]), {}
        for item, content in self._contents.devices(flush, devices):
            draft.add(item, content, content.digest())
            seen[device_of(item) or ""] = _seen(content)
        told = self._tell(seen)
        head.texts |= {"names": dict(told.names), "plans": dict(told.plans)}
        head.rows["used"] = scores_of(told.used)
        draft.add(HEAD, head, "")
        gone = {item for item in known.digests if device_of(item) is not None} - draft.digests.keys()
        before = draft.before(HEAD).rows.get(FORGOTTEN)
        is_any = bool(gone) or not known.complete or before != head.rows[FORGOTTEN]
        turn, at = known.turn, flush.at_ms // 1000
        series = [*devices, *head.rows["series"]]
        closed = self._closed(flush, due, at)
        if is_any:
            compared = set(closed)
        else:
            compared = self._compared(closed, known.turn)
            turn = max(compared.difference(self._newest(closed)), default=known.turn)
        room, room_of_due = self._max_history, MAX_DUE
        for unit in (*sorted(due), *closed):
            item = unit_item(unit)
            if unit not in due and unit not in compared and is_closed(known.digests.get(item, "")):
                draft.digests[item] = known.digests[item]
                continue
            content = self._contents.unit(flush, unit, series)
            if unit in due:
                part = draft.part(item, content, room_of_due)
                room_of_due -= draft.add(item, part, part.digest())
                continue
            digest = content.digest(is_closed=True)
            if digest == known.digests.get(item):
                draft.digests[item] = digest
                continue
            part = draft.part(item, content, room)
            if part == content:
                room -= draft.add(item, content, digest, self._steps.ttl(*unit, at))
            elif part != draft.before(item):
                room -= draft.add(item, part, part.digest())
            else:
                draft.keep(item)
        draft.names.gone = known.digests.keys() - draft.digests.keys()
        draft.names.blind |= draft.names.gone - known.contents.keys()
        header = Header(known.position, secrets.token_hex(16), flush.at_ms, elapsed_ms)
        before_all = {item: draft.before(item) for item in draft.names.needed}
        data = encode(header, known.digests, draft.names, before_all, draft.sent, self._steps)
        return data, Known(header.position, draft.digests, draft.contents, draft.left, turn)

    def _head(self) -> tuple[Content, set[Unit], FlushStamp, int]:
        query = Query(self._client, self._keys)
        unmigrated = query.smembers(self._keys.unmigrated)
        elapsed = query.hget(self._keys.meta, "elapsed")
        content, flush = self._contents.head(query)
        if not flush.sequence:
            raise NotYet("no flush has been stored yet")
        if unmigrated.value:
            raise NotYet("the history is still migrated to the packed form")
        content.texts["settings"] = self._settings
        due = {(step, start) for step, start in json.loads(content.texts["history"].get("due", "[]"))}
        return content, due, flush, int(elapsed.value or 0)

    def _closed(self, flush: FlushStamp, due: set[Unit], at: int) -> list[Unit]:
        """The closed units, the newest first.

        One whose records are no longer kept is left out: the collector's copy expires too.
        """
        query = Query(self._client, self._keys, flush)
        found = [(step, query.zrange(self._keys.chunks(step))) for step in self._steps.all]
        query.run()
        closed = {
            (step, int(start))
            for step, starts in found
            for start in starts.value
            if self._steps.chunk_end(step, int(start)) + self._steps.keep_s[step] > at
        }
        return sorted(closed - due, key=lambda unit: (unit[1], unit), reverse=True)

    def _newest(self, closed: list[Unit]) -> set[Unit]:
        """The newest closed units of each step."""
        return {
            unit
            for step in self._steps.all
            for unit in [unit for unit in closed if unit[0] == step][:_NEWEST]
        }

    def _compared(self, closed: list[Unit], turn: Unit) -> set[Unit]:
        """The closed units to compare: the newest, and the next ones after ``turn``."""
        newest = self._newest(closed)
        others = sorted(set(closed) - newest)
        later = [unit for unit in others if unit > turn]
        return newest | set((later or others)[:_IN_TURN])


class _Draft:
    """Gathers the items of a message.

    :ivar left: bytes of chunks that are left for later messages.
    """

    def __init__(self, known: Known) -> None:
        self.names = Names()
        self.sent: dict[str, Content] = {}
        self.digests: dict[str, str] = {}
        self.contents: dict[str, bytes] = {}
        self.left = 0
        self._known = known

    def before(self, item: str) -> Content:
        """What the collector has of an item; an empty content if this process does not know."""
        packed = self._known.contents.get(item)
        return Content() if packed is None else _unpacked(packed)

    def part(self, item: str, content: Content, room: int) -> Content:
        """The content without the chunks that the collector does not have and that there is no room for.

        :param room: bytes; a first chunk has room unless it is 0 or less.
        """
        had, chunks = self.before(item).chunks, {}
        for series, data in content.chunks.items():
            if series in had or room > 0:
                chunks[series] = data
                room -= 0 if series in had else len(data)
            else:
                self.left += len(data)
        return replace(content, chunks=chunks)

    def add(self, item: str, content: Content, digest: str, ttl_s: int = 0) -> int:
        """Add an item. It is sent if it has changed, or is the head.

        :param ttl_s: of closed chunks.
        :returns: the bytes of chunks that the collector does not have.
        """
        packed = self._known.contents.get(item)
        is_same = digest == self._known.digests.get(item)
        if not ttl_s:  # it will change again
            self.contents[item] = packed if is_same and packed is not None else _packed(content)
        if item != HEAD:
            self.digests[item] = digest
            if is_same:
                return 0
        self.sent[item] = content
        self.names.sent.add(item)
        if packed is None:
            self.names.blind.add(item)
        if ttl_s:
            self.names.ttl_s[item] = ttl_s
        had = self.before(item).chunks
        return sum(len(data) for series, data in content.chunks.items() if series not in had)

    def keep(self, item: str) -> None:
        """Leave an item to a later message. Until then the collector has an older content, or none."""
        if item in self._known.digests:
            self.digests[item] = self._known.digests[item]
        if item in self._known.contents:
            self.contents[item] = self._known.contents[item]


def _seen(content: Content) -> Seen:
    rows = content.rows["addresses"]
    ips = sorted(rows, key=lambda ip: (rows[ip][SCORE], ip), reverse=True)
    return Seen(ips, content.texts["totals"].get("hint"))


def _packed(content: Content) -> bytes:
    chunks = {name: base64.b64encode(data).decode() for name, data in content.chunks.items()}
    return zlib.compress(json.dumps((content.rows, content.texts, content.rates, chunks)).encode(), 1)


def _unpacked(data: bytes) -> Content:
    rows, texts, rates, chunks = json.loads(zlib.decompress(data))
    return Content(rows, texts, rates, {name: base64.b64decode(text) for name, text in chunks.items()})
