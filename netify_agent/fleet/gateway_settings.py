"""The settings of a gateway that its answers depend on, as they are sent to a collector."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from netify_agent.config.calendar import MONTH_S
from netify_agent.config.notify import Receiver
from netify_agent.config.settings import ConfigError, Settings, parse
from netify_agent.config.types import WEEKDAYS
from netify_agent.fleet.plan_standings import decode_plans, encode_plans
from netify_agent.store.history_steps import HistorySteps


@dataclass(frozen=True)
class CopiedReceiver(Receiver):
    """What a collector knows of a receiver of the gateway."""

    type = "copied"

    sends_resolved: bool = True


def encode(settings: Settings) -> dict[str, str]:
    """The settings as texts by name.

    :raises ConfigError: if the time zone has no name that a collector can look up.
    """
    calendar = settings.calendar.calendar
    if calendar.zone_name == "local":
        raise ConfigError("calendar.timezone: expected the name of a zone, which a collector needs")
    history = {
        "1mo" if resolution.step_s == MONTH_S else f"{resolution.step_s}s": f"{resolution.keep_s}s"
        for resolution in settings.history
    }
    return {
        "interval": str(settings.interval_s),
        "history": json.dumps(history),
        "timezone": calendar.zone_name,
        "month_starts_on": str(calendar.month_starts_on),
        "week_starts_on": WEEKDAYS[calendar.week_starts_on],
        "plans": encode_plans(settings.plans),
        "groups": json.dumps([*settings.groups]),
        "receivers": json.dumps({name: one.sends_resolved for name, one in settings.notify.items()}),
    }


def decode(gateway: str, fields: Mapping[str, str]) -> Settings:
    """Settings with what a gateway sent, and the defaults for all else.

    :raises ValueError: if a collector can't use them.
    """
    return replace(_decoded(tuple(sorted(fields.items()))), gateway=gateway)


@lru_cache(maxsize=64)  # most gateways of a fleet have the same
def _decoded(pairs: tuple[tuple[str, str], ...]) -> Settings:
    fields = dict(pairs)
    try:
        document = {
            "interval": int(fields["interval"]),
            "history": json.loads(fields["history"]),
            "calendar": {
                "timezone": fields["timezone"],
                "month_starts_on": int(fields["month_starts_on"]),
                "week_starts_on": fields["week_starts_on"],
            },
        }
        groups, receivers = json.loads(fields["groups"]), json.loads(fields["receivers"])
        if not isinstance(groups, list) or not isinstance(receivers, dict):
            raise ValueError("settings: expected groups and receivers")
        plans = decode_plans(fields["plans"])
        settings = parse(json.dumps(document), "settings")
        settings.calendar.calendar  # noqa: B018 (reads the zone)
    except KeyError as error:
        raise ValueError(f"settings: expected {error.args[0]}") from None
    except (ConfigError, LookupError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if fields["timezone"] == "local":
        raise ValueError("settings: expected the name of a zone")
    return replace(
        settings,
        plans=plans,
        groups={str(group): () for group in groups},
        notify={name: CopiedReceiver(sends_resolved=bool(flag)) for name, flag in receivers.items()},
    )


def steps(fields: Mapping[str, str]) -> HistorySteps:
    """The steps of the gateway's history. Raises ValueError if a collector can't use the settings."""
    return _steps(frozenset(fields.items()))


@lru_cache(maxsize=1024)  # gateways have few different settings, and send them with each message
def _steps(fields: frozenset[tuple[str, str]]) -> HistorySteps:
    settings = decode("gateway", dict(fields))
    return HistorySteps.of(settings.history, settings.calendar.calendar)
