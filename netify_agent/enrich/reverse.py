"""Reverse DNS in the background: one lookup at a time in a thread of its own, with a cache.

The system's resolver can take seconds (through systemd-resolved even minutes). Therefore neither a request
nor the loop that starts lookups waits for it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Collection
from typing import NamedTuple

from netify_agent.enrich.identifiers import clean_name
from netify_agent.threads import start_thread

#: Seconds until a name is looked up again, and until a failed lookup is repeated.
NAME_TTL = 3600.0
FAILURE_TTL = 600.0

#: The h_errno values of netdb.h for an address without a name. Others are failures of the resolver.
_HOST_NOT_FOUND = 1
_NO_DATA = 4


def reverse_name(ip: str) -> str | None:
    """Ask the system's resolver for the name of an address. Blocks.

    :returns: None if the address has no name.
    :raises OSError: the resolver did not answer, or `ip` is no IP address.
    """
    try:
        return socket.gethostbyaddr(ip)[0]
    except socket.herror as error:
        if error.errno in (_HOST_NOT_FOUND, _NO_DATA):
            return None
        raise


def keep_lookups_short() -> None:
    """Make the C library's resolver ask each server once, for one second (resolv.conf(5)).

    Call this before the process resolves anything. An existing RES_OPTIONS is kept.
    """
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:1")


class _Answer(NamedTuple):
    name: str | None
    expires: float


class ReverseNames:
    """A cache of reverse DNS, filled by background lookups. Thread-safe; no method blocks."""

    def __init__(
        self,
        *,
        resolve: Callable[[str], str | None],
        clock: Callable[[], float],
        done: Callable[[bool], None],
    ) -> None:
        """Start with an empty cache.

        :param resolve: returns the name of an address or None; raises OSError if the resolver failed.
        :param clock: monotonic clock in seconds.
        :param done: called after each lookup, in its thread, with whether the name of the address changed.
        """
        self._resolve = resolve
        self._clock = clock
        self._done = done
        self._lock = threading.Lock()
        self._answers: dict[str, _Answer] = {}
        self._busy = False

    def name(self, ip: str) -> str | None:
        """Return the name found last, None if there is none. It stays valid until the next lookup ends."""
        answer = self._answers.get(ip)
        return answer.name if answer else None

    def is_due(self, ip: str) -> bool:
        """Whether the address was never looked up, or the result has expired."""
        answer = self._answers.get(ip)
        return answer is None or answer.expires <= self._clock()

    def is_busy(self) -> bool:
        """Whether a lookup is running."""
        return self._busy

    def start(self, ip: str) -> bool:
        """Start the lookup of an address.

        :returns: False, without a lookup, while another one is running, or where no thread can be started.
        """
        with self._lock:
            if self._busy:
                return False
            self._busy = True
        try:
            start_thread(lambda: self._look_up(ip))
        except (RuntimeError, MemoryError):
            self._busy = False
            return False
        return True

    def keep_only(self, ips: Collection[str]) -> None:
        """Forget the results for all other addresses."""
        with self._lock:
            self._answers = {ip: answer for ip, answer in self._answers.items() if ip in ips}

    def _look_up(self, ip: str) -> None:
        before = self.name(ip)
        try:
            found = self._resolve(ip)
            name = clean_name(found) if found else None
        except (OSError, UnicodeError):
            # A failure of the resolver does not invalidate a known name.
            name = before
            ttl = FAILURE_TTL
        else:
            ttl = NAME_TTL if name else FAILURE_TTL
        with self._lock:
            self._answers[ip] = _Answer(name, self._clock() + ttl)
            self._busy = False
        self._done(name != before)
