"""A gateway's message to a collector: a header, the names of items, their contents, and a digest of all.

The contents are coded against what both sides have, so a collector reads in steps: the header, which names
the position that it must have; the names, for which it must know its own items; and the contents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.replica import Content, check, check_sizes
from netify_agent.store.replica_coder import ContentCoder, Names, code_names
from netify_agent.store.replica_columns import Channel, Invalid, Reader, Writer

VERSION = 2
MAX_COLUMNS = 16 << 20  # bytes of a message before compression
_POSITION = 16  # bytes
_MAX_TIME = 1 << 47  # milliseconds: in the year 6429, which calendars have

StepsOf = Callable[[Mapping[str, str]], HistorySteps]


class Differs(Exception):
    """The contents of the message are not those that its writer had: the collector has others."""


class Header(NamedTuple):
    """How a message begins.

    :ivar base: the position that the collector must have; empty: none.
    :ivar position: the position that it has afterwards, chosen at random.
    :ivar at_ms: the gateway's clock at the flush that the contents belong to, milliseconds since the epoch.
    :ivar elapsed_ms: the time since the flush before.
    """

    base: str
    position: str
    at_ms: int
    elapsed_ms: int


def encode(
    header: Header,
    known: Iterable[str],
    names: Names,
    had: Mapping[str, Content],
    contents: Mapping[str, Content],
    steps: HistorySteps,
) -> bytes:
    """Write a message.

    :param known: the items that the collector has; :param had: the contents of ``names.needed``.
    :param contents: of the head and of all items of the message.
    """
    channel = Writer()
    _code_header(channel, header)
    code_names(channel, known, names)
    found = ContentCoder(channel, header.at_ms, names, had, contents, lambda _: steps).code()
    if found != contents:
        raise AssertionError("the message would have other contents than the store")
    channel.data(_check(names, {item: content.digest() for item, content in contents.items()}))
    return bytes([VERSION]) + channel.packed()


class Incoming:
    """A received message, which is untrusted input. Raises Invalid."""

    def __init__(self, data: bytes) -> None:
        """Reads the header."""
        if data[:1] != bytes([VERSION]):
            raise Invalid(f"expected a message of version {VERSION}")
        self._channel = Reader(data[1:], MAX_COLUMNS)
        self.header = _code_header(self._channel, Header("", "", 0, 0))

    def names(self, known: Iterable[str]) -> Names:
        """The items of the message. ``known``: those that the collector has."""
        return code_names(self._channel, known, Names())

    def contents(self, names: Names, had: Mapping[str, Content], steps_of: StepsOf) -> dict[str, Content]:
        """The contents of all items. ``had``: what the collector has of ``names.needed``.

        :param steps_of: the steps of the history by the settings in the head. Raises ValueError.
        :raises Differs: if they are not those that the gateway has.
        """
        coder = ContentCoder(self._channel, self.header.at_ms, names, had, {}, steps_of)
        try:
            found = coder.code()
        except (ArithmeticError, OSError, ValueError) as error:  # a time outside of the calendar
            raise Invalid(f"expected other numbers ({error})") from None
        sent = self._channel.data(b"")
        self._channel.finish()
        for item, content in found.items():
            check(item, content)
        check_sizes(found)
        if sent != _check(names, {item: content.digest() for item, content in found.items()}):
            raise Differs
        return found


def _code_header(channel: Channel, wanted: Header) -> Header:
    base = channel.data(bytes.fromhex(wanted.base)).hex()
    position = channel.data(bytes.fromhex(wanted.position)).hex()
    at_ms, elapsed_ms = channel.count("header", wanted.at_ms), channel.count("header", wanted.elapsed_ms)
    if len(position) != 2 * _POSITION or len(base) not in (0, 2 * _POSITION):
        raise Invalid(f"expected positions of {_POSITION} bytes")
    if max(at_ms, elapsed_ms) > _MAX_TIME:
        raise Invalid("expected an earlier time")
    return Header(base, position, at_ms, elapsed_ms)


def _check(names: Names, digests: Mapping[str, str]) -> bytes:
    parts = (sorted(digests.items()), sorted(names.gone), sorted(names.ttl_s.items()))
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
