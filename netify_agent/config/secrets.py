"""Reads secrets: a password file, a file of tokens, and credentials of systemd.

No error of these ever shows a part of a secret.
"""

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from netify_agent.config.yaml_reader import ConfigError

MIN_TOKEN = 16  # characters; 95 bits with an alphabet of 62, too many to guess over a network
_MAX_TOKEN = 512
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # what may follow 'Bearer' (RFC 6750 section 2.1)
_COMMENT = re.compile(r"(^|\s)#.*")
_MAX_FILE_BYTES = 1 << 20


def text_of_file(path: str) -> str:
    """Return the UTF-8 text of a file of at most 1 MiB. Raises ConfigError without the content."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path}: can't be read: {reason}") from None
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes, found more")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: expected UTF-8, found other bytes") from None


@contextmanager
def problems_of(key: str) -> Iterator[None]:
    """Put ``key``, a key of the configuration, in front of each problem of a ConfigError."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(*(f"{key}: {problem}" for problem in error.problems)) from None


def credential(name: str) -> str | None:
    """Return the path of a systemd credential of the service (systemd.exec(5)); None without one."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    path = os.path.join(directory, name) if directory else None
    return path if path and os.path.exists(path) else None


def password(path: str) -> str:
    """Return the content of a file without its line end. Raises ConfigError, also if it is empty."""
    found = text_of_file(path).rstrip("\r\n")
    if not found:
        raise ConfigError(f"{path}: expected a password, found nothing")
    return found


def tokens(path: str) -> tuple[str, ...]:
    """Return the tokens of a file, one per line, ``#`` comments. Raises ConfigError, also without any."""
    found = []
    problems = []
    for number, line in enumerate(text_of_file(path).split("\n"), 1):
        token = _COMMENT.sub("", line).strip()
        if not token:
            continue
        found.append(token)
        if not MIN_TOKEN <= len(token) <= _MAX_TOKEN:
            size = f"{MIN_TOKEN} to {_MAX_TOKEN} characters"
            problems.append(f"{path}:{number}: expected a token of {size}, found {len(token)}")
        elif not _TOKEN.fullmatch(token):
            problems.append(
                f"{path}:{number}: expected a token of ASCII letters, digits and any of -._~+/"
                " ('=' at its end only), found something else"
            )
    if not found:
        problems.append(f"{path}: expected a token on a line of its own, found none")
    if problems:
        raise ConfigError(*problems)
    return tuple(found)


def digests(tokens: Iterable[str]) -> list[bytes]:
    """Return what :func:`is_one_of` compares with."""
    return [hashlib.sha256(token.encode()).digest() for token in tokens]


def is_one_of(authorization: str, known: Iterable[bytes]) -> bool:
    """Whether a header ``Authorization`` carries a bearer token with one of the digests ``known``.

    All are compared, each in constant time: the time taken reveals nothing about any of them.
    """
    scheme, _, token = authorization.partition(" ")
    given = hashlib.sha256(token.strip(" ").encode("latin-1", "replace")).digest()
    right = sum(hmac.compare_digest(given, digest) for digest in known)
    return bool(right) and scheme.lower() == "bearer"
