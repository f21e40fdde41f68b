"""A MULTI/EXEC of very many commands, packed and sent in pieces, with the replies read in bulk.

redis-py's pipeline keeps every command as a tuple until the end, packs each with a dozen calls, and makes an
object of every reply. For a flush of 200,000 commands that costs one second of CPU time and 100 MB, and the
garbage collection stops all threads. Here a command is packed at once, replies are only checked for errors,
and all that is kept of a command are its compressed bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from gzip import GzipFile
from io import BytesIO
from itertools import chain
from types import TracebackType
from typing import Any, NamedTuple

import redis

from netify_agent.store.connection import note, socket_of
from netify_agent.store.layout import ALL_COUNTERS

Value = str | int

_PIECE_BYTES = 65536
_LEVEL = 1  # of zlib: takes a fifth of the time of a flush, and reduces the size to an eighth
_GZIP = 16 + zlib.MAX_WBITS  # zlib.compressobj: with the header that the module gzip reads
_HINCRBY = "*4\r\n$7\r\nHINCRBY\r\n"
_ZINCRBY = "*4\r\n$7\r\nZINCRBY\r\n"


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
        self._pieces = [_packed(["MULTI"])]
        self._size = 0
        self._sent: list[bytes] = []
        self._compress = zlib.compressobj(_LEVEL, wbits=_GZIP)
        # Packed names of counters by row, for each selection of counters: most hashes have the same rows.
        self._fields: dict[tuple[str, ...], dict[str, Sequence[str]]] = {}
        self._increments: dict[str, str] = {}  # packed beginning of a ZINCRBY by key

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._connection.disconnect()

    def grow(self, key: str, counts: Sequence[int], codes: tuple[str, ...] = ALL_COUNTERS) -> None:
        """HINCRBY of counters, without zeros.

        :param counts: one for each of ``codes``; may be shorter.
        :param codes: the names of the fields; a counter without a name is left out.
        """
        names = [_bulk(code) if code else "" for code in codes]
        self._grow(key, [(names, counts)])

    def grow_rows(
        self, key: str, rows: Mapping[str, Sequence[int]], codes: tuple[str, ...] = ALL_COUNTERS
    ) -> None:
        """The same for each row of a hash, with fields ``code:row``.

        :param rows: the counters by the name of the row.
        """
        fields = self._fields.setdefault(codes, {})
        found = []
        for row, counts in rows.items():
            names = fields.get(row)
            if names is None:
                names = fields[row] = [_bulk(f"{code}:{row}") if code else "" for code in codes]
            found.append((names, counts))
        self._grow(key, found)

    def _grow(self, key: str, rows: Iterable[tuple[Sequence[str], Sequence[int]]]) -> None:
        head = _HINCRBY + _bulk(key)
        commands = []
        for names, counts in rows:
            for name, count in zip(names, counts, strict=False):
                if count and name:
                    digits = str(count)
                    commands.append(f"{head}{name}${len(digits)}\r\n{digits}\r\n")
        if commands:
            self.count += len(commands)
            self._put(_encoded("".join(commands)))

    def add_scores(self, member: str, amounts: Mapping[str, int]) -> None:
        """ZINCRBY of one member of several sorted sets.

        :param amounts: what to add, by key.
        """
        heads, tail = self._increments, _bulk(member)
        commands = []
        for key, amount in amounts.items():
            head = heads.get(key)
            if head is None:
                head = heads[key] = _ZINCRBY + _bulk(key)
            digits = str(amount)
            commands.append(f"{head}${len(digits)}\r\n{digits}\r\n{tail}")
        self.count += len(commands)
        self._put(_encoded("".join(commands)))

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
        self._add_bytes("SET", key, value)

    def append(self, key: str, value: bytes) -> None:
        """APPEND."""
        self._add_bytes("APPEND", key, value)

    def delete(self, *keys: str) -> None:
        """DEL."""
        self._add("DEL", *keys)

    def commit(self) -> Sent:
        """Send EXEC. Call :meth:`refused` for the outcome."""
        self._pieces.append(_packed(["EXEC"]))
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
        self._put(_packed([name, key, *arguments]))

    def _add_bytes(self, name: str, key: str, value: bytes) -> None:
        """Queue a command whose last argument is no text."""
        self.count += 1
        self._put(b"*3\r\n%b$%d\r\n%b\r\n" % (_encoded(_bulk(name) + _bulk(key)), len(value), value))

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
    """Reads replies from the socket of a connection.

    redis-py can't read a reply without making an object of it, so the socket is read directly. Its own parser
    must not hold buffered data.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._text = b""  # whole replies
        self._cut = b""  # the beginning of one

    def line(self) -> bytes:
        """Return the next line without CRLF."""
        while not self._text:
            self._receive()
        line, _, self._text = self._text.partition(b"\r\n")
        return line

    def errors(self, count: int) -> list[tuple[int, bytes]]:
        """Read ``count`` replies; return index and line of each error.

        A reply that is a string must be a number.
        """
        errors = []
        index = 0
        while index < count:
            if not self._text:
                self._receive()
            text = self._text
            if b"-" not in text and index + (whole := text.count(b"\n") - text.count(b"$")) <= count:
                index += whole  # no error is among them
                self._text = b""
                continue
            at = 0
            while index < count and at < len(text):
                end = text.index(b"\r\n", at)
                if text.startswith(b"-", at):
                    errors.append((index, text[at:end]))
                elif text.startswith(b"$", at) and text[at:end] != b"$-1":
                    end = text.index(b"\r\n", end + 2)
                at = end + 2
                index += 1
            self._text = text[at:]
        return errors

    def _receive(self) -> None:
        """Wait for more replies."""
        try:
            data = socket_of(self._connection).recv(_PIECE_BYTES)
        except TimeoutError as error:
            raise redis.TimeoutError("Timeout reading from socket") from error
        except OSError as error:
            raise redis.ConnectionError(f"Error while reading from socket: {error}") from error
        if not data:
            raise redis.ConnectionError("Connection closed by server")
        data = self._cut + data
        end = data.rfind(b"\n") + 1
        last = data.rfind(b"\n", 0, max(end - 1, 0)) + 1
        if data.startswith(b"$", last) and not data.startswith(b"$-1", last):
            end = last  # only the length of a string
        self._text, self._cut = data[:end], data[end:]


def _bulk(text: str) -> str:
    """A RESP bulk string. Its length is that of :func:`_encoded`."""
    return f"${len(text if text.isascii() else _encoded(text))}\r\n{text}\r\n"


def _encoded(text: str) -> bytes:
    """The bytes of a text. Lone surrogates are replaced, as everywhere in the store."""
    return text.encode("utf-8", "replace")


def _packed(arguments: Sequence[Value]) -> bytes:
    """A command."""
    texts = [str(argument) for argument in arguments]
    packed = "".join([f"${len(text)}\r\n{text}\r\n" for text in texts])
    if not packed.isascii():
        packed = "".join(map(_bulk, texts))
    return _encoded(f"*{len(texts)}\r\n{packed}")


def _text(line: bytes) -> str:
    return line[1:].decode("utf-8", "replace")
