"""The agent with history in steps of seconds, so that buckets close while a seed lasts.

`python short_steps.py --config FILE`. A configuration takes steps of a minute at least.
"""

from __future__ import annotations

import faulthandler
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from netify_agent.config.settings import load
from netify_agent.config.types import Resolution
from netify_agent.daemon import journal, runtime
from netify_agent.daemon.supervisor import Supervisor

STEPS = tuple(Resolution(step_s, 86_400, f"{step_s}s") for step_s in (1, 5, 20))


def main() -> int:
    """Run the agent, as `netify-agent run` does."""
    path = sys.argv[-1]
    settings = replace(load(path), history=STEPS)
    journal.set_up(settings.log_level)
    faulthandler.enable()
    runtime.prepare()
    return Supervisor(path, settings).run()


if __name__ == "__main__":
    sys.exit(main())
