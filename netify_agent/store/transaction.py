"""A MULTI/EXEC of very many commands, packed and sent in pieces, with the replies read in bulk.

redis-py's pipeline keeps every command as a tuple until the end, packs each with a dozen calls, and makes an
object of every reply. For a flush of 200,000 commands that costs one second of CPU time and 100 MB, and the
garbage collection stops all threads. Here a command is packed at once, replies are only checked for errors,
and all that is kept of a command are its compressed bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from gzip import GzipFile
from io import BytesIO
from itertools import chain
from types import TracebackType
from typing import Any, NamedTuple

import redis

from netify_agent.store.connection import note, socket_of
from netify_agent.store.layout import ALL_COUNTERS

Value = str | int | bytes

_PIECE_BYTES = 65536
_LEVEL = 3  # of zlib: a tenth less than level 1 in the same time; reduces the size to an eighth
_GZIP = 16 + zlib.MAX_WBITS  # zlib.compressobj: with the header that the module gzip reads
_HINCRBY = b"*4\r\n$7\r\nHINCRBY\r\n"


class Sent(NamedTuple):
    """A transaction as it was sent, to be sent again by :func:`repeat`.

    :ivar commands: number of commands without MULTI and EXEC.
    :ivar pieces: the bytes as one gzip member. They are not joined, because that would need as much memory
        again.
    """

    commands: int
    pieces: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Number of compressed bytes."""
        return sum(map(len, self.pieces))

    def expanded(self) -> GzipFile:
        """Return the bytes as they were sent, to be read as a file."""
        return GzipFile(fileobj=BytesIO(b"".join(self.pieces)))


