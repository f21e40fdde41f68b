"""`make bench`: how close the agent comes to what the machine can do, as one Markdown table.

Ratios are of things measured one after the other in the same round of the same run, so that they hold on a
machine whose speed drifts; of the rounds the median is told. docs/performance.md says what each row means.
`python tests/bench [--smoke] [GROUP ...]`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]
os.environ["PYTHONPATH"] = str(HERE.parents[1])  # the daemon that is started is this checkout's

import api  # noqa: E402
import flush  # noqa: E402
import history  # noqa: E402
import ingest  # noqa: E402
import interference  # noqa: E402
import memory  # noqa: E402
import network  # noqa: E402
import rest  # noqa: E402
from measure import FULL, HEAD, SMOKE  # noqa: E402

GROUPS = {
    module.__name__: module for module in (ingest, flush, interference, memory, history, rest, api, network)
}


def main() -> int:
    """Measure and print; 1 only if a measurement could not be made."""
    parser = argparse.ArgumentParser(prog="tests/bench", description="Benchmarks of netify-agent.")
    parser.add_argument("--smoke", action="store_true", help="small and quick: shows that the suite works")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    options = parser.parse_args()
    scale = SMOKE if options.smoke else FULL
    started = time.monotonic()
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the start\n"
    )
    print(HEAD, flush=True)
    missed = 0
    failed = []
    for name in options.groups or GROUPS:
        try:
            for row in GROUPS[name].rows(scale):
                print(row.line(), flush=True)
                missed += row.met is False
        except Exception:
            traceback.print_exc()
            failed.append(name)
    print(
        f"\n{time.monotonic() - started:.0f} s, load {os.getloadavg()[0]:.1f} at the end, "
        f"{missed} targets missed"
    )
    if failed:
        print(f"could not be measured to the end: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
