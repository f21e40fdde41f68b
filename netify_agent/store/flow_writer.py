"""The writing side of ``/flows``: an entry for each flow, live or lately over, and the indexes of them.

An entry is a flow's state, what the flow is as far as it was told, and its place in the indexes; which these
are follows from the state alone. So that no entry is ever left in an index that it has moved out of, a flush
first reads what the store holds of the flows that began, moved or ended in it, and of no others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netify_agent.accounting.batch import MAX_ENDED, Batch, FlowState
from netify_agent.accounting.capture_points import LEFT_OUT
from netify_agent.netifyd.flow_record import Details, Key
from netify_agent.store.client import StoreRefused
from netify_agent.store.encoding import decode_state, encode
from netify_agent.store.layout import Keys

ENDED_MS = 3_600_000  # how long a flow is shown after it has ended
AT_ONCE = 1_000  # flows in one command: as much as is packed at once
_PRUNED_AT_ONCE = 1_000  # by one flush, beside as many as end in it


@dataclass(frozen=True)
class Before:
    """What the store holds before a flush.

    :ivar live: states, as live flows, of those that the flush begins, moves or ends.
    :ivar ended: states, as flows that are over, of the same and of those that are to be pruned.
    :ivar details: text that tells what a flow is, of flows that go on under another digest.
    """

    live: dict[str, FlowState]
    ended: dict[str, FlowState]
    details: dict[str, str]


class FlowWriter:
    """Entries of one gateway."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def read(self, pipe: Any, batch: Batch, at_ms: int) -> Before:
        """Read, at once, what :meth:`queue` must know.

        :param pipe: a pipeline that executes at once, because it watches and is not in MULTI yet.
        :param at_ms: our clock, milliseconds since the epoch.
        """
        keys = self._keys
        due = self._due(pipe, batch, at_ms)
        replaced = [digest for digests in batch.replaced.values() for digest in digests]
        over = [digest for digest, state in batch.flows.items() if state is None]
        if batch.complete:
            over += (digest for digest in pipe.hkeys(keys.flows) if digest not in batch.flows)
        changed = list(dict.fromkeys((*batch.placed, *over, *batch.ended, *replaced)))
        live = _read(pipe, keys.flows, changed)
        ended = _read(pipe, keys.ended, [*changed, *due])
        try:
            return Before(
                {digest: decode_state(text) for digest, text in live.items()},
                {digest: decode_state(text) for digest, text in ended.items()},
                _read(pipe, keys.details, replaced),
            )
        except (ValueError, TypeError) as error:
            raise StoreRefused(
                f"{keys.flows} in Redis no longer holds what netify-agent stored there: somebody else writes "
                "to this gateway's keys"
            ) from error

    def _due(self, pipe: Any, batch: Batch, at_ms: int) -> list[str]:
        """Flows whose time is over, or that have to make room for those that end now; some of very many."""
        ends, most = self._keys.ends, len(batch.ended) + _PRUNED_AT_ONCE
        due = pipe.zrangebyscore(ends, "-inf", at_ms - ENDED_MS, 0, most)
        excess = min(pipe.zcard(ends) + len(batch.ended) - MAX_ENDED, most)
        if excess > len(due):
            due = pipe.zrange(ends, 0, excess - 1)
        return [digest for digest in due if digest not in batch.ended]

    def queue(self, pipe: Any, batch: Batch, at_ms: int, before: Before) -> None:
        """Queue all that this batch changes of flows, live ones among them."""
        keys = self._keys
        live = {digest: state for digest, state in batch.flows.items() if state is not None}
        self._queue_indexes(pipe, live, batch.ended, before)
        _write(pipe, keys.flows, live)
        _remove(pipe.hdel, keys.flows, [digest for digest in before.live if digest not in live])
        _write(pipe, keys.ended, batch.ended)
        for part in _parts(list(batch.ended)):
            pipe.zadd(keys.ends, dict.fromkeys(part, at_ms))
        not_ended = [digest for digest in before.ended if digest not in batch.ended]
        _remove(pipe.hdel, keys.ended, not_ended)
        _remove(pipe.zrem, keys.ends, not_ended)
        gone = [
            digest
            for digest in dict.fromkeys((*before.live, *before.ended))
            if digest not in live and digest not in batch.ended
        ]
        _remove(pipe.hdel, keys.details, gone)
        _write(pipe, keys.details, batch.details)
        told_before: dict[str, str] = {}
        for digest, earlier in batch.replaced.items():
            known = [before.details[name] for name in earlier if name in before.details]
            if known and digest not in batch.details and (digest in live or digest in batch.ended):
                told_before[digest] = known[-1]
        for part in _parts(list(told_before)):
            pipe.hset(keys.details, mapping={digest: told_before[digest] for digest in part})

    def _queue_indexes(
        self, pipe: Any, live: dict[str, FlowState], ended: dict[str, FlowState], before: Before
    ) -> None:
        keys = self._keys
        growing: defaultdict[str, list[str]] = defaultdict(list)
        shrinking: defaultdict[str, list[str]] = defaultdict(list)
        for states, is_live in ((live, True), (ended, False)):
            places: dict[tuple[Key, Key | None, int], list[list[str]]] = {}  # many flows have the same
            for digest, state in states.items():
                place = state.key, state.peer, state.risk
                if place not in places:
                    places[place] = [growing[name] for name in _indexes(keys, state, is_live)]
                for index in places[place]:
                    index.append(digest)
        for states, was_live in ((before.live, True), (before.ended, False)):
            for digest, state in states.items():
                now = live.get(digest) or ended.get(digest)
                stays = _indexes(keys, now, digest in live) if now is not None else set()
                for name in _indexes(keys, state, was_live) - stays:
                    shrinking[name].append(digest)
        for name, digests in shrinking.items():
            _remove(pipe.zrem, name, digests)
        for name, digests in growing.items():
            for part in _parts(digests):
                pipe.zadd(name, {digest: (live.get(digest) or ended[digest]).last_seen for digest in part})
        scores = {state.risk for states in (live, ended) for state in states.values() if state.risk}
        if scores:
            pipe.sadd(keys.scores, *sorted(scores))

    def queue_forget(self, pipe: Any, device: str) -> None:
        """Drop the indexes of a device that is forgotten."""
        pipe.delete(*(self._keys.index(live, self._keys.of_device(device)) for live in (True, False)))