class Transaction:
    """One transaction on a connection that may have keys under WATCH.

    The commands have the names they have in redis-py. Use it in a ``with`` statement: if an exception leaves
    the block, the connection is closed, so that Redis discards the transaction. Every method raises
    :class:`redis.RedisError` if the connection fails.

    :ivar count: number of commands so far.
    """

    def __init__(self, connection: Any) -> None:
        """Begin a transaction.

        :param connection: a connection of redis-py without outstanding replies.
        """
        self.count = 0
        self._connection = connection
        self._pieces = [_packed("MULTI")]
        self._size = 0
        self._sent: list[bytes] = []
        self._compress = zlib.compressobj(_LEVEL, wbits=_GZIP)
        self._fields: dict[str, bytes] = {}  # packed names, because most hashes have the same fields

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._connection.disconnect()

    def grow(self, key: str, suffix: str, counts: Sequence[int]) -> None:
        """HINCRBY of the counters of a row, without zeros.

        :param suffix: suffix of the field names: empty, or a colon and the name of the row.
        :param counts: in the order of ``ALL_COUNTERS``; may be shorter.
        """
        head, fields = _HINCRBY + _bulk(key), self._fields
        commands = []
        for code, count in zip(ALL_COUNTERS, counts, strict=False):
            if count:
                field = code + suffix
                bulk = fields.get(field)
                if bulk is None:
                    bulk = fields[field] = _bulk(field)
                digits = b"%d" % count
                commands.append(b"%b%b$%d\r\n%b\r\n" % (head, bulk, len(digits), digits))
        if commands:
            self.count += len(commands)
            self._put(b"".join(commands))

    def hincrby(self, key: str, field: str, amount: int) -> None:
        """HINCRBY of one field."""
        self._add("HINCRBY", key, field, amount)

    def hset(self, key: str, mapping: Mapping[str, Value]) -> None:
        """HSET of several fields."""
        self._add("HSET", key, *chain.from_iterable(mapping.items()))

    def hsetnx(self, key: str, field: str, value: Value) -> None:
        """HSETNX."""
        self._add("HSETNX", key, field, value)

    def hdel(self, key: str, *fields: str) -> None:
        """HDEL."""
        self._add("HDEL", key, *fields)

    def sadd(self, key: str, *members: Value) -> None:
        """SADD."""
        self._add("SADD", key, *members)

    def srem(self, key: str, *members: Value) -> None:
        """SREM."""
        self._add("SREM", key, *members)

    def zadd(self, key: str, scores: Mapping[str, int], nx: bool = False) -> None:
        """ZADD, with NX if ``nx``."""
        pairs: Iterator[tuple[Value, Value]] = ((score, member) for member, score in scores.items())
        self._add("ZADD", key, *(["NX"] if nx else []), *chain.from_iterable(pairs))

    def zincrby(self, key: str, amount: int, member: str) -> None:
        """ZINCRBY."""
        self._add("ZINCRBY", key, amount, member)

    def zrem(self, key: str, *members: str) -> None:
        """ZREM."""
        self._add("ZREM", key, *members)

    def zremrangebyscore(self, key: str, least: Value, most: Value) -> None:
        """ZREMRANGEBYSCORE."""
        self._add("ZREMRANGEBYSCORE", key, least, most)

    def expire(self, key: str, seconds: int) -> None:
        """EXPIRE."""
        self._add("EXPIRE", key, seconds)

    def persist(self, key: str) -> None:
        """PERSIST."""
        self._add("PERSIST", key)

    def set(self, key: str, value: bytes) -> None:
        """SET, which also removes a time to live."""
        self._add("SET", key, value)

    def append(self, key: str, value: bytes) -> None:
        """APPEND."""
        self._add("APPEND", key, value)

    def delete(self, *keys: str) -> None:
        """DEL."""
        self._add("DEL", *keys)

    def commit(self) -> Sent:
        """Send EXEC. Call :meth:`refused` for the outcome."""
        self._pieces.append(_packed("EXEC"))
        self._send()
        self._sent.append(self._compress.flush())
        return self._as_sent()

    def refused(self) -> list[tuple[str, str, str]]:
        """Wait for the outcome of :meth:`commit`.

        :returns: name, key and error of each refused command; the others were executed.
        :raises redis.WatchError: a watched key changed; nothing was executed.
        :raises redis.ResponseError: Redis refused to queue a command; nothing was executed.
        """
        refused = dict(_outcome(self._connection, self.count))
        if not refused:
            return []
        return [(name, key, refused[index]) for index, name, key in _heads(self._as_sent(), refused)]

    def _add(self, name: str, key: str, *arguments: Value) -> None:
        """Queue one command. Its reply must be a status, a number or a string."""
        self.count += 1
        self._put(_packed(name, key, *arguments))

    def _put(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= _PIECE_BYTES:
            self._send()

    def _send(self) -> None:
        piece = b"".join(self._pieces)
        self._connection.send_packed_command([piece], check_health=False)
        self._sent.append(self._compress.compress(piece))
        self._pieces.clear()
        self._size = 0

    def _as_sent(self) -> Sent:
        return Sent(self.count, tuple(self._sent))


def repeat(connection: Any, sent: Sent) -> list[str]:
    """Send a transaction again and return the errors of refused commands.

    Raises as :meth:`Transaction.refused` does.
    """
    try:
        with sent.expanded() as data:
            while piece := data.read(_PIECE_BYTES):
                connection.send_packed_command([piece], check_health=False)
        return [why for _, why in _outcome(connection, sent.commands)]
    except BaseException:
        connection.disconnect()
        raise


def _outcome(connection: Any, count: int) -> list[tuple[int, str]]:
    """Read the replies after EXEC; return index and error of each refused command of ``count``."""
    replies = _Replies(connection)
    refused = [error for _, error in replies.errors(1 + count)]
    outcome = replies.line()
    if refused or outcome.startswith(b"-"):
        error = redis.ResponseError(_text(refused[0] if refused else outcome))
        note(connection, error)
        raise error
    if outcome == b"*-1":
        raise redis.WatchError("watched key changed")
    return [(index, _text(error)) for index, error in replies.errors(count)]


def _heads(sent: Sent, wanted: Collection[int]) -> Iterator[tuple[int, str, str]]:
    """Yield index, name and key of those commands of a transaction whose index is in ``wanted``."""
    with sent.expanded() as data:
        for index in range(-1, sent.commands):  # -1 is MULTI
            count = int(data.readline()[1:])
            arguments = [data.read(int(data.readline()[1:]) + 2)[:-2] for _ in range(count)]
            if index in wanted:
                yield index, arguments[0].decode(), arguments[1].decode()


class _Replies:
    """Reads reply lines from the socket of a connection.

    redis-py can't read a reply without making an object of it, so the socket is read directly. Its own parser
    must not hold buffered data.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lines: Iterator[bytes] = iter(())
        self._cut = b""

    def line(self) -> bytes:
        """Return the next line without CRLF."""
        while True:
            for line in self._lines:
                return line
            self._receive()

    def errors(self, count: int) -> list[tuple[int, bytes]]:
        """Read ``count`` replies; return index and line of each error."""
        errors = []
        index = 0
        is_string = False
        while index < count or is_string:
            for line in self._lines:
                if is_string:  # the line before was its length
                    is_string = False
                else:
                    if line.startswith(b"-"):
                        errors.append((index, line))
                    is_string = line.startswith(b"$") and line != b"$-1"
                    index += 1
                if index == count and not is_string:
                    break
            else:
                self._receive()
        return errors

    def _receive(self) -> None:
        """Wait for more lines."""
        try:
            data = socket_of(self._connection).recv(_PIECE_BYTES)
        except TimeoutError as error:
            raise redis.TimeoutError("Timeout reading from socket") from error
        except OSError as error:
            raise redis.ConnectionError(f"Error while reading from socket: {error}") from error
        if not data:
            raise redis.ConnectionError("Connection closed by server")
        lines = (self._cut + data).split(b"\r\n")
        self._cut = lines.pop()
        self._lines = iter(lines)


def _bulk(value: Value) -> bytes:
    """Encode a RESP bulk string. Lone surrogates are replaced, as everywhere in the store."""
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
    return b"$%d\r\n%b\r\n" % (len(data), data)


def _packed(*arguments: Value) -> bytes:
    return b"*%d\r\n%b" % (len(arguments), b"".join(map(_bulk, arguments)))


def _text(line: bytes) -> str:
    return line[1:].decode("utf-8", "replace")
