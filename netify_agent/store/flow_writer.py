"""Writes single flows, live and ended, and the indexes that ``/flows`` pages through.

An entry is a flow's state, its latest description and its place in the indexes, which follows from the state
alone. A flush first reads what Redis holds of the flows that began, moved or ended in it, and of no others:
so no entry is left in an index that the flow has moved out of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from netify_agent.accounting.batch import MAX_ENDED, Batch, FlowState
from netify_agent.accounting.capture_points import LEFT_OUT
from netify_agent.netifyd.flow_record import Details, Key
from netify_agent.store.client import StoreRefused
from netify_agent.store.encoding import decode_state, encode
from netify_agent.store.layout import Keys
from netify_agent.store.retention import WallClock

Item = TypeVar("Item")

AT_ONCE = 1_000  # fields in one command: they are packed at once
_MAX_PLACES = 1_000  # places of flows whose index keys are remembered: 300 bytes each


@dataclass(frozen=True)
class FlowWriterLimits:
    """Bounds of what is kept of ended flows, and of what one flush does about them."""

    ended_ms: int = 3_600_000  # how long a flow is shown after it ended
    ended: int = MAX_ENDED  # ended flows that are shown
    pruned_at_once: int = 1_000  # by one flush, besides as many as end in it
    fields_at_once: int = AT_ONCE


@dataclass(frozen=True)
class Before:
    """What Redis holds before a flush, by flow id.

    :ivar live: states, as live flows, of those that the flush begins, moves or ends.
    :ivar ended: states, as ended flows, of the same and of those that are to be pruned.
    :ivar details: encoded descriptions of flows that go on under another digest.
    """

    live: dict[str, FlowState]
    ended: dict[str, FlowState]
    details: dict[str, str]


class FlowWriter:
    """Writes the flows of one gateway."""

    def __init__(self, keys: Keys, limits: FlowWriterLimits | None = None) -> None:
        self.progress: Callable[[], None] = lambda: None  # called for each part of a large flush
        self._keys = keys
        self._limits = limits or FlowWriterLimits()

    def read(self, pipe: Any, batch: Batch, clock: WallClock, forgotten: Iterable[str] = ()) -> Before:
        """Read what :meth:`queue` must know.

        :param pipe: a pipeline that executes at once, because it watches and is not in MULTI yet.
        :param forgotten: devices whose ended flows are no longer to be shown.
        :raises StoreRefused: if Redis holds something else there.
        """
        keys = self._keys
        due = self._due(pipe, batch, clock)
        for device in forgotten:
            ended_flows = pipe.zrange(keys.index(False, keys.of_device(device)), 0, -1)
            due = list(dict.fromkeys((*due, *(name for name in ended_flows if name not in batch.ended))))
        replaced = [name for names in batch.replaced.values() for name in names]
        removed = [name for name, state in batch.flows.items() if state is None]
        if batch.complete:
            removed += (name for name in pipe.hkeys(keys.flows) if name not in batch.flows)
        changed = list(dict.fromkeys((*batch.placed, *removed, *batch.ended, *replaced)))
        live = self._read(pipe, keys.flows, changed)
        ended = self._read(pipe, keys.ended, [*changed, *due])
        try:
            return Before(
                {name: decode_state(text) for name, text in live.items()},
                {name: decode_state(text) for name, text in ended.items()},
                self._read(pipe, keys.details, replaced),
            )
        except (ValueError, TypeError) as error:
            raise StoreRefused(
                f"{keys.flows} in Redis no longer holds what netify-agent stored there: another program "
                "writes to this gateway's keys"
            ) from error

    def _due(self, pipe: Any, batch: Batch, clock: WallClock) -> list[str]:
        """Return ended flows that are shown no longer, or that make room for those that end now."""
        ends, limits = self._keys.ends, self._limits
        most = len(batch.ended) + limits.pruned_at_once
        latest = clock.for_pruning(limits.ended_ms) - limits.ended_ms
        due = pipe.zrangebyscore(ends, "-inf", latest, 0, most)
        excess = min(pipe.zcard(ends) + len(batch.ended) - limits.ended, most)
        if excess > len(due):
            due = pipe.zrange(ends, 0, excess - 1)
        return [name for name in due if name not in batch.ended]

    def queue(self, pipe: Any, batch: Batch, at_ms: int, before: Before) -> None:
        """Queue all changes of flows in this batch."""
        keys = self._keys
        live = batch.flows
        self._queue_indexes(pipe, batch, before)
        self._write(pipe, keys.flows, live)
        self._remove(pipe.hdel, keys.flows, [name for name in before.live if live.get(name) is None])
        self._write(pipe, keys.ended, batch.ended)
        for part in self._parts(batch.ended):
            pipe.zadd(keys.ends, dict.fromkeys(part, at_ms))
        not_ended = [name for name in before.ended if name not in batch.ended]
        self._remove(pipe.hdel, keys.ended, not_ended)
        self._remove(pipe.zrem, keys.ends, not_ended)
        gone = [
            name
            for name in dict.fromkeys((*before.live, *before.ended))
            if live.get(name) is None and name not in batch.ended
        ]
        self._remove(pipe.hdel, keys.details, gone)
        self._write(pipe, keys.details, batch.details)
        handed_on: dict[str, str] = {}
        for name, earlier in batch.replaced.items():
            known = [before.details[old] for old in earlier if old in before.details]
            if known and name not in batch.details and (live.get(name) or name in batch.ended):
                handed_on[name] = known[-1]
        for part in self._parts(handed_on):
            pipe.hset(keys.details, mapping={name: handed_on[name] for name in part})

    def _queue_indexes(self, pipe: Any, batch: Batch, before: Before) -> None:
        keys, live, ended = self._keys, batch.flows, batch.ended
        growing: defaultdict[str, list[str]] = defaultdict(list)
        shrinking: defaultdict[str, list[str]] = defaultdict(list)
        for states, is_live in ((live, True), (ended, False)):
            # Many flows have the same place, so its keys are not made for each of them.
            places: dict[tuple[Key, Key | None, int, int], list[list[str]]] = {}
            for name, state in states.items():
                if state is None:
                    continue
                place = state.key, state.peer, state.risk, state.capture
                if place not in places:
                    if len(places) >= _MAX_PLACES:
                        places.clear()
                    places[place] = [growing[key] for key in _indexes(keys, state, is_live)]
                for index in places[place]:
                    index.append(name)
        for states, was_live in ((before.live, True), (before.ended, False)):
            for name, state in states.items():
                now = live.get(name) or ended.get(name)
                stays = _indexes(keys, now, live.get(name) is not None) if now is not None else set()
                for key in _indexes(keys, state, was_live) - stays:
                    shrinking[key].append(name)
        for key, names in shrinking.items():
            self._remove(pipe.zrem, key, names)
        for key, names in growing.items():
            for part in self._parts(names):
                pipe.zadd(key, {name: (live.get(name) or ended[name]).last_seen for name in part})
        scores = {state.risk for states in (live, ended) for state in states.values() if state and state.risk}
        if scores:
            pipe.sadd(keys.scores, *sorted(scores))

    def queue_forget(self, pipe: Any, devices: Iterable[str]) -> None:
        """Drop the indexes of silent devices that are forgotten."""
        for device in devices:
            pipe.delete(*(self._keys.index(live, self._keys.of_device(device)) for live in (True, False)))

    def _parts(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        rest = iter(items)
        while part := list(islice(rest, self._limits.fields_at_once)):
            self.progress()
            yield part

    def _read(self, pipe: Any, key: str, names: Iterable[str]) -> dict[str, str]:
        """Return those of the fields ``names`` that a hash has."""
        found: dict[str, str] = {}
        for part in self._parts(names):
            found.update(
                (name, text)
                for name, text in zip(part, pipe.hmget(key, part), strict=True)
                if text is not None
            )
        return found

    def _write(self, pipe: Any, key: str, records: Mapping[str, FlowState | Details | None]) -> None:
        """Encode and queue a part at a time, so that the text of all is never in memory at once."""
        texts = ((name, encode(record)) for name, record in records.items() if record is not None)
        for part in self._parts(texts):
            pipe.hset(key, mapping=dict(part))

    def _remove(self, command: Any, key: str, names: Iterable[str]) -> None:
        for part in self._parts(names):
            command(key, *part)


def _indexes(keys: Keys, state: FlowState, live: bool) -> set[str]:
    """Return the keys of the indexes that contain a flow. A flow that is left out is in none."""
    if state.capture == LEFT_OUT:
        return set()
    found = {keys.index(live), keys.index(live, keys.of_application(state.key.application))}
    for key in (state.key, state.peer):
        if key is not None and key.device is not None:
            found.add(keys.index(live, keys.of_device(key.device)))
    if state.risk:
        found.add(keys.index(live, keys.of_score(state.risk)))
    return found
