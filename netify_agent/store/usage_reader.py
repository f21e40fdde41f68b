"""Who uses what: the gateway's applications and protocols with their heaviest users, read from Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netify_agent.store.client import StoreError
from netify_agent.store.layout import COUNTERS, FIRST_SEEN, GATEWAY, LAST_SEEN
from netify_agent.store.reader import ATTEMPTS, TOO_FAST, StoreReader, store_errors
from netify_agent.store.rows import AT_REST, Counted, UsedRow, counters_of, decode_rates, rows_of, time_of

#: Given all rows without their users, the ones that are wanted with them.
Select = Callable[[list[UsedRow]], Sequence[UsedRow]]


def _all(rows: list[UsedRow]) -> list[UsedRow]:
    return rows


@dataclass
class User(Counted):
    """A device as one application sees it."""

    device: str = ""


class UsageReader:
    """Reads of one gateway's store. Every method raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader
        self._keys = reader.keys

    def applications(self, users: int | None, select: Select = _all) -> tuple[int, list[UsedRow]]:
        """The gateway's applications, most bytes first, or those that ``select`` picks, in its order.

        :param users: how many of the heaviest users to tell with each; None: all.
        :returns: our clock at the last flush (milliseconds since the epoch), and the rows.
        """
        keys = self._keys

        def queue(pipe: Any) -> None:
            pipe.hmget(keys.meta, "seq", "at")
            pipe.hgetall(keys.applications(GATEWAY))
            pipe.hgetall(keys.categories)
            pipe.hget(keys.rates, GATEWAY)

        def decode(fields: dict[str, str], categories: dict[str, str], rates: str | None) -> list[UsedRow]:
            return _used(rows_of(fields, decode_rates(rates)[1]), categories)

        return self._with_users(queue, decode, keys.users, users, select)

    def protocols(self, users: int | None, select: Select = _all) -> tuple[int, list[UsedRow]]:
        """The same of the gateway's protocols."""
        keys = self._keys

        def queue(pipe: Any) -> None:
            pipe.hmget(keys.meta, "seq", "at")
            pipe.hgetall(keys.protocols(GATEWAY))

        def decode(fields: dict[str, str]) -> list[UsedRow]:
            return _used(rows_of(fields, {}), {})

        return self._with_users(queue, decode, keys.protocol_users, users, select)

    def _with_users(
        self,
        queue: Callable[[Any], None],
        decode: Callable[..., list[UsedRow]],
        key_of_users: Callable[[str], str],
        users: int | None,
        select: Select,
    ) -> tuple[int, list[UsedRow]]:
        last = -1 if users is None else users - 1
        with store_errors():
            for _ in range(ATTEMPTS):
                (sequence, at_ms), *replies = self._reader.whole(queue)
                chosen = list(select(decode(*replies)))
                if users == 0 or not chosen:
                    return int(at_ms or 0), chosen

                def queue_users(pipe: Any, rows: list[UsedRow] = chosen) -> None:
                    pipe.hget(self._keys.meta, "seq")
                    for row in rows:
                        pipe.zrevrange(key_of_users(row.name), 0, last, withscores=True)

                still, *heaviest = self._reader.whole(queue_users)
                if still == sequence:
                    for row, pairs in zip(chosen, heaviest, strict=True):
                        row.users = [(device, int(score)) for device, score in pairs]
                    return int(at_ms or 0), chosen
        raise StoreError(TOO_FAST)

    def application(self, tag: str) -> tuple[int, UsedRow, list[User]] | None:
        """One application of the gateway, and all devices that moved bytes with it.

        :returns: our clock at the last flush (milliseconds since the epoch), the application's own row and
            those of its users; None for an application that the store does not know.
        """
        keys = self._keys
        codes = (*COUNTERS, FIRST_SEEN, LAST_SEEN)
        fields = [f"{code}:{tag}" for code in codes]
        with store_errors():
            devices = self._reader.client.zrevrange(keys.users(tag), 0, -1)

            def queue(pipe: Any) -> None:
                pipe.hget(keys.meta, "at")
                pipe.hget(keys.categories, tag)
                pipe.hmget(keys.rates, [GATEWAY, *devices])
                for name in (GATEWAY, *devices):
                    pipe.hmget(keys.applications(name), fields)

            at_ms, category, rates, *found = self._reader.whole(queue)
        rows = [
            _row(dict(zip(codes, values, strict=True)), decode_rates(of_device)[1].get(tag, AT_REST))
            for values, of_device in zip(found, rates, strict=True)
        ]
        whole, *parts = rows
        if not any(whole.counters.values()):
            return None
        users = [
            User(**vars(row), device=device)
            for device, row in zip(devices, parts, strict=True)
            if any(row.counters.values())
        ]
        return int(at_ms or 0), UsedRow(**vars(whole), name=tag, category=int(category or 0)), users


def _row(fields: dict[str, str | None], rates: tuple[int, int]) -> Counted:
    known = {code: value for code, value in fields.items() if value is not None}
    return Counted(counters_of(known), rates, time_of(known.get(FIRST_SEEN)), time_of(known.get(LAST_SEEN)))


def _used(rows: Mapping[str, Counted], categories: Mapping[str, str]) -> list[UsedRow]:
    return [
        UsedRow(**vars(row), name=name, category=int(categories.get(name, 0))) for name, row in rows.items()
    ]
