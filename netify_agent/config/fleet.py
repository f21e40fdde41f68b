"""The settings of ``fleet:``: where the store of this gateway is forwarded to."""

from __future__ import annotations

from dataclasses import dataclass, field

from netify_agent.config import secrets, types, yaml_reader
from netify_agent.config.yaml_reader import parsed, reads, section

_LEAST_RATE = 8000  # bit/s; the summary of 100 devices needs 350 at an interval of five minutes


def _max_rate(text: str) -> int:
    rate = types.bit_rate(text)
    if rate < _LEAST_RATE:
        raise yaml_reader.Expected("a rate of at least 8 kbit/s")
    return rate


_optional_path = yaml_reader.optional(parsed(types.absolute_path))


@dataclass(frozen=True)
class FleetSettings:
    """Where the store is forwarded to. Without ``url`` nothing is forwarded.

    :ivar interval_s: seconds between messages.
    :ivar max_rate: bit/s that messages may take; None: as fast as the line is.
    """

    url: str | None = field(
        default=None, metadata=reads(yaml_reader.optional(parsed(types.collector_url, secret=True)))
    )
    token_file: str | None = field(default=None, metadata=reads(_optional_path))
    ca_file: str | None = field(default=None, metadata=reads(_optional_path))
    interval_s: int = field(default=300, metadata=reads(yaml_reader.integer(1, 86400), "interval"))
    max_rate: int | None = field(default=None, metadata=reads(yaml_reader.optional(parsed(_max_rate))))

    def token(self) -> str:
        """Read the token. Raises ConfigError."""
        with secrets.problems_of("fleet.token_file"):
            return secrets.tokens(self.token_file or "")[0]


def _url_with_token(fleet: FleetSettings) -> yaml_reader.Conflict | None:
    if (fleet.url is None) == (fleet.token_file is None):
        return None
    given, absent = ("token_file", "url") if fleet.url is None else ("url", "token_file")
    return yaml_reader.Conflict((given, absent), f"expected fleet.{absent} as well, found none")


read_fleet = section(FleetSettings, _url_with_token)
