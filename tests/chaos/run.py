"""`make chaos`: faults by seed, against the running agent; what Redis holds must be the truth to the byte.

The first seeds strike with one fault each, the others with several in a random order. A failing seed is
printed with its plan, and `make chaos SEED=n` runs it again.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from faults import FAULTS, NotHere  # noqa: E402
from support import short_directory  # noqa: E402
from world import World  # noqa: E402

NAMES = list(FAULTS)


def plan(seed: int, only: str | None, times: int) -> list[str]:
    """The faults of a seed, in their order."""
    if only is not None:
        return [only] * times
    if seed < len(NAMES):
        return [NAMES[seed]]
    chance = random.Random(seed)
    return chance.sample(NAMES, chance.randint(2, 5))


def run(seed: int, faults: list[str]) -> tuple[list[str], list[str], int]:
    """Run one seed. Returns what is wrong, what could not be done here, and the peak of memory in KiB."""
    skipped = []
    with short_directory() as directory:
        world = World(directory, seed)
        try:
            world.start()
            world.daemon.flushed()  # from now on the store knows when it first heard of this netifyd
            world.deliver(world.chance.randint(0, 400))
            for name in faults:
                world.deliver(world.chance.randint(0, 100))
                try:
                    FAULTS[name](world)
                except NotHere as error:
                    skipped.append(f"{name}: {error}")
                world.revive()
                if not world.connected:
                    world.connect()
                world.measure()
            world.settle()
            return world.verdict(), skipped, world.peak_kib
        except (AssertionError, OSError) as error:
            log = world.daemon.log.read_text(errors="replace")[-2000:] if world.daemon.log.is_file() else ""
            return [f"{error!r}\n{traceback.format_exc()}\n{log}"], skipped, world.peak_kib
        finally:
            world.close()


def main() -> int:
    """Run the seeds that were asked for; the exit code says whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, nargs="+", help="these alone")
    parser.add_argument("--first", type=int, default=0, help="where to begin (default: 0)")
    parser.add_argument("--only", choices=NAMES, help="this fault alone, in every seed")
    parser.add_argument("--times", type=int, default=1, help="how often in a seed, with --only (default: 1)")
    options = parser.parse_args()
    seeds = options.seed or range(options.first, options.first + options.seeds)
    began, failed, struck, peak = time.monotonic(), [], Counter[str](), 0
    left_out: set[str] = set()
    for seed in seeds:
        faults = plan(seed, options.only, options.times)
        started = time.monotonic()
        wrong, skipped, kib = run(seed, faults)
        struck.update(faults)
        left_out.update(skipped)
        peak = max(peak, kib)
        verdict = "FAILED" if wrong else "ok"
        print(
            f"seed {seed}: {verdict} in {time.monotonic() - started:.0f} s: {', '.join(faults)}", flush=True
        )
        for text in wrong:
            print(f"    {text}", flush=True)
        if wrong:
            failed.append(seed)
    print(
        f"\n{len(seeds)} seeds, {sum(struck.values())} faults, {(time.monotonic() - began) / 60:.1f} minutes"
    )
    print(f"resident memory of the agent at most {peak} KiB")
    for text in sorted(left_out):
        print(f"not done here: {text}")
    if failed:
        print(f"FAILED: {' '.join(map(str, failed))}; again with: make chaos SEED={failed[0]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
