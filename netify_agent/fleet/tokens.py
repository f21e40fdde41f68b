"""The tokens of a collector: which gateway may write, and which gateways a reader sees.

The files hold SHA-256 digests in hexadecimal digits, never a token. Lines are words; ``#`` begins a comment::

    gateways_file:   <gateway> <digest>
    readers_file:    <digest> [<pattern> ...]

A pattern is a name in which ``*`` and ``?`` stand for other characters. A reader without patterns sees all.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from netify_agent.config.secrets import text_of_file
from netify_agent.config.types import plain_name
from netify_agent.config.yaml_reader import ConfigError, Expected

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PATTERN = re.compile(r"[A-Za-z0-9._*?-]{1,63}")
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True)
class Reader:
    """A reader's token and what it may see; ``patterns`` empty: every gateway."""

    digest: bytes
    patterns: tuple[str, ...] = ()

    def sees(self, gateway: str) -> bool:
        """Whether the reader may see a gateway."""
        return not self.patterns or any(fnmatchcase(gateway, pattern) for pattern in self.patterns)


@dataclass(frozen=True)
class Tokens:
    """All tokens.

    :ivar gateways: gateway to the digests of its tokens; two while a token is replaced.
    """

    gateways: dict[str, tuple[bytes, ...]]
    readers: tuple[Reader, ...]

    def may_write(self, authorization: str, gateway: str) -> bool:
        """Whether a header ``Authorization`` has a token of exactly this gateway."""
        given = _digest_of(authorization)
        # An unknown gateway takes the same time as a wrong token.
        known = self.gateways.get(gateway, (b"\0" * 32,))
        right = sum(hmac.compare_digest(given, digest) for digest in known)
        return bool(right) and gateway in self.gateways

    def reader(self, authorization: str) -> Reader | None:
        """Return the reader with the token of a header ``Authorization``; None if no reader has it."""
        given = _digest_of(authorization)
        found = [reader for reader in self.readers if hmac.compare_digest(given, reader.digest)]
        return found[0] if found else None


def _digest_of(authorization: str) -> bytes:
    """Return the digest of a bearer token. For any other header, return text that no file can hold."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip(" "):
        return b""
    return hashlib.sha256(token.strip(" ").encode("latin-1", "replace")).digest()


def load(gateways_file: str, readers_file: str) -> Tokens:
    """Read both files. Raises ConfigError with all problems."""
    problems: list[str] = []
    gateways: dict[str, tuple[bytes, ...]] = {}
    readers: list[Reader] = []
    for place, words in _lines(gateways_file, problems):
        try:
            name, digest = words
            gateway = plain_name(name)
        except (ValueError, Expected):
            problems.append(f"{place}: expected the name of a gateway and the SHA-256 digest of its token")
            continue
        if not _DIGEST.fullmatch(digest):
            problems.append(f"{place}: expected a SHA-256 digest of 64 hexadecimal digits")
            continue
        gateways[gateway] = (*gateways.get(gateway, ()), bytes.fromhex(digest))
    for place, (digest, *patterns) in _lines(readers_file, problems):
        if not _DIGEST.fullmatch(digest):
            problems.append(f"{place}: expected a SHA-256 digest of 64 hexadecimal digits")
        elif not all(map(_PATTERN.fullmatch, patterns)):
            problems.append(f"{place}: expected names of gateways, in which * and ? stand for others")
        else:
            readers.append(Reader(bytes.fromhex(digest), tuple(patterns)))
    digests = [digest for known in gateways.values() for digest in known]
    digests += [reader.digest for reader in readers]
    if len(set(digests)) != len(digests):
        problems.append(f"{gateways_file}, {readers_file}: expected each token once, found one again")
    if problems:
        raise ConfigError(*problems)
    return Tokens(gateways, tuple(readers))


def _lines(path: str, problems: list[str]) -> list[tuple[str, list[str]]]:
    """Place and words of each line that has any."""
    try:
        text = text_of_file(path)
    except ConfigError as error:
        problems.extend(error.problems)
        return []
    lines = ((number, _COMMENT.sub("", line).split()) for number, line in enumerate(text.split("\n"), 1))
    return [(f"{path}:{number}", words) for number, words in lines if words]
