"""Single flows, live and lately over, by the time of their last packet: pages of them, and what is risky.

A page costs what it holds: it is cut out of the sorted sets that a flush keeps, by time and not by number.
Where more than one of device, application and risk is asked for, the shortest of their indexes is looked
through, the latest :data:`LOOKED_THROUGH` flows of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from netify_agent.accounting.batch import FlowState
from netify_agent.netifyd.flow_record import Details
from netify_agent.store.client import StoreError
from netify_agent.store.encoding import decode_details, decode_state
from netify_agent.store.reader import ATTEMPTS, TOO_FAST, StoreReader, store_errors
from netify_agent.store.rows import DeviceRow

LOOKED_THROUGH = 10_000  # flows of an index, the latest ones
RISKY_FLOWS = 1_000  # of a device, the latest ones, that its risks are told from


class Place(NamedTuple):
    """Where a flow stands in the order: by ``seen``, netifyd's ms at its last packet, then by digest."""

    seen: int
    digest: str


@dataclass(frozen=True)
class FlowFilter:
    """Which flows; what is None or 0 leaves all.

    :ivar device: on either side.
    :ivar active: whether they are live.
    :ivar min_risk: the lowest score.
    """

    device: str | None = None
    application: str | None = None
    active: bool | None = None
    min_risk: int = 0

    def fits(self, state: FlowState) -> bool:
        """Whether a flow of this state is one, live or not."""
        return (
            self.device in (None, state.key.device, state.peer.device if state.peer is not None else None)
            and self.application in (None, state.key.application)
            and state.risk >= self.min_risk
        )


@dataclass
class FlowRow:
    """A flow. ``details`` is None where nobody told what it is."""

    digest: str
    active: bool
    state: FlowState
    details: Details | None


@dataclass
class FlowPage:
    """Flows, the latest first.

    :ivar at_ms: our clock when the flush was taken that this shows.
    :ivar total: how many are wanted, on all pages; of those looked through, where these are not all.
    :ivar more: whether there are any after these.
    :ivar devices: of the devices in it, what helps to name them: addresses and hint.
    :ivar categories: application to netifyd's category id, for the applications in it.
    """

    sequence: int
    at_ms: int
    total: int
    rows: list[FlowRow]
    more: bool
    devices: dict[str, DeviceRow] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)


class _Found(NamedTuple):
    place: Place
    active: bool


_Index = tuple[str, bool]  # its key, and whether its flows are live


@dataclass
class RiskRow:
    """A risk of a device's flows: how many have it, the highest score of one, and the latest (ms)."""

    risk: int
    flows: int
    score: int
    last_seen: int


