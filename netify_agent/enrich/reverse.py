"""Reverse DNS that nobody waits for: one lookup at a time in a thread of its own, answers cached.

The system's resolver is used as it is configured; it can take seconds (through systemd-resolved even
minutes), so neither a request nor the loop that asks for lookups ever waits for it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Collection
from typing import NamedTuple

from netify_agent.enrich.identifiers import clean_name

#: Seconds for which a name is good, and for which a failure is not tried again.
NAME_TTL = 3600.0
FAILURE_TTL = 600.0

#: The h_errno values of netdb.h that mean: there is no such name. Others are failures of the resolver.
_HOST_NOT_FOUND = 1
_NO_DATA = 4


def reverse_name(ip: str) -> str | None:
    """The name the system's resolver gives an address, None when there is none. Blocks.

    :raises OSError: the resolver did not answer, or the address is none.
    """
    try:
        return socket.gethostbyaddr(ip)[0]
    except socket.herror as error:
        if error.errno in (_HOST_NOT_FOUND, _NO_DATA):
            return None
        raise


def keep_lookups_short() -> None:
    """Has the C library's resolver ask each server once, for one second (resolv.conf(5)).

    To be called before the process resolves anything; what the environment already says stays.
    """
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:1")


class _Answer(NamedTuple):
    name: str | None
    expires: float


class ReverseNames:
    """A cache of reverse DNS, filled by background lookups. Thread-safe; no method blocks.

    `clock` counts seconds and never goes back. `done` is called from the lookup's thread after each one,
    with whether the name of the address changed.
    """

    def __init__(
        self,
        *,
        resolve: Callable[[str], str | None],
        clock: Callable[[], float],
        done: Callable[[bool], None],
    ) -> None:
        self._resolve = resolve
        self._clock = clock
        self._done = done
        self._lock = threading.Lock()
        self._answers: dict[str, _Answer] = {}
        self._busy = False

    def name(self, ip: str) -> str | None:
        """The name last found. It is given out past its TTL until a new lookup has said otherwise."""
        answer = self._answers.get(ip)
        return answer.name if answer else None

    def is_due(self, ip: str) -> bool:
        """Whether the address was never looked up, or too long ago."""
        answer = self._answers.get(ip)
        return answer is None or answer.expires <= self._clock()

    def is_busy(self) -> bool:
        """Whether a lookup is under way."""
        return self._busy

    def start(self, ip: str) -> bool:
        """Starts the lookup of an address; False, and nothing started, while another is under way."""
        with self._lock:
            if self._busy:
                return False
            self._busy = True
        threading.Thread(target=self._look_up, args=(ip,), name="reverse-dns", daemon=True).start()
        return True

    def keep_only(self, ips: Collection[str]) -> None:
        """Forgets the answers for all other addresses."""
        with self._lock:
            self._answers = {ip: answer for ip, answer in self._answers.items() if ip in ips}

    def _look_up(self, ip: str) -> None:
        before = self.name(ip)
        try:
            found = self._resolve(ip)
            name = clean_name(found) if found else None
        except (OSError, UnicodeError):
            # A resolver out of order is no reason to forget what a device is called.
            name = before
            ttl = FAILURE_TTL
        else:
            ttl = NAME_TTL if name else FAILURE_TTL
        with self._lock:
            self._answers[ip] = _Answer(name, self._clock() + ttl)
            self._busy = False
        self._done(name != before)
