"""The row that every lease file is turned into."""

from __future__ import annotations

import re
from typing import NamedTuple

#: A decimal number that a float holds exactly enough for a time in seconds.
NUMBER = re.compile(r"[0-9]{1,17}")


class Lease(NamedTuple):
    """Who holds an IP address until when.

    :ivar ip: the address, in the spelling of RFC 5952.
    :ivar mac: lower-case MAC address, None if the file does not contain it.
    :ivar name: a cleaned host name, None if the client has none.
    :ivar expires: seconds since the epoch; 0 for a lease that has ended, infinity for one that never ends.
    """

    ip: str
    mac: str | None
    name: str | None
    expires: float
