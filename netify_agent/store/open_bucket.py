"""Open buckets: hashes that become records when they are closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netify_agent.store.history_blocks import Damaged
from netify_agent.store.history_record import Record, Share, Volume
from netify_agent.store.layout import SHARE_CODES, VOLUME_CODES


class Numbers:
    """The numbers of applications in packed history. A number is never given to another application.

    :ivar added: applications that got a number since the start.
    """

    def __init__(self, known: Mapping[str, str], count: int) -> None:
        """``known``: what Redis holds; ``count``: all numbers below are taken, even if Redis lost some."""
        self.added: dict[str, int] = {}
        self._known = {name: int(number) for name, number in known.items()}
        self.count = max([count, *(number + 1 for number in self._known.values())])

    def number(self, application: str) -> int:
        """The number of an application, a new one if it has none."""
        found = self._known.get(application)
        if found is None:
            found = self._known[application] = self.added[application] = self.count
            self.count += 1
        return found


def volume_of(values: Sequence[str | bytes | None]) -> Volume:
    """The volume of an open bucket; ``values``: its fields ``VOLUME_CODES``. Raises Damaged."""
    try:
        return Volume(*(int(value or 0) for value in values))
    except ValueError as error:
        raise Damaged(str(error)) from error


def share_of(values: Sequence[str | bytes | None]) -> Share:
    """The part of one application; ``values``: its fields ``SHARE_CODES``. Raises Damaged."""
    try:
        return Share(*(int(value or 0) for value in values))
    except ValueError as error:
        raise Damaged(str(error)) from error


def shares_of(fields: Mapping[str, str]) -> tuple[Volume, dict[str, Share]]:
    """Volume and applications of an open bucket. Raises Damaged."""
    volume = dict.fromkeys(VOLUME_CODES, 0)
    shares: dict[str, dict[str, int]] = {}
    try:
        for name, value in fields.items():
            code, _, application = name.partition(":")
            if application:
                shares.setdefault(application, dict.fromkeys(SHARE_CODES, 0))[code] = int(value)
            else:
                volume[code] = int(value)
        return Volume(**dict(zip(Volume._fields, (volume[code] for code in VOLUME_CODES), strict=True))), {
            application: share
            for application, counts in shares.items()
            if any(share := Share(*(counts[code] for code in SHARE_CODES)))
        }
    except ValueError as error:
        raise Damaged(str(error)) from error


def record_of(start: int, fields: Mapping[str, str], numbers: Numbers) -> Record:
    """An open bucket as a record. Raises Damaged."""
    volume, shares = shares_of(fields)
    return Record(start, volume, {numbers.number(name): share for name, share in sorted(shares.items())})
