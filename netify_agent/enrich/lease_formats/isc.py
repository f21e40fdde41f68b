"""dhcpd.leases(5) of ISC dhcpd (3.0 to 4.4, with dhcpd6.leases) and of OpenBSD's dhcpd.

The file is a journal: the last block of an address is current. It has the grammar of dhcpd.conf(5), where
line breaks carry no meaning.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Iterator
from typing import BinaryIO

from netify_agent.enrich.files import decode, lines
from netify_agent.enrich.identifiers import clean_ip, clean_mac, clean_name
from netify_agent.enrich.lease_formats.lease import NUMBER, Lease

_FIRST_WORDS = r"authoring-byte-order|server-duid|host|group|subgroup|class|subclass|failover|ia-(?:na|ta|pd)"
_STATEMENT = re.compile(rf"(?:lease\s+[0-9a-fA-F.:]+\s*\{{|(?:{_FIRST_WORDS})\s)")

#: A string, which can contain braces, semicolons and escaped quotes; punctuation; a comment; a word.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[{};]|#.*|[^\s{};"#]+')
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)", re.DOTALL)
_TIME = re.compile(r"\d (\d{4})/(\d\d?)/(\d\d?) (\d\d?):(\d\d):(\d\d)(?: UTC)?", re.ASCII)

_IA = ("ia-na", "ia-ta", "ia-pd")
_HOLDERS = ("lease", "iaaddr")  # blocks of one address
_ACTIVE = ("active", "bootp")
_MAX_DEPTH = 16
_MAX_STATEMENT = 16  # tokens; those that are read have at most five


class _Block:
    """An open block, and what its statements said so far."""

    def __init__(self, opening: list[str]) -> None:
        """`opening` are the tokens before the brace."""
        self.kind = opening[0] if opening else ""
        self._ip = clean_ip(opening[1]) if self.kind in _HOLDERS and len(opening) > 1 else None
        self._mac: str | None = None
        self._names: dict[str, str | None] = {}
        self._ends = 0.0
        self._active = True

    def take(self, statement: list[str]) -> None:
        word, values = statement[0], statement[1:]
        if word == "ends":
            self._ends = _time(values)
        elif word == "binding":
            self._active = len(values) == 2 and values[1] in _ACTIVE
        elif word == "abandoned":
            self._active = False  # OpenBSD's dhcpd writes no binding state
        elif word == "hardware" and values[:1] == ["ethernet"] and len(values) > 1:
            self._mac = clean_mac(values[1])
        elif word in ("client-hostname", "hostname") and values:
            self._names[word] = _string(values[0])
        elif word == "set" and values[:2] == ["ddns-fwd-name", "="] and len(values) > 2:
            self._names["ddns-fwd-name"] = _string(values[2])

    def lease(self) -> Lease | None:
        if self._ip is None:
            return None
        preferred = ("client-hostname", "hostname", "ddns-fwd-name")
        name = next((found for key in preferred if (found := self._names.get(key))), None)
        return Lease(self._ip, self._mac, name, self._ends if self._active else 0.0)


def matches(line: str) -> bool:
    """Whether a line begins a statement that such a file can begin with."""
    return _STATEMENT.match(line) is not None


def read(head: str, file: BinaryIO) -> Iterator[Lease]:
    """Yield the lease of each complete `lease` and `iaaddr` block that follows.

    A block without its closing brace is still being written, and is skipped.
    """
    blocks: list[_Block] = []
    statement: list[str] = []
    for token in _tokens(file):
        if token == "{":
            block = _Block(statement)
            if block.kind == "lease" or block.kind in _IA or len(blocks) == _MAX_DEPTH:
                blocks.clear()  # these are never nested: what is open was cut off
            blocks.append(block)
            statement.clear()
        elif token == "}":
            if blocks and (lease := blocks.pop().lease()):
                yield lease
            statement.clear()
        elif token == ";":
            if blocks and statement:
                blocks[-1].take(statement)
            statement.clear()
        elif len(statement) < _MAX_STATEMENT:
            statement.append(token)


def _tokens(file: BinaryIO) -> Iterator[str]:
    """The tokens; a string ends with its line at the latest, since dhcpd escapes line breaks in strings."""
    for line in lines(file):
        for token in _TOKEN.findall(decode(line)):
            if token[0] != "#":
                yield token


def _time(words: list[str]) -> float:
    """`4 2023/01/05 22:00:00` in UTC, `epoch 1672956000` (db-time-format local) or `never`.

    :returns: seconds since the epoch, infinity for `never`, 0 for anything else.
    """
    if words == ["never"]:
        return math.inf
    if len(words) == 2 and words[0] == "epoch" and NUMBER.fullmatch(words[1]):
        return float(words[1])
    if found := _TIME.fullmatch(" ".join(words)):
        try:
            return float(calendar.timegm(tuple(map(int, found.groups()))))
        except ValueError:
            pass
    return 0.0


def _string(token: str) -> str | None:
    """The name in a string; dhcpd escapes with a backslash, and bytes as three octal digits."""
    raw = token.removeprefix('"').removesuffix('"').encode("utf-8", "surrogateescape")
    plain = _ESCAPE.sub(lambda found: bytes([int(found[1], 8)]) if len(found[1]) == 3 else found[1], raw)
    return clean_name(plain.decode("utf-8", "surrogateescape"))
