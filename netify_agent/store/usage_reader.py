"""Reads the gateway's applications and protocols, and the devices that use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from netify_agent.store.layout import COUNTERS, FIRST_SEEN, GATEWAY, LAST_SEEN
from netify_agent.store.query import FlushStamp, retry_when_flushed
from netify_agent.store.reader import StoreReader
from netify_agent.store.rows import AT_REST, Counted, UsageRow, counters_of, decode_rates, rows_of, time_of


@dataclass
class UsageSnapshot:
    """The gateway's applications or protocols after one flush, most bytes first."""

    flush: FlushStamp
    rows: list[UsageRow]


@dataclass
class UserRow(Counted):
    """What one device moved with one application."""

    device: str = ""


@dataclass
class ApplicationSnapshot:
    """One application of the gateway after one flush, and the devices that moved bytes with it."""

    flush: FlushStamp
    application: UsageRow
    users: list[UserRow]


class UsageReader:
    """Reads from one gateway's store. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader

    @retry_when_flushed
    def applications(self) -> UsageSnapshot:
        """The gateway's applications, without their users."""
        keys = self._reader.keys
        query = self._reader.query()
        fields = query.hgetall(keys.applications(GATEWAY))
        categories = query.hgetall(keys.categories)
        rates = query.hget(keys.rates, GATEWAY)
        flush = query.run()
        rows = rows_of(fields.value, decode_rates(rates.value)[1])
        return UsageSnapshot(flush, _usage_rows(rows, categories.value))

    @retry_when_flushed
    def protocols(self) -> UsageSnapshot:
        """The gateway's protocols, without their users, rates and times, which are not kept."""
        query = self._reader.query()
        fields = query.hgetall(self._reader.keys.protocols(GATEWAY))
        flush = query.run()
        return UsageSnapshot(flush, _usage_rows(rows_of(fields.value, {}), {}))

    def add_application_users(self, flush: FlushStamp, rows: Sequence[UsageRow], limit: int | None) -> None:
        """Read the heaviest users of some applications into their rows.

        :param flush: the flush that ``rows`` were read from.
        :param limit: how many users of each; None: all.
        :raises FlushedMeanwhile: if the store has moved on since.
        """
        self._add_users(flush, rows, limit, self._reader.keys.users)

    def add_users_now(self, flush: FlushStamp, rows: Sequence[UsageRow], limit: int) -> None:
        """Read the users with the highest rate now into the rows of some applications, with all their bytes.

        :param flush: the flush that ``rows`` were read from.
        :param limit: how many users of each.
        :raises FlushedMeanwhile: if the store has moved on since.
        """
        keys = self._reader.keys
        query = self._reader.query(flush)
        rates = query.hgetall(keys.rates)
        query.run()
        users_by_tag: dict[str, list[tuple[int, str]]] = {row.name: [] for row in rows}
        for device, text in rates.value.items():
            for tag, (up, down) in decode_rates(text)[1].items() if device != GATEWAY else ():
                if tag in users_by_tag and up + down:
                    users_by_tag[tag].append((-up - down, device))
        query = self._reader.query(flush)
        scores = [
            [(device, query.zscore(keys.users(tag), device)) for _, device in sorted(users)[:limit]]
            for tag, users in users_by_tag.items()
        ]
        query.run()
        for row, of_row in zip(rows, scores, strict=True):
            row.users = [(device, int(score.value or 0)) for device, score in of_row]

    def add_protocol_users(self, flush: FlushStamp, rows: Sequence[UsageRow], limit: int | None) -> None:
        """The same for protocols."""
        self._add_users(flush, rows, limit, self._reader.keys.protocol_users)

    def _add_users(
        self, flush: FlushStamp, rows: Sequence[UsageRow], limit: int | None, key: Callable[[str], str]
    ) -> None:
        query = self._reader.query(flush)
        users = [query.highest(key(row.name), limit) for row in rows]
        query.run()
        for row, of_row in zip(rows, users, strict=True):
            row.users = of_row.value

    @retry_when_flushed
    def application(self, tag: str) -> ApplicationSnapshot | None:
        """One application with all its users, most bytes first; None if the store does not know it."""
        keys = self._reader.keys
        query = self._reader.query()
        users = query.zrevrange(keys.users(tag))
        flush = query.run()

        codes = (*COUNTERS, FIRST_SEEN, LAST_SEEN)
        owners = [GATEWAY, *users.value]
        query = self._reader.query(flush)
        category = query.hget(keys.categories, tag)
        rates = query.hmget(keys.rates, owners)
        values = [
            query.hmget(keys.applications(owner), [f"{code}:{tag}" for code in codes]) for owner in owners
        ]
        query.run()

        whole, *of_users = [
            _counted(dict(zip(codes, of_owner.value, strict=True)), decode_rates(text)[1].get(tag, AT_REST))
            for of_owner, text in zip(values, rates.value, strict=True)
        ]
        if not any(whole.counters.values()):
            return None
        return ApplicationSnapshot(
            flush,
            UsageRow(**vars(whole), name=tag, category=int(category.value or 0)),
            [
                UserRow(**vars(row), device=device)
                for device, row in zip(users.value, of_users, strict=True)
                if any(row.counters.values())
            ],
        )


def _counted(fields: dict[str, str | None], rates: tuple[int, int]) -> Counted:
    known = {code: value for code, value in fields.items() if value is not None}
    return Counted(counters_of(known), rates, time_of(known.get(FIRST_SEEN)), time_of(known.get(LAST_SEEN)))


def _usage_rows(rows: Mapping[str, Counted], categories: Mapping[str, str]) -> list[UsageRow]:
    return [
        UsageRow(**vars(row), name=name, category=int(categories.get(name, 0))) for name, row in rows.items()
    ]