class FlowReader:
    """Reads of one gateway's store. Every method raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(self, reader: StoreReader) -> None:
        self._client = reader.client
        self._keys = reader.keys

    def page(self, wanted: FlowFilter, limit: int, after: Place | None = None) -> FlowPage:
        """The first ``limit`` flows, or the first after a place, with what is known of their devices."""
        with store_errors():
            for _ in range(ATTEMPTS):
                page = self._page(wanted, limit, after)
                if self._name(page) == page.sequence:  # no flush came between
                    return page
        raise StoreError(TOO_FAST)

    def risks(self, device: str) -> list[RiskRow]:
        """What is risky about the latest flows of a device, the worst first."""
        with store_errors():
            (indexes,) = self._groups(FlowFilter(device=device), ())
            latest = self._latest(indexes, RISKY_FLOWS, None)[:RISKY_FLOWS]
            rows = self._rows(latest, FlowFilter(), details=True)
        found: dict[int, RiskRow] = {}
        for row in rows:
            for risk in row.details.risks if row.details is not None else ():
                known = found.setdefault(risk, RiskRow(risk, 0, 0, 0))
                known.flows += 1
                known.score = max(known.score, row.state.risk)
                known.last_seen = max(known.last_seen, row.state.last_seen)
        return sorted(found.values(), key=lambda row: (-row.score, -row.flows, row.risk))

    def _page(self, wanted: FlowFilter, limit: int, after: Place | None) -> FlowPage:
        keys = self._keys
        with self._client.pipeline(transaction=False) as pipe:
            pipe.hmget(keys.meta, "seq", "at")
            pipe.smembers(keys.scores)
            (sequence, at_ms), scores = pipe.execute()
        groups = self._groups(wanted, sorted(int(score) for score in scores))
        lengths = self._lengths(groups)
        if len(groups) == 1:
            total = lengths[0]
            found = self._latest(groups[0], limit + 1, after)
            rows = self._rows(found[:limit], wanted, details=True)
            more = len(found) > limit
        else:
            shortest = groups[lengths.index(min(lengths))]
            latest = self._latest(shortest, LOOKED_THROUGH, None)[:LOOKED_THROUGH]
            fitting = self._rows(latest, wanted, details=False)
            total = len(fitting)
            if after is not None:
                fitting = [row for row in fitting if (row.state.last_seen, row.digest) < after]
            shown = [_Found(Place(row.state.last_seen, row.digest), row.active) for row in fitting[:limit]]
            rows, more = self._rows(shown, wanted, details=True), len(fitting) > limit
        return FlowPage(int(sequence or 0), int(at_ms or 0), total, rows, more)

    def _groups(self, wanted: FlowFilter, scores: Sequence[int]) -> list[list[_Index]]:
        """The indexes that hold what is wanted, for each thing that is asked for."""
        keys = self._keys
        ofs = []
        if wanted.device is not None:
            ofs.append([keys.of_device(wanted.device)])
        if wanted.application is not None:
            ofs.append([keys.of_application(wanted.application)])
        if wanted.min_risk:
            ofs.append([keys.of_score(score) for score in scores if score >= wanted.min_risk])
        kinds = (True, False) if wanted.active is None else (wanted.active,)
        return [[(keys.index(kind, of), kind) for of in group for kind in kinds] for group in ofs or [[""]]]

    def _lengths(self, groups: Iterable[Iterable[_Index]]) -> list[int]:
        """How many flows the indexes of each group hold."""
        with self._client.pipeline(transaction=False) as pipe:
            for group in groups:
                for key, _ in group:
                    pipe.zcard(key)
            lengths = iter(pipe.execute())
        return [sum(next(lengths) for _ in group) for group in groups]

    def _latest(self, indexes: Sequence[_Index], count: int, after: Place | None) -> list[_Found]:
        """The latest flows of all indexes together, at least ``count`` if there are as many."""
        found: list[_Found] = []
        asked = count + 1  # the flow of the place itself is still there, most often
        left = list(indexes)
        while left:
            with self._client.pipeline(transaction=False) as pipe:
                for key, _ in left:
                    latest = after.seen if after is not None else "+inf"
                    pipe.zrevrangebyscore(key, latest, "-inf", 0, asked, withscores=True, score_cast_func=int)
                replies = pipe.execute()
            short = []
            for (key, active), reply in zip(left, replies, strict=True):
                places = [Place(seen, digest) for digest, seen in reply]
                fresh = [place for place in places if after is None or place < after]
                if len(fresh) < count and len(places) == asked:
                    short.append((key, active))  # very many flows were seen in the same millisecond
                else:
                    found += [_Found(place, active) for place in fresh]
            left, asked = short, asked * 8
        return sorted(found, reverse=True)

    def _rows(self, found: Sequence[_Found], wanted: FlowFilter, *, details: bool) -> list[FlowRow]:
        """Those of the flows that are wanted."""
        if not found:
            return []
        keys = self._keys
        digests = [place.digest for place, _ in found]
        live = [place.digest for place, active in found if active]
        ended = [place.digest for place, active in found if not active]
        with self._client.pipeline(transaction=False) as pipe:
            for key, asked in ((keys.flows, live), (keys.ended, ended), (keys.details, digests)):
                pipe.hmget(key, asked if asked and (details or key != keys.details) else [""])
            of_live, of_ended, told = pipe.execute()
        states = {True: iter(of_live), False: iter(of_ended)}
        rows = []
        for index, (place, active) in enumerate(found):
            text, what = next(states[active]), told[index] if details else None
            if text is not None and wanted.fits(state := decode_state(text)):
                rows.append(FlowRow(place.digest, active, state, decode_details(what) if what else None))
        return rows

    def _name(self, page: FlowPage) -> int:
        """Add to a page what is known of its devices and applications; return the latest flush's number."""
        keys = self._keys
        sides = [key for row in page.rows for key in (row.state.key, row.state.peer) if key is not None]
        devices = sorted({key.device for key in sides if key.device is not None})
        applications = sorted({key.application for key in sides})
        with self._client.pipeline(transaction=False) as pipe:
            pipe.hget(keys.meta, "seq")
            pipe.hmget(keys.categories, applications or [""])
            for device in devices:
                pipe.hget(keys.totals(device), "hint")
                pipe.zrevrange(keys.addresses(device), 0, -1)
            sequence, categories, *known = pipe.execute()
        page.categories = {
            application: int(category or 0)
            for application, category in zip(applications, categories, strict=False)
        }
        page.devices = {
            device: DeviceRow({}, name=device, hint=known[index * 2], addresses=known[index * 2 + 1])
            for index, device in enumerate(devices)
        }
        return int(sequence or 0)