def _indexes(keys: Keys, state: FlowState, live: bool) -> set[str]:
    """Return the keys of the indexes that a flow stands in. One that does not count is not shown."""
    if state.capture == LEFT_OUT:
        return set()
    found = {keys.index(live), keys.index(live, keys.of_application(state.key.application))}
    for key in (state.key, state.peer):
        if key is not None and key.device is not None:
            found.add(keys.index(live, keys.of_device(key.device)))
    if state.risk:
        found.add(keys.index(live, keys.of_score(state.risk)))
    return found


def _parts(digests: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(digests), AT_ONCE):
        yield digests[start : start + AT_ONCE]


def _read(pipe: Any, key: str, digests: Sequence[str]) -> dict[str, str]:
    """What a hash holds of ``digests``."""
    found: dict[str, str] = {}
    for part in _parts(digests):
        found.update(
            (digest, text)
            for digest, text in zip(part, pipe.hmget(key, part), strict=True)
            if text is not None
        )
    return found


def _write(pipe: Any, key: str, records: Mapping[str, FlowState | Details]) -> None:
    """Encoded a part at a time, so that the text of all is never there at once."""
    for part in _parts(list(records)):
        pipe.hset(key, mapping={digest: encode(records[digest]) for digest in part})


def _remove(command: Any, key: str, digests: Iterable[str]) -> None:
    for part in _parts(list(digests)):
        command(key, *part)
