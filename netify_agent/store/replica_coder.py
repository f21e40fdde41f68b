"""Codes the contents of a message against those that both sides have. No I/O.

Most numbers follow from others: the rows of a gateway are the sums of its devices' rows, a bucket that was
closed grew by as much as the rows. Both sides compute the expected values, and only the differences are
sent. A wrong expected value costs bytes; the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from netify_agent.store.history_blocks import Damaged
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import (
    ALL_COUNTERS,
    FIRST_SEEN,
    FORGOTTEN,
    GATEWAY,
    LAST_SEEN,
    MIRRORED,
    OPEN,
    SHARE_CODES,
    UNATTRIBUTED,
    VOLUME_CODES,
    Unit,
)
from netify_agent.store.open_bucket import Numbers, record_of
from netify_agent.store.replica import HEAD, Content, check_item, device_item, device_of, unit_item, units_of
from netify_agent.store.replica_chunks import ChunkCoder, code_chunks
from netify_agent.store.replica_columns import Channel, Invalid
from netify_agent.store.replica_rows import (
    SCORE,
    Rows,
    add,
    code_row,
    code_rows,
    code_texts,
    difference,
    fields_of,
    summed,
)

_MAX_TTL_S = 100 * 366 * 86_400
_SAME, _SENT, _GONE, _SENT_BLIND, _GONE_BLIND = range(5)
_RATES = ("ru", "rd")
_NO_ROWS: Rows = {}
_NONE = Content()


@dataclass
class Names:
    """The items of a message.

    :ivar sent: items with contents; the head is one. :ivar gone: items that no longer exist.
    :ivar blind: those of both that are not coded against what the collector has of them.
    :ivar ttl_s: item of closed chunks to the time that they are kept from now on; others are kept until they
        are closed.
    """

    sent: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    blind: set[str] = field(default_factory=set)
    ttl_s: dict[str, int] = field(default_factory=dict)

    @property
    def needed(self) -> set[str]:
        """The items whose contents both sides must have to code the message."""
        buckets = {unit_item(unit) for unit in units_of(self.gone) if unit[0] == OPEN}
        return (self.sent | buckets) - self.blind


def code_names(channel: Channel, known: Iterable[str], wanted: Names) -> Names:
    """Code which items a message has. ``known``: those that the collector has, without the head."""
    found, names = Names(), sorted({HEAD, *known})
    for item in names:
        flag = _SENT if item in wanted.sent else _GONE if item in wanted.gone else _SAME
        if item in wanted.blind:
            flag += _SENT_BLIND - _SENT
        flag = channel.count("items", flag)
        if flag > _GONE_BLIND:
            raise Invalid("expected the state of an item")
        if flag in (_SENT, _SENT_BLIND):
            found.sent.add(item)
        elif flag != _SAME:
            found.gone.add(item)
        if flag in (_SENT_BLIND, _GONE_BLIND):
            found.blind.add(item)
    more = sorted(wanted.sent.difference(names))
    for index in range(channel.count("items", len(more))):
        item = check_item(channel.name(more[index] if more else ""))
        found.sent.add(item)
        found.blind.add(item)
    for unit in units_of(found.sent):
        item = unit_item(unit)
        ttl_s = channel.count("items", wanted.ttl_s.get(item, 0)) if unit[0] != OPEN else 0
        if ttl_s:
            found.ttl_s[item] = min(ttl_s, _MAX_TTL_S)
    if HEAD not in found.sent:
        raise Invalid("expected the head in each message")
    return found


class ContentCoder:
    """Codes the contents of one message. :meth:`code` does it all.

    A :class:`~netify_agent.store.replica_columns.Writer` writes ``wanted``. A reader ignores it.
    """

    def __init__(
        self,
        channel: Channel,
        at_ms: int,
        names: Names,
        had: Mapping[str, Content],
        wanted: Mapping[str, Content],
        steps_of: Callable[[Mapping[str, str]], HistorySteps],
    ) -> None:
        """Code nothing yet.

        :param at_ms: of the flush.
        :param had: what both sides have of ``names.needed``.
        :param steps_of: the steps of the history by the settings in a head. Raises ValueError.
        """
        self._channel = channel
        self._at_ms = at_ms
        self._names = names
        self._had = {item: content for item, content in had.items() if item in names.needed}
        self._wanted = wanted
        self._steps_of = steps_of
        self._found: dict[str, Content] = {}
        self._grown: dict[str, Rows] = {GATEWAY: {}}  # by series: what its applications and its total grew by
        self._protocols: Rows = {}  # what those of all devices grew by
        self._last: dict[str, dict[str, int]] = {}  # of applications that grew: first and last seen
        self._series: list[str] = []

    def code(self) -> dict[str, Content]:
        """Code the head and all items. Returns their contents. Raises Invalid."""
        head = self._had.get(HEAD, _NONE)
        self._channel.learn(sorted(head.rows.get("applications", _NO_ROWS)))
        self._channel.learn(sorted(head.rows.get("protocols", _NO_ROWS)))
        for item in sorted(self._names.sent):
            device = device_of(item)
            if device is not None:
                self._device(item, device)
        self._head()
        try:
            steps = self._steps_of(self._found[HEAD].texts["settings"])
        except ValueError as error:
            raise Invalid(str(error)) from None
        units = units_of(self._names.sent)
        self._open([unit[1] for unit in units if unit[0] == OPEN])
        chunks = ChunkCoder(self._channel, steps)
        self._expect_records(chunks, steps)
        for unit in units:
            if unit[0] != OPEN:
                self._chunks(chunks, unit)
        return self._found

    # -- rows ------------------------------------------------------------------------------------------------

    def _both(self, item: str) -> tuple[Content, Content, Content]:
        """What both sides have of an item, what is wanted, and the content that is to be filled."""
        found = self._found[item] = Content()
        return self._had.get(item, _NONE), self._wanted.get(item, _NONE), found

    def _device(self, item: str, device: str) -> None:
        had, wanted, found = self._both(item)
        channel, near = self._channel, {LAST_SEEN: self._at_ms, FIRST_SEEN: self._at_ms}
        before = had.rows.get("applications", _NO_ROWS)
        applications = code_rows(channel, "applications", before, wanted.rows.get("applications", {}), near)
        grown = difference(applications, before)
        sums = summed(grown, ALL_COUNTERS)

        rest, protocols = dict(sums), {}
        before = had.rows.get("protocols", _NO_ROWS)
        after = wanted.rows.get("protocols", _NO_ROWS)
        for name in self._row_names(before, after):
            numbers = before.get(name, {})
            expected = {code: numbers.get(code, 0) + rest.get(code, 0) for code in ALL_COUNTERS}
            row = code_row(channel, "protocols", numbers, after.get(name, {}), expected)
            if row:
                protocols[name] = row
                for code, more in difference({"": row}, {"": numbers}).get("", {}).items():
                    rest[code] = rest.get(code, 0) - more

        total = had.rows.get("totals", _NO_ROWS).get("", {})
        expected = dict(total)
        for code, more in sums.items():
            if more or code in total:
                expected[code] = expected.get(code, 0) + more
        seen = [numbers for numbers in applications.values() if LAST_SEEN in numbers]
        if seen:
            expected[LAST_SEEN] = max(numbers[LAST_SEEN] for numbers in seen)
            expected.setdefault(FIRST_SEEN, min(numbers.get(FIRST_SEEN, 0) for numbers in seen))
        total_now = code_row(channel, "totals", expected, wanted.rows.get("totals", {}).get("", {}))
        found.texts["totals"] = code_texts(
            channel, had.texts.get("totals", {}), wanted.texts.get("totals", {})
        )
        addresses = code_rows(
            *(channel, "scores", had.rows.get("addresses", _NO_ROWS), wanted.rows.get("addresses", {})),
            {SCORE: total_now.get(LAST_SEEN, self._at_ms)},
        )
        found.rows = {
            "applications": applications,
            "protocols": protocols,
            "totals": {"": total_now} if total_now else {},
            "addresses": addresses,
        }
        self._grown[device] = {**grown, "": difference({"": total_now}, {"": total}).get("", {})}
        add(self._grown[GATEWAY], grown, ALL_COUNTERS)
        add(self._protocols, difference(protocols, had.rows.get("protocols", _NO_ROWS)), ALL_COUNTERS)
        for name in grown:
            self._see(name, applications[name])

    def _row_names(self, had: Rows, wanted: Rows) -> list[str]:
        """Code the names of rows that are not in ``had``. Returns all names."""
        more = sorted(wanted.keys() - had.keys())
        count = self._channel.count("counts", len(more))
        return [*sorted(had), *(self._channel.name(more[at] if more else "") for at in range(count))]

    def _see(self, application: str, numbers: Mapping[str, int]) -> None:
        seen = self._last.setdefault(application, {})
        if LAST_SEEN in numbers:
            seen[LAST_SEEN] = max(numbers[LAST_SEEN], seen.get(LAST_SEEN, 0))
        if FIRST_SEEN in numbers:
            seen[FIRST_SEEN] = min(numbers[FIRST_SEEN], seen.get(FIRST_SEEN, numbers[FIRST_SEEN]))

    def _head(self) -> None:
        had, wanted, found = self._both(HEAD)
        channel, rows = self._channel, found.rows

        def coded(name: str, table: str, expected: Rows, near: Mapping[str, int]) -> None:
            rows[name] = code_rows(channel, table, expected, wanted.rows.get(name, {}), near)

        before = had.rows.get("applications", _NO_ROWS)
        expected = self._plus(before, self._grown[GATEWAY])
        for name, seen in self._last.items():
            row = expected.setdefault(name, {})
            if LAST_SEEN in seen:
                row[LAST_SEEN] = max(seen[LAST_SEEN], row.get(LAST_SEEN, 0))
            if FIRST_SEEN in seen:
                row[FIRST_SEEN] = min(seen[FIRST_SEEN], row.get(FIRST_SEEN, seen[FIRST_SEEN]))
        coded("applications", "gateway", expected, {})
        grown = self._grown[GATEWAY] = difference(rows["applications"], before)
        coded("protocols", "gateway", self._plus(had.rows.get("protocols", _NO_ROWS), self._protocols), {})
        total = had.rows.get("totals", _NO_ROWS)
        coded("totals", "gateway", self._plus(total, {"": summed(grown, ALL_COUNTERS)}), {})
        grown[""] = difference(rows["totals"], total).get("", {})
        for name in (UNATTRIBUTED, MIRRORED, FORGOTTEN):
            coded(name, "others", had.rows.get(name, _NO_ROWS), {})
            self._grown[name] = difference(rows[name], had.rows.get(name, _NO_ROWS))
        for name in ("categories", "numbers", "series", "used"):
            coded(name, "names", had.rows.get(name, _NO_ROWS), {})
        coded("devices", "scores", had.rows.get("devices", _NO_ROWS), {SCORE: self._at_ms})
        for name in ("history", "settings", "names", "plans", "alerts"):
            found.texts[name] = code_texts(channel, had.texts.get(name, {}), wanted.texts.get(name, {}))
        devices = sorted(rows["devices"])
        self._series = [*sorted({*devices, *rows["series"]} - {GATEWAY}), GATEWAY]
        self._rates(devices, wanted.rates, found.rates)

    def _plus(self, had: Rows, grown: Rows) -> Rows:
        rows = {name: dict(numbers) for name, numbers in had.items()}
        add(rows, grown, ALL_COUNTERS)
        return {name: numbers for name, numbers in rows.items() if numbers or name in had}

    def _rates(self, devices: Sequence[str], wanted: Mapping[str, Rows], found: dict[str, Rows]) -> None:
        """Code rates. They are averages over few seconds, so that those before say nothing about them."""
        channel, sums = self._channel, Rows()
        more = sorted(wanted.keys() - {*devices, GATEWAY})
        count = channel.count("counts", len(more))
        for device in (
            *devices,
            *(channel.name(more[index] if more else "") for index in range(count)),
            GATEWAY,
        ):
            rows = wanted.get(device, _NO_ROWS)
            if not channel.count("flags", device in wanted):
                continue
            near: Rows = (
                sums if device == GATEWAY else {name: {} for name in self._grown.get(device, {}) if name}
            )
            applications = {name: numbers for name, numbers in rows.items() if name}
            coded = code_rows(channel, "rates", near, applications)
            total = code_row(channel, "rates", summed(coded, _RATES), rows.get("", {}))
            add(sums, coded, _RATES)
            found[device] = {**coded, "": total}

    # -- history ---------------------------------------------------------------------------------------------

    def _open(self, starts: Sequence[int]) -> None:
        """Code open buckets, the newest first. Leaves in ``_grown`` what older ones must have got."""
        for index, start in enumerate(sorted(starts, reverse=True)):
            item = unit_item((OPEN, start))
            had, wanted, found = self._both(item)
            is_new = index == 0 and not had.rows
            sums: Rows = {}
            for series in self._names_of_series(had.rows, wanted.rows):
                rows = wanted.rows.get(series, _NO_ROWS)
                if not self._channel.count("flags", series in wanted.rows):
                    continue
                grown, before = self._grown.get(series, _NO_ROWS), had.rows.get(series, _NO_ROWS)
                if is_new:
                    expected = sums if series == GATEWAY else {name: {} for name in grown}
                else:
                    expected = _bucket(before, grown)
                parts = code_rows(
                    *(self._channel, "open", {name: row for name, row in expected.items() if name}),
                    {name: row for name, row in rows.items() if name},
                )
                total = expected.get("", {})
                if is_new:
                    total = {**total, **{code: n for code, n in summed(parts, SHARE_CODES).items() if n}}
                now = {**parts, "": code_row(self._channel, "open", total, rows.get("", {}))}
                found.rows[series] = now = {name: row for name, row in now.items() if row}
                if device_item(series) in self._found:
                    add(sums, now, VOLUME_CODES)
                left = self._grown[series] = {name: dict(row) for name, row in grown.items()}
                add(left, difference(now, before), VOLUME_CODES, -1)

    def _expect_records(self, chunks: ChunkCoder, steps: HistorySteps) -> None:
        """Expect the records of the latest bucket that was open, of series that no longer have it."""
        starts = [start for step, start in units_of(self._had) if step == OPEN]
        if not starts:
            return
        item = unit_item((OPEN, max(starts)))
        before, now = self._had[item], self._found.get(item, _NONE)
        if item not in self._found and item not in self._names.gone:
            return
        head = self._found[HEAD]
        known = {name: str(row[SCORE]) for name, row in head.rows["numbers"].items()}
        numbers = Numbers(known, 0)
        for series in sorted({*self._series, *before.rows} - now.rows.keys()):
            rows = _bucket(before.rows.get(series, _NO_ROWS), self._grown.get(series, _NO_ROWS))
            try:
                record = record_of(steps.bucket(max(starts)), fields_of(rows), numbers)
            except Damaged:
                continue
            if any(record.volume) or record.applications:
                chunks.append(steps.shortest, series, [record])

    def _chunks(self, chunks: ChunkCoder, unit: Unit) -> None:
        had, wanted, found = self._both(unit_item(unit))
        names = self._names_of_series(had.chunks, wanted.chunks)
        found.chunks = code_chunks(chunks, unit, names, had.chunks, wanted.chunks)

    def _names_of_series(self, had: Iterable[str], wanted: Iterable[str]) -> list[str]:
        """Code the names of series that are not known from the head. Returns all names, the gateway last."""
        known = sorted({*self._series, *had} - {GATEWAY})
        more = sorted({*wanted} - {*known, GATEWAY})
        count = self._channel.count("counts", len(more))
        return [*known, *(self._channel.name(more[at] if more else "") for at in range(count)), GATEWAY]


def _bucket(before: Rows, grown: Rows) -> Rows:
    """An open bucket that has got all that the rows have grown by."""
    rows = {name: dict(numbers) for name, numbers in before.items()}
    add(rows, {name: numbers for name, numbers in grown.items() if name}, SHARE_CODES)
    add(rows, {"": grown.get("", {})}, VOLUME_CODES)
    return {name: numbers for name, numbers in rows.items() if numbers}
