"""``netify-agent forget``: has the running agent remove a device from the store."""

from __future__ import annotations

import sys
import time

from netify_agent.config.settings import ConfigError, Settings
from netify_agent.store.client import StoreError, connect
from netify_agent.store.forget_requests import ForgetRequests, NoWriter

EX_UNAVAILABLE = 69  # sysexits.h
_LOOK_EVERY_S = 0.2


def forget(settings: Settings, device: str) -> int:
    """Ask the agent to forget ``device``, and wait until it has done so. Prints one line.

    :param device: its MAC address in lower case, its IP address if it has none, or ``other``.
    :returns: the exit code: 0 if the device is removed; :data:`EX_UNAVAILABLE` if no agent runs that could
        remove it; 1 if it is unknown, or the agent took no flush in time. Then nothing was removed.
    """
    redis = settings.redis
    try:
        client = connect(redis.url, redis.password(), redis.tls, gateway=settings.gateway)
        requests = ForgetRequests(client, settings.gateway)
        patience_s = requests.add(device)
    except NoWriter as error:
        return _failed(f"refused: {error}", EX_UNAVAILABLE)
    except (StoreError, ConfigError) as error:
        return _failed(f"{device} was not removed: {error}")
    try:
        if not _wait(requests, device, patience_s) and requests.withdraw(device):
            why = f"netify-agent took no flush in {patience_s:.0f} s, see its log"
            return _failed(f"{device} was not removed: {why}")
    except StoreError as error:
        return _failed(f"it is not known whether {device} was removed: {error}")
    except KeyboardInterrupt:
        requests.withdraw(device)
        raise
    print(f"{device} was removed. Its traffic is counted in 'forgotten'")
    return 0


def _failed(text: str, code: int = 1) -> int:
    print(text, file=sys.stderr)
    return code


def _wait(requests: ForgetRequests, device: str, patience_s: float) -> bool:
    """Return whether the agent forgot ``device`` within ``patience_s`` seconds."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if requests.is_done(device):
            return True
        time.sleep(_LOOK_EVERY_S)
    return False
