"""What is read of a record: its volume, all of its applications, or one of them.

Each decoder says what it needs of an open bucket, which is a hash, and takes it from there and from chunks.
Decoding is most of the cost of an answer, so nothing is decoded that is not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from netify_agent.store.history_record import (
    ApplicationDecoder,
    Share,
    Volume,
    decode,
    decode_volumes,
)
from netify_agent.store.layout import SHARE_CODES, VOLUME_CODES
from netify_agent.store.open_bucket import share_of, shares_of, volume_of
from netify_agent.store.query import Query, Result

Applications = tuple[Volume, dict[str, Share]]

_T = TypeVar("_T")


class Decoder(Protocol[_T]):
    """Reads one kind of value. Its methods raise :class:`~netify_agent.store.history_blocks.Damaged`."""

    def of_chunk(self, data: bytes, origin: int, *, fresh_only: bool) -> list[tuple[int, _T]]:
        """Start and value of each record of a chunk that starts at ``origin``.

        :param fresh_only: without the records that a longer step holds too.
        """

    def queue(self, query: Query, key: str) -> Result[Any]:
        """Read what is needed of a bucket that is a hash. ``query`` does not decode what it reads."""

    def of_bucket(self, reply: Any) -> _T:
        """The value of a bucket; ``reply``: what :meth:`queue` got."""


class VolumeDecoder:
    """The volume, without a look at the applications."""

    def of_chunk(self, data: bytes, origin: int, *, fresh_only: bool) -> list[tuple[int, Volume]]:
        """See :class:`Decoder`."""
        return decode_volumes(data, origin, fresh_only=fresh_only)

    def queue(self, query: Query, key: str) -> Result[Any]:
        """See :class:`Decoder`."""
        return query.hmget(key, VOLUME_CODES)

    def of_bucket(self, reply: Any) -> Volume:
        """See :class:`Decoder`."""
        return volume_of(reply)


class ApplicationsDecoder:
    """The volume, and the part of each application by its name."""

    def __init__(self, numbers: Mapping[str, str]) -> None:
        """``numbers``: application to its number."""
        self._names = {int(number): name for name, number in numbers.items()}

    def of_chunk(self, data: bytes, origin: int, *, fresh_only: bool) -> list[tuple[int, Applications]]:
        """See :class:`Decoder`."""
        chunk, names = decode(data, origin), self._names
        return [
            (
                record.start,
                (
                    record.volume,
                    {names.get(one, f"?{one}"): share for one, share in record.applications.items()},
                ),
            )
            for record in (chunk.fresh if fresh_only else [*chunk.summed, *chunk.fresh])
        ]

    def queue(self, query: Query, key: str) -> Result[Any]:
        """See :class:`Decoder`."""
        return query.hgetall(key)

    def of_bucket(self, reply: Any) -> Applications:
        """See :class:`Decoder`."""
        return shares_of(
            {
                name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
                for name, value in reply.items()
            }
        )


class OneApplicationDecoder:
    """The part of one application."""

    def __init__(self, name: str, numbers: Mapping[str, str]) -> None:
        """``numbers``: application to its number; one without a number is in no chunk."""
        self._codes = [f"{code}:{name}" for code in SHARE_CODES]
        self._chunks = ApplicationDecoder(int(numbers[name])) if name in numbers else None

    def of_chunk(self, data: bytes, origin: int, *, fresh_only: bool) -> list[tuple[int, Share]]:
        """See :class:`Decoder`."""
        return self._chunks.decode(data, origin, fresh_only=fresh_only) if self._chunks else []

    def queue(self, query: Query, key: str) -> Result[Any]:
        """See :class:`Decoder`."""
        return query.hmget(key, self._codes)

    def of_bucket(self, reply: Any) -> Share:
        """See :class:`Decoder`."""
        return share_of(reply)
