"""A pipeline of read commands whose replies all belong to one flush.

A query reads the number of the last flush before and after its commands and raises :class:`FlushedMeanwhile`
if the two differ. A query that continues an earlier one is given its flush. MULTI would give the same
guarantee, but a Redis that is out of memory refuses MULTI even to readers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

import redis

from netify_agent.store.client import Client, StoreError
from netify_agent.store.errors import reason
from netify_agent.store.layout import Keys
from netify_agent.store.redirect import execute

_T = TypeVar("_T")
_P = ParamSpec("_P")

_KEYS_AT_ONCE = 1000  # in one MGET, which stops Redis for less than a millisecond
_ATTEMPTS = 5  # flushes are at least one second apart, so a second attempt is rare


class FlushStamp(NamedTuple):
    """One flush.

    :ivar sequence: its number; 0 before the first flush.
    :ivar at_ms: our clock when its batch was taken, milliseconds since the epoch; 0 before the first flush.
    """

    sequence: int
    at_ms: int


class FlushedMeanwhile(StoreError):
    """A flush was applied between reads that belong together; see :func:`retry_when_flushed`."""

    def __init__(self) -> None:
        super().__init__("flushes come faster than they can be read")


class Result(Generic[_T]):
    """The reply to one command. ``value`` exists once the query has run."""

    __slots__ = ("value",)
    value: _T


class _Joined(Result[list[Any]]):
    """The replies to several commands, one after the other."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Result[list[Any]]]) -> None:
        self._parts = parts

    @property
    def value(self) -> list[Any]:  # type: ignore[override]
        """All values."""
        return [value for part in self._parts for value in part.value]


class Query:
    """Queues commands; :meth:`run` sends them in one round trip."""

    def __init__(self, client: Client, keys: Keys, flush: FlushStamp | None = None) -> None:
        """``flush``: the replies must belong to this flush; None: to whichever is the last."""
        self.keys = keys
        self._pipe = client.pipeline(transaction=False)
        self._flush = flush
        self._results: list[Result[Any]] = []
        if flush is None:
            self._pipe.hmget(keys.meta, "seq", "at")

    def hget(self, key: str, field: str) -> Result[str | None]:
        """Queue HGET."""
        self._pipe.hget(key, field)
        return self._result()

    def hmget(self, key: str, fields: Sequence[str]) -> Result[list[str | None]]:
        """Queue HMGET; without fields, nothing is sent and the result is empty."""
        if not fields:
            empty: Result[list[str | None]] = Result()
            empty.value = []
            return empty
        self._pipe.hmget(key, fields)
        return self._result()

    def hgetall(self, key: str) -> Result[dict[str, str]]:
        """Queue HGETALL."""
        self._pipe.hgetall(key)
        return self._result()

    def mget(self, keys: Sequence[str]) -> Result[list[Any]]:
        """Queue MGET, of some keys at once; without keys, nothing is sent and the result is empty."""
        parts = []
        for at in range(0, len(keys), _KEYS_AT_ONCE):
            self._pipe.mget(keys[at : at + _KEYS_AT_ONCE])
            parts.append(self._result())
        return _Joined(parts)

    def smembers(self, key: str) -> Result[set[str]]:
        """Queue SMEMBERS."""
        self._pipe.smembers(key)
        return self._result()

    def zscore(self, key: str, member: str) -> Result[float | None]:
        """Queue ZSCORE."""
        self._pipe.zscore(key, member)
        return self._result()

    def zcard(self, key: str) -> Result[int]:
        """Queue ZCARD."""
        self._pipe.zcard(key)
        return self._result()

    def zcount(self, key: str, low: int | str, high: int | str) -> Result[int]:
        """Queue ZCOUNT."""
        self._pipe.zcount(key, low, high)
        return self._result()

    def zrange(self, key: str) -> Result[list[str]]:
        """Queue ZRANGE of all members, lowest score first."""
        self._pipe.zrange(key, 0, -1)
        return self._result()

    def zrangebyscore(self, key: str, low: int | str, high: int | str) -> Result[list[str]]:
        """Queue ZRANGEBYSCORE, lowest score first."""
        self._pipe.zrangebyscore(key, low, high)
        return self._result()

    def zrevrange(self, key: str) -> Result[list[str]]:
        """Queue ZREVRANGE of all members, highest score first."""
        self._pipe.zrevrange(key, 0, -1)
        return self._result()

    def highest(
        self, key: str, count: int | None, max_score: int | str = "+inf"
    ) -> Result[list[tuple[str, int]]]:
        """Queue ZREVRANGEBYSCORE WITHSCORES: the ``count`` highest (None: all) up to ``max_score``."""
        self._pipe.zrevrangebyscore(
            key, max_score, "-inf", 0, -1 if count is None else count, withscores=True, score_cast_func=int
        )
        return self._result()

    def run(self) -> FlushStamp:
        """Send the commands and fill in all results.

        :returns: the flush that the replies belong to.
        :raises FlushedMeanwhile: if a flush was applied since the query, or the one it continues, began.
        :raises StoreError: if Redis cannot be reached or refuses.
        """
        self._pipe.hget(self.keys.meta, "seq")
        with store_errors(), self._pipe:
            *replies, after = execute(self._pipe)
        if self._flush is None:
            sequence, at_ms = replies.pop(0)
            flush = FlushStamp(int(sequence or 0), int(at_ms or 0))
        else:
            flush = self._flush
        if int(after or 0) != flush.sequence:
            raise FlushedMeanwhile
        for result, reply in zip(self._results, replies, strict=True):
            result.value = reply
        return flush

    def _result(self) -> Result[Any]:
        result: Result[Any] = Result()
        self._results.append(result)
        return result


def retry_when_flushed(read: Callable[_P, _T]) -> Callable[_P, _T]:
    """Call ``read`` again when it raises :class:`FlushedMeanwhile`.

    :raises StoreError: if the fifth attempt fails too.
    """

    @wraps(read)
    def repeated(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        for _ in range(_ATTEMPTS):
            try:
                return read(*args, **kwargs)
            except FlushedMeanwhile as error:
                last = error
        raise StoreError(str(last))  # not FlushedMeanwhile, which a caller would retry in turn

    return repeated


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise redis-py's errors as :class:`~netify_agent.store.client.StoreError`."""
    try:
        yield
    except redis.RedisError as error:
        raise StoreError(reason(error)) from error
